"""What the comparisons share: structures with multipoles, our answer, and derivatives of theirs."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch
from ase import Atoms
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from muse_lr import AtomsBatch
from muse_lr.density import ChargeDensity
from muse_lr.electrostatics.ewald.open_sum import open_energy
from muse_lr.electrostatics.ewald.reference import ReferenceSolver
from muse_lr.structures.geometry import strained_geometry

#: Accuracy that our solver is asked for; the comparisons are then limited by the peers.
ACCURACY = 1e-10
CUTOFF = 8.0
#: No two atoms of a random structure are closer, A.
CLOSEST = 1.9
#: Extent of random structures along open directions, A.
LAYER = 6.0


@dataclass(frozen=True)
class System:
    """Gaussian multipoles in a cell.

    Attributes
    ----------
    name : str
    atoms : ase.Atoms
        Positions, cell and periodicity; the elements mean nothing.
    moments : ndarray
        (n, (l_max + 1)^2) in e A^l, real solid harmonics in Racah normalization, m = -l..l.
    width : ndarray
        (n,) Gaussian standard deviations, A; 0 for points.
    """

    name: str
    atoms: Atoms
    moments: NDArray[np.float64]
    width: NDArray[np.float64]

    @property
    def l_max(self) -> int:
        """Highest order of the multipoles."""
        return math.isqrt(self.moments.shape[1]) - 1

    def positions(self) -> Tensor:
        """(n, 3) in A."""
        return torch.tensor(self.atoms.positions)

    def cell(self) -> Tensor:
        """(3, 3) in A, rows are cell vectors."""
        return torch.tensor(self.atoms.cell.array)


@dataclass(frozen=True)
class Answer:
    """Energy and the first derivatives that a code offers; None for what it does not.

    Attributes
    ----------
    energy : float or ndarray
        eV; (n_structures,) of a batch.
    forces : ndarray
        (n, 3) in eV/A.
    strain : ndarray, optional
        (3, 3) dE/dstrain in eV at constant moments, symmetric strain of positions and cell; NaN
        for components that a code does not have.
    field : ndarray, optional
        (n, (l_max + 1)^2) dE/dM: potential, field and field gradient at the atoms.
    """

    energy: float | NDArray[np.float64]
    forces: NDArray[np.float64] | None = None
    strain: NDArray[np.float64] | None = None
    field: NDArray[np.float64] | None = None

    def without_tilt(self, axis: int) -> Answer:
        """For slab corrections along a Cartesian axis: no strain that tilts the slab."""
        assert self.strain is not None
        strain = self.strain.copy()
        others = [index for index in range(3) if index != axis]
        strain[axis, others] = strain[others, axis] = np.nan
        return replace(self, strain=strain)

    def without_mean_potential(self) -> Answer:
        """For codes that only know neutral slabs: the potential up to a constant."""
        assert self.field is not None
        field = self.field.copy()
        field[:, 0] -= field[:, 0].mean()
        return replace(self, field=field)


EnergyOf = Callable[[Tensor, Tensor, Tensor], Tensor]


def differentiate(energy_of: EnergyOf, system: System) -> Answer:
    """Energy and all first derivatives of a function of positions, cell and moments.

    Parameters
    ----------
    energy_of : callable
        Takes (n, 3) positions, (3, 3) cell and (n, (l_max + 1)^2) moments, returns eV.
    system : System
    """
    positions = system.positions().requires_grad_()
    moments = torch.tensor(system.moments).requires_grad_()
    strain = torch.zeros(3, 3, dtype=torch.float64, requires_grad=True)
    deformation = torch.eye(3, dtype=torch.float64) + (strain + strain.T) / 2
    energy = energy_of(positions @ deformation, system.cell() @ deformation, moments)
    forces, virial, field = torch.autograd.grad(
        energy.sum(), (positions, strain, moments), allow_unused=True, materialize_grads=True
    )
    return Answer(float(energy.sum().detach()), -forces.numpy(), virial.numpy(), field.numpy())


def ours(system: System, accuracy: float = ACCURACY) -> Answer:
    """Our reference solver, or the exact sum of an open system."""
    solver = ReferenceSolver(
        widths=sorted(set(system.width.tolist())), accuracy=accuracy, cutoff=CUTOFF
    )
    periodic = bool(system.atoms.pbc.any())
    reach = solver.ewald.cutoff if periodic else 0.0
    batch = AtomsBatch.from_ase([system.atoms], cutoff=max(reach, 1.0))
    positions = batch.positions.clone().requires_grad_()
    moments = torch.tensor(system.moments).requires_grad_()
    strain = torch.zeros(1, 3, 3, dtype=torch.float64, requires_grad=True)
    geometry = strained_geometry(batch, positions, strain)
    density = ChargeDensity(moments, torch.tensor(system.width), batch.batch, batch.num_graphs)
    if periodic:
        energy = solver.energy(density, geometry, torch.ones(1, dtype=torch.bool))
    else:
        energy = open_energy(density, geometry)
    forces, virial, field = torch.autograd.grad(energy.sum(), (positions, strain, moments))
    return Answer(
        float(energy.sum().detach()), -forces.numpy(), virial[0].numpy(), field.detach().numpy()
    )


def pairs(system: System, cutoff: float) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Full neighbor list sorted by its first atom: (2, n_pairs) i, j and (n_pairs, 3) shifts.

    The image of j is at ``positions[j] + shift @ cell``.
    """
    batch = AtomsBatch.from_ase([system.atoms], cutoff=cutoff)
    sender, receiver = batch.edge_index.numpy()
    order = np.argsort(receiver, kind="stable")
    return np.stack([receiver, sender])[:, order], batch.edge_shift.numpy()[order]


def pair_distances(
    positions: Tensor, cell: Tensor, index: NDArray[np.int64], shifts: NDArray[np.int64]
) -> Tensor:
    """(n_pairs,) differentiable distances of :func:`pairs`."""
    first, second = torch.from_numpy(index)
    vectors = positions[second] - positions[first] + torch.from_numpy(shifts).double() @ cell
    return torch.linalg.vector_norm(vectors, dim=1)


def cartesian_quadrupoles(moments: Tensor) -> Tensor:
    """(n, 3, 3) traceless Theta = sum q (3 r r - r^2) / 2 of (n, 9) moments, e A^2."""
    xy, yz, zz, xz, difference = moments[:, 4:9].T
    root = math.sqrt(3)
    rows = [
        [(root * difference - zz) / 2, root / 2 * xy, root / 2 * xz],
        [root / 2 * xy, -(root * difference + zz) / 2, root / 2 * yz],
        [root / 2 * xz, root / 2 * yz, zz],
    ]
    return torch.stack([torch.stack(row, dim=1) for row in rows], dim=1)


def scattered(
    name: str,
    cell: ArrayLike,
    pbc: ArrayLike,
    n_atoms: int,
    l_max: int,
    *,
    width: ArrayLike = 0.0,
    total_charge: float = 0.0,
    seed: int = 0,
) -> System:
    """Random atoms with random multipoles.

    In open directions the atoms keep to a layer of ``LAYER`` in the middle of the cell.

    Parameters
    ----------
    name : str
    cell : array_like
        (3, 3) in A.
    pbc : array_like
        (3,) of bool.
    n_atoms, l_max : int
    width : array_like
        One Gaussian standard deviation or one for each atom, A.
    total_charge : float
        e.
    seed : int
    """
    rng = np.random.default_rng(seed)
    periodic = np.asarray(pbc, dtype=bool)
    share = np.where(periodic, 1.0, LAYER / np.linalg.norm(cell, axis=1))
    atoms = Atoms(cell=np.asarray(cell, dtype=np.float64), pbc=periodic)
    while len(atoms) < n_atoms:
        fraction = 0.5 + share * (rng.random(3) - 0.5)
        trial = atoms + Atoms("H", [fraction @ atoms.cell.array])
        if len(atoms) == 0 or trial.get_distances(-1, range(len(atoms)), mic=True).min() > CLOSEST:
            atoms = Atoms(trial, cell=atoms.cell, pbc=atoms.pbc)
    moments = np.zeros((n_atoms, (l_max + 1) ** 2))
    moments[:, 0] = rng.uniform(-1, 1, n_atoms)
    moments[:, 0] += (total_charge - moments[:, 0].sum()) / n_atoms
    moments[:, 1:] = 0.3 * rng.normal(size=(n_atoms, (l_max + 1) ** 2 - 1))
    widths = np.broadcast_to(np.asarray(width, dtype=np.float64), n_atoms).copy()
    return System(name, atoms, moments, widths)


CUBIC = np.diag([10.0, 10.0, 10.0])
ORTHORHOMBIC = np.diag([9.0, 10.0, 11.5])
#: Lower triangular and reduced, the only kind of triclinic cell that OpenMM takes.
TRICLINIC = np.array([[10.0, 0.0, 0.0], [2.5, 9.5, 0.0], [-1.8, 2.2, 10.5]])
