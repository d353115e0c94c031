"""A classical model of charges, shells, bonds and pair potentials, as an ASE calculator.

It labels BaTiO3 (a polarizable shell model) and mica in water (ClayFF), and samples clusters of
ions and water. The Coulomb sum is that of the package, exact for molecules, slabs and crystals.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np
import torch
from ase import Atoms
from ase.calculators.calculator import Calculator, all_changes
from ase.stress import full_3x3_to_voigt_6_stress
from numpy.typing import NDArray
from torch import Tensor

from muse_lr import AtomsBatch
from muse_lr.density import ChargeDensity
from muse_lr.electrostatics.dispatch import Electrostatics
from muse_lr.math.switching import switch_off
from muse_lr.structures.geometry import Geometry, strained_geometry
from muse_lr.units import COULOMB_CONSTANT

#: Pair potentials are switched off between these distances, A; both models say so.
SWITCH = (6.5, 8.0)
ACCURACY = 1e-8
#: Excluded pairs are closer than this, A; their periodic images are not excluded.
BONDED = 2.2
#: Largest force on a shell at the end of its relaxation, eV/A; the share of its gradient that a
#: round of conjugate gradients leaves; the numbers of rounds and of steps of each.
SHELL_FORCE, SHELL_SHARE, SHELL_ROUNDS, SHELL_STEPS = 1e-5, 1e-3, 12, 40
#: Twice the largest displacement of a shell from its core, A.
MOST_SHELL = 0.8
#: Start of a shell relative to its core, A: two sites may not coincide.
SHELL_START = 0.01


@dataclass(frozen=True)
class ForceField:
    """Parameters of one structure; sites are the atoms followed by the shells.

    Attributes
    ----------
    charges : ndarray
        (n_sites,) in e.
    width : float
        Gaussian standard deviation of all charges, A; 0 for points.
    pair : callable
        ``pair(i, j, r)``: energies (eV) of pairs of sites at distances r (A).
    pair_sites : ndarray
        (n_sites,) of bool: sites that have a pair potential.
    shell_of : ndarray
        (n_shells,) atom of each shell.
    springs : ndarray
        (n_shells,) spring constants k of k d^2 / 2, eV/A^2.
    excluded : ndarray
        (n, 2) pairs of sites without Coulomb and pair interaction.
    bonds, angles : ndarray
        (n, 2) and (n, 3) atoms; the vertex of an angle comes first.
    bond, angle : tuple of float
        (k, r0) of k (r - r0)^2 in eV/A^2 and A; (k, theta0) in eV/rad^2 and rad.
    """

    charges: NDArray[np.float64]
    pair: Callable[[Tensor, Tensor, Tensor], Tensor]
    pair_sites: NDArray[np.bool_]
    width: float = 0.0
    shell_of: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, dtype=np.int64))
    springs: NDArray[np.float64] = field(default_factory=lambda: np.zeros(0))
    excluded: NDArray[np.int64] = field(default_factory=lambda: np.zeros((0, 2), dtype=np.int64))
    bonds: NDArray[np.int64] = field(default_factory=lambda: np.zeros((0, 2), dtype=np.int64))
    angles: NDArray[np.int64] = field(default_factory=lambda: np.zeros((0, 3), dtype=np.int64))
    bond: tuple[float, float] = (0.0, 1.0)
    angle: tuple[float, float] = (0.0, 0.0)


def own_interaction(distance2: Tensor, width: float) -> Tensor:
    """Interaction of two unit charges of an excluded pair, eV; finite at zero for Gaussians."""
    distance = (distance2 + 1e-24).sqrt()
    if width == 0:
        return COULOMB_CONSTANT / distance
    return COULOMB_CONSTANT * torch.erf(distance / (2 * width)) / distance


class IonicCalculator(Calculator):
    """Energy, forces and stress of a :class:`ForceField`; shells are relaxed in every call."""

    implemented_properties: ClassVar[list[str]] = ["energy", "forces", "stress"]

    def __init__(self, force_field: ForceField) -> None:
        super().__init__()
        self.force_field = force_field
        self._coulomb = Electrostatics([force_field.width], 0, ACCURACY, SWITCH[1])
        #: (n_shells, 3) displacements of the shells, A; the start of the next relaxation.
        self.shells = np.zeros((len(force_field.shell_of), 3))
        self.shells[:, 0] = SHELL_START

    def calculate(self, atoms=None, properties=("energy",), system_changes=all_changes) -> None:
        """See :meth:`ase.calculators.calculator.Calculator.calculate`."""
        super().calculate(atoms, properties, system_changes)
        batch = self._batch(self.atoms)
        if len(self.shells):
            self._relax(batch)
        energy, positions, strain = self._energy(batch, self.shells)
        gradient, virial = torch.autograd.grad(energy, (positions, strain))
        n_atoms = len(self.atoms)
        forces = -gradient[:n_atoms].numpy()
        np.add.at(forces, self.force_field.shell_of, -gradient[n_atoms:].numpy())
        self.results = {"energy": float(energy.detach()), "forces": forces}
        if self.atoms.pbc.all():
            stress = virial[0].numpy() / self.atoms.get_volume()
            self.results["stress"] = full_3x3_to_voigt_6_stress(stress)

    def _batch(self, atoms: Atoms) -> AtomsBatch:
        """All sites, with a neighbor list that stays complete while the shells relax."""
        places = atoms.positions[self.force_field.shell_of] + self.shells
        # The sum does not read the elements of the sites.
        positions = np.concatenate([atoms.positions, places])
        sites = Atoms(f"H{len(positions)}", positions, cell=atoms.cell, pbc=atoms.pbc)
        skin = MOST_SHELL if len(self.shells) else 0.0
        return AtomsBatch.from_ase([sites], cutoff=max(SWITCH[1], self._coulomb.cutoff) + skin)

    def _relax(self, batch: AtomsBatch) -> None:
        """Minimize the energy with respect to the shells.

        The energy is nearly quadratic: linear conjugate gradients with the curvature at the start,
        repeated from where they end until the true gradient is small.
        """
        scale = 1 / np.sqrt(self.force_field.springs)[:, None]
        for _ in range(SHELL_ROUNDS):
            start = self._shell_gradient(batch, self.shells)
            if np.abs(start).max() < SHELL_FORCE:
                return
            residual = -start * scale
            direction, moved, goal = residual.copy(), np.zeros_like(residual), SHELL_SHARE**2
            goal *= (residual**2).sum()
            for _ in range(SHELL_STEPS):
                trial = 1e-3 / np.abs(direction * scale).max()
                ahead = self._shell_gradient(batch, self.shells + trial * direction * scale)
                curved = (ahead - start) * scale / trial
                before = (residual**2).sum()
                step = before / (direction * curved).sum()
                moved += step * direction
                residual -= step * curved
                if (residual**2).sum() < goal:
                    break
                direction = residual + (residual**2).sum() / before * direction
            self.shells = self.shells + moved * scale
            if np.abs(self.shells).max() > MOST_SHELL / 2:
                break
        raise RuntimeError("the shells did not relax: the structure is too far from a crystal")

    def _shell_gradient(
        self, batch: AtomsBatch, shells: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        energy, positions, _ = self._energy(batch, shells)
        (gradient,) = torch.autograd.grad(energy, positions)
        return gradient[len(self.atoms) :].numpy()

    def _energy(
        self, batch: AtomsBatch, shells: NDArray[np.float64]
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Energy, and the positions of all sites and the strain that it depends on."""
        cores = batch.positions[: len(self.atoms)]
        places = cores[torch.tensor(self.force_field.shell_of)] + torch.tensor(shells)
        positions = torch.cat([cores, places]).double().requires_grad_()
        strain = torch.zeros(1, 3, 3, dtype=torch.float64, requires_grad=True)
        geometry = strained_geometry(batch, positions, strain)
        energy = self._charged(geometry) + self._pairs(geometry) + self._bonded(geometry)
        return energy, positions, strain

    def _charged(self, geometry: Geometry) -> Tensor:
        charges = torch.tensor(self.force_field.charges)
        width = torch.full_like(charges, self.force_field.width)
        density = ChargeDensity(charges[:, None], width, geometry.graph_index, 1)
        energy = self._coulomb.energy(density, geometry, frozenset({"forces", "stress"}))[0]
        i, j = torch.tensor(self.force_field.excluded).T
        distance2 = (geometry.positions[i] - geometry.positions[j]).square().sum(1)
        own = own_interaction(distance2, self.force_field.width)
        return energy - (charges[i] * charges[j] * own).sum()

    def _pairs(self, geometry: Geometry) -> Tensor:
        size = len(self.force_field.charges)
        has = torch.tensor(self.force_field.pair_sites)
        i, j = geometry.edge_index
        excluded = torch.zeros(size, size, dtype=torch.bool)
        first, second = torch.tensor(self.force_field.excluded).T
        excluded[first, second] = excluded[second, first] = True
        length = geometry.edge_lengths
        kept = has[i] & has[j] & (length < SWITCH[1]) & (i < j)
        # An atom and its own image are one pair for two edges.
        images = has[i] & (length < SWITCH[1]) & (i == j)
        kept &= ~(excluded[i, j] & (length < BONDED))
        energy = torch.zeros((), dtype=torch.float64)
        for chosen, weight in ((kept, 1.0), (images, 0.5)):
            r = length[chosen]
            pair = self.force_field.pair(i[chosen], j[chosen], r)
            energy = energy + weight * (pair * switch_off(r, *SWITCH)).sum()
        return energy

    def _bonded(self, geometry: Geometry) -> Tensor:
        positions, n_atoms = geometry.positions, len(self.atoms)
        displaced = positions[n_atoms:] - positions[torch.tensor(self.force_field.shell_of)]
        energy = (torch.tensor(self.force_field.springs) * displaced.square().sum(1)).sum() / 2
        i, j = torch.tensor(self.force_field.bonds).T
        stiffness, length = self.force_field.bond
        stretch = (positions[i] - positions[j]).norm(dim=1) - length
        vertex, first, second = torch.tensor(self.force_field.angles).T
        a, b = positions[first] - positions[vertex], positions[second] - positions[vertex]
        cosine = (a * b).sum(1) / (a.norm(dim=1) * b.norm(dim=1))
        bending, angle = self.force_field.angle
        bend = torch.acos(cosine) - angle
        return energy + stiffness * stretch.square().sum() + bending * bend.square().sum()
