"""Common interface of the checks for muse_lr models and ASE calculators."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import torch
from ase import Atoms
from ase.calculators.calculator import BaseCalculator, PropertyNotImplementedError
from numpy.typing import NDArray

from muse_lr.errors import InputError, described
from muse_lr.structures.batch import AtomsBatch
from muse_lr.testing.measurement import NotApplicable

if TYPE_CHECKING:
    from muse_lr.model.energy_model import EnergyModel

Array = NDArray[np.float64]

#: Properties that a potential can compute besides the energy.
PROPERTIES = ("forces", "stress", "dipole", "charges")


@dataclass(frozen=True)
class Outputs:
    """Results of a potential for a list of structures, as float64 arrays.

    Attributes
    ----------
    energy : ndarray
        (n_structures,) in eV.
    forces : ndarray or None
        (n_atoms, 3) in eV/A, atoms of all structures concatenated.
    stress : ndarray or None
        (n_structures, 3, 3) in eV/A^3.
    dipole : ndarray or None
        (n_structures, 3) in e A.
    charges : ndarray or None
        (n_atoms,) in e.
    moments : ndarray or None
        (n_atoms, (l_max + 1)^2) in e A^l, if the potential has multipoles.
    """

    energy: Array
    forces: Array | None = None
    stress: Array | None = None
    dipole: Array | None = None
    charges: Array | None = None
    moments: Array | None = None

    def get(self, name: str) -> Array:
        """Return the array ``name``; raise :class:`NotApplicable` if it was not computed."""
        value: Array | None = getattr(self, name)
        if value is None:
            raise NotApplicable(f"the potential does not compute {name}")
        return value


class Potential(ABC):
    """Interface of a potential for the checks.

    Attributes
    ----------
    provides : frozenset of str
        Members of :data:`PROPERTIES` that it computes (stress: for periodic structures).
    cutoff : float or None
        Cutoff radius in A, if known.
    size_consistent : bool
        Whether it declares that far fragments do not affect each other.
    coulomb : bool or None
        Whether its energy contains the bare Coulomb energy of the charges that it reports, so that
        far copies interact by sum q_i q_j / r_ij; None: unknown.
    """

    provides: frozenset[str]
    cutoff: float | None = None
    size_consistent: bool = True
    coulomb: bool | None = None

    @abstractmethod
    def evaluate(self, structures: Sequence[Atoms], compute: Sequence[str] = ()) -> Outputs:
        """Compute energies, and the members of :data:`PROPERTIES` listed in ``compute``.

        Raises
        ------
        NotApplicable
            If the potential cannot compute a property.
        """

    @property
    def model(self) -> EnergyModel:
        """The model, if there is one; otherwise raises :class:`NotApplicable`."""
        raise NotApplicable("needs a muse_lr model, not a calculator")

    def energies(self, structures: Sequence[Atoms]) -> Array:
        """Energies of the structures, (n_structures,) in eV."""
        return self.evaluate(structures).energy

    def offered(self, atoms: Atoms, names: Sequence[str] = PROPERTIES) -> tuple[str, ...]:
        """Select from ``names`` what the potential computes and what is defined for ``atoms``."""
        meaningful = set(names) & self.provides
        if not atoms.pbc.any() or atoms.cell.rank < 3:
            meaningful.discard("stress")
        if atoms.pbc.any():
            meaningful.discard("dipole")
        return tuple(name for name in names if name in meaningful)


class ModelPotential(Potential):
    """A :class:`muse_lr.EnergyModel` in its own dtype; all structures form one batch.

    Parameters
    ----------
    model : EnergyModel
    """

    def __init__(self, model: EnergyModel) -> None:
        self._model = model
        self.cutoff = model.cutoff
        self.size_consistent = model.size_consistent
        charged, heads = model.charges is not None, model.heads.values()
        self.coulomb = charged and any(head.sums_coulomb for head in heads)
        if model.charges is not None and model.charges.reads_field and not self.coulomb:
            # Charges polarize each other at a distance, but the energy has no Coulomb term.
            self.coulomb = None
        if any(head.reads_potential for head in heads):
            self.coulomb = None
        names = PROPERTIES if charged else ("forces", "stress")
        self.provides = frozenset(names)

    @property
    def model(self) -> EnergyModel:
        return self._model

    def evaluate(self, structures: Sequence[Atoms], compute: Sequence[str] = ()) -> Outputs:
        self._refuse(compute)
        batch = AtomsBatch.from_ase(list(structures), cutoff=self._model.cutoff)
        out = self._model(batch, compute=tuple(compute))
        values = {name: _as_array(getattr(out, name)) for name in compute}
        if "charges" in compute and out.density is not None:
            values["moments"] = _as_array(out.density.moments)
        return Outputs(energy=_as_array(out.energy), **values)

    def _refuse(self, compute: Sequence[str]) -> None:
        missing = [name for name in compute if name not in self.provides]
        if missing:
            raise NotApplicable(f"the model does not compute {missing[0]}")


class CalculatorPotential(Potential):
    """Any ASE calculator; structures are computed one by one.

    The cache of the calculator is reset for each structure, since ASE ignores changes of
    ``atoms.info``.

    Parameters
    ----------
    calculator : ase calculator
    cutoff : float, optional
        Cutoff radius in A, if known. Paths of the smoothness check then cross it.
    """

    def __init__(self, calculator: BaseCalculator, cutoff: float | None = None) -> None:
        self.calculator = calculator
        self.cutoff = cutoff
        self.provides = frozenset(set(PROPERTIES) & set(calculator.implemented_properties))

    def evaluate(self, structures: Sequence[Atoms], compute: Sequence[str] = ()) -> Outputs:
        rows = [self._one(atoms, compute) for atoms in structures]
        join = {"forces": np.concatenate, "charges": np.concatenate}
        values = {name: join.get(name, np.stack)([row[name] for row in rows]) for name in compute}
        return Outputs(energy=np.array([row["energy"] for row in rows]), **values)

    def _one(self, atoms: Atoms, compute: Sequence[str]) -> dict[str, Any]:
        atoms = atoms.copy()
        self.calculator.reset()
        row: dict[str, Any] = {}
        for name in ("energy", *compute):
            try:
                value = self.calculator.get_property(name, atoms)
            except PropertyNotImplementedError as error:
                raise NotApplicable(f"the calculator does not compute {name}") from error
            row[name] = np.array(value, dtype=np.float64)
        if "stress" in row:
            row["stress"] = _full_stress(row["stress"])
        return row


#: Types that every check accepts.
Subject: TypeAlias = "Potential | EnergyModel | BaseCalculator | str | Path"


def as_potential(subject: Subject) -> Potential:
    """Wrap a model, a model file or a calculator; a :class:`Potential` is returned unchanged."""
    from muse_lr.model.energy_model import EnergyModel
    from muse_lr.model.serialization import as_model

    if isinstance(subject, Potential):
        return subject
    if isinstance(subject, BaseCalculator):
        return CalculatorPotential(subject)
    if isinstance(subject, (EnergyModel, str, Path)):
        return ModelPotential(as_model(subject))
    raise InputError(
        f"cannot check {described(subject)}: give a model or its file, an ASE calculator or a "
        "muse_lr.testing.Potential"
    )


def _as_array(value: torch.Tensor) -> Array:
    return value.detach().to("cpu", torch.float64).numpy()


def _full_stress(stress: Array) -> Array:
    """(3, 3) from ASE's (6,) in Voigt order xx, yy, zz, yz, xz, xy."""
    if stress.shape == (3, 3):
        return stress
    xx, yy, zz, yz, xz, xy = stress
    return np.array([[xx, xy, xz], [xy, yy, yz], [xz, yz, zz]])
