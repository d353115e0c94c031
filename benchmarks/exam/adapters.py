"""Calculators between the exam and other packages: charges, fields, names and boundaries."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from ase import Atoms
from ase.calculators.calculator import Calculator, all_changes
from torch import Tensor

from muse_lr.units import COULOMB_CONSTANT

#: Where a package needs a cell for a molecule: empty space on every side, and what the extent is
#: rounded up to a multiple of, A. It is longer than all paths of the checks of smoothness, so that
#: the cell does not change on them.
VACUUM, ROUNDING = 10.0, 40.0
Tell = Callable[[Calculator, Atoms], None]
#: (atoms, positions, cell, charges) -> energy in e^2/A.
EnergyOf = Callable[[Atoms, Tensor, Tensor, Tensor], Tensor]


class Adapted(Calculator):
    """A calculator that is told the total charge and the field in its own way.

    Parameters
    ----------
    inner : ase calculator
    elements : sequence of str
        Elements of the exam.
    provides : sequence of str
        Properties besides the energy.
    tell : callable, optional
        Receives the calculator and a copy of the structure, and may change both.
    names : mapping, optional
        Property -> its name in the results of the calculator.
    periodic : sequence of int
        Numbers of periodic directions that it is made for.
    **declared
        What it declares to the exam: ``cutoff``, ``size_consistent``, ``coulomb``.
    """

    def __init__(
        self,
        inner: Calculator,
        elements: Sequence[str],
        provides: Sequence[str],
        tell: Tell | None = None,
        names: Mapping[str, str] | None = None,
        periodic: Sequence[int] = (0, 2, 3),
        **declared: Any,
    ) -> None:
        super().__init__()
        self.inner, self.elements = inner, tuple(elements)
        self.implemented_properties = ["energy", *provides]
        self.tell, self.names, self.periodic = tell, dict(names or {}), tuple(periodic)
        vars(self).update(declared)

    def calculate(
        self,
        atoms: Atoms | None = None,
        properties: Sequence[str] = ("energy",),
        system_changes: Sequence[str] = tuple(all_changes),
    ) -> None:
        """Compute what is asked for; see :class:`ase.calculators.calculator.Calculator`."""
        super().calculate(atoms, list(properties), list(system_changes))
        if int(self.atoms.pbc.sum()) not in self.periodic:
            raise NotImplementedError("the calculator is made for crystals")
        copy = self.atoms.copy()
        if self.tell is not None:
            self.tell(self.inner, copy)
        self.inner.reset()
        self.inner.calculate(copy, list(properties), list(all_changes))
        found = self.inner.results
        for name in self.implemented_properties:
            if (key := self.names.get(name, name)) in found:
                self.results[name] = found[key]


class FixedCharges(Calculator):
    """The energy of one fixed charge for each element; forces and stress by autograd.

    Directions without a cell vector get one (:func:`boxed`), as the packages ask for a cell.

    Parameters
    ----------
    energy_of : callable
        (atoms, positions, cell, charges) -> energy in e^2/A.
    charges : mapping of str to float
        In e.
    dtype : str
    cutoff : float, optional
        Of a sum over pairs, A. Smoothness is then examined there.
    """

    implemented_properties = ("energy", "forces", "stress", "charges", "dipole")
    coulomb = True

    def __init__(
        self,
        energy_of: EnergyOf,
        charges: Mapping[str, float],
        dtype: str,
        cutoff: float | None = None,
    ) -> None:
        super().__init__()
        self.cutoff = cutoff
        self.energy_of, self.by_element = energy_of, dict(charges)
        self.elements, self.dtype = tuple(charges), getattr(torch, dtype)

    def calculate(
        self,
        atoms: Atoms | None = None,
        properties: Sequence[str] = ("energy",),
        system_changes: Sequence[str] = tuple(all_changes),
    ) -> None:
        """Compute everything; see :class:`ase.calculators.calculator.Calculator`."""
        super().calculate(atoms, list(properties), list(system_changes))
        inside = boxed(self.atoms)
        q = np.array([self.by_element[symbol] for symbol in inside.symbols])
        positions = torch.tensor(inside.positions, dtype=self.dtype, requires_grad=True)
        strain = torch.zeros((3, 3), dtype=self.dtype, requires_grad=True)
        deformation = torch.eye(3, dtype=self.dtype) + (strain + strain.T) / 2
        cell = torch.tensor(inside.cell.array, dtype=self.dtype) @ deformation
        charges = torch.tensor(q, dtype=self.dtype)
        energy = COULOMB_CONSTANT * self.energy_of(inside, positions @ deformation, cell, charges)
        # The energy of one atom may be a constant, which has no gradient.
        energy = energy + 0 * (positions.sum() + strain.sum())
        slopes = torch.autograd.grad(energy, (positions, strain))
        gradient, virial = (slope.double().numpy() for slope in slopes)
        self.results = {
            "energy": energy.item(),
            "forces": -gradient,
            "stress": (virial / inside.get_volume()).ravel()[[0, 4, 8, 5, 2, 1]],
            "charges": q,
            "dipole": q @ self.atoms.positions,
        }


def boxed(atoms: Atoms) -> Atoms:
    """Copy with a cell: vectors that are missing are added along the Cartesian axes."""
    copy = atoms.copy()
    cell = copy.cell.array.copy()
    for axis in np.flatnonzero(~cell.any(axis=1)):
        extent = np.ptp(copy.positions[:, axis])
        cell[axis, axis] = ROUNDING * max(1.0, np.ceil(extent / ROUNDING)) + 2 * VACUUM
    copy.set_cell(cell)
    return copy
