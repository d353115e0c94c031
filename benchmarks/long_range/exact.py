"""Forces to measure errors against: an Ewald sum in numpy that shares no code with anybody."""

from __future__ import annotations

import math

import numpy as np
from ase import Atoms
from numpy.typing import NDArray
from scipy.special import erfc
from vesin import NeighborList

from muse_lr.units import COULOMB_CONSTANT

FloatArray = NDArray[np.float64]
#: Both sums are cut where their Gaussian factor is this small.
FACTOR = 1e-11
CUTOFF = 12.0
#: k vectors that are summed at once.
BLOCK = 256


def exact_forces(atoms: Atoms, charges: FloatArray) -> FloatArray:
    """(n, 3) forces on periodic point charges in eV/A, right to about ``FACTOR``."""
    decay = math.sqrt(-math.log(FACTOR))
    alpha = decay / CUTOFF
    return _real_space(atoms, charges, alpha) + _reciprocal(atoms, charges, alpha, decay)


def _real_space(atoms: Atoms, charges: FloatArray, alpha: float) -> FloatArray:
    calculator = NeighborList(cutoff=CUTOFF, full_list=True)
    first, second, distance, vector = calculator.compute(
        points=atoms.positions, box=atoms.cell.array, periodic=True, quantities="ijdD"
    )
    slope = erfc(alpha * distance) / distance
    slope += 2 * alpha / math.sqrt(math.pi) * np.exp(-((alpha * distance) ** 2))
    slope *= COULOMB_CONSTANT * charges[first] * charges[second] / distance**2
    forces = np.zeros_like(atoms.positions)
    for axis in range(3):
        weight = -slope * vector[:, axis]
        forces[:, axis] = np.bincount(first, weight, minlength=len(atoms))
    return forces


def _reciprocal(atoms: Atoms, charges: FloatArray, alpha: float, decay: float) -> FloatArray:
    cell = atoms.cell.array
    cutoff = 2 * alpha * decay
    inverse = 2 * math.pi * np.linalg.inv(cell).T
    reach = np.ceil(cutoff * np.linalg.norm(cell, axis=1) / (2 * math.pi)).astype(int)
    axes = [np.arange(-reach[0], reach[0] + 1), np.arange(-reach[1], reach[1] + 1)]
    grid = np.stack(np.meshgrid(*axes, np.arange(reach[2] + 1), indexing="ij"), axis=-1)
    vectors = grid.reshape(-1, 3) @ inverse
    squared = (vectors**2).sum(1)
    kept = (squared > 0) & (squared <= cutoff**2)
    twice = np.where(grid.reshape(-1, 3)[kept, 2] > 0, 2.0, 1.0)
    vectors, squared = vectors[kept], squared[kept]
    weight = twice * np.exp(-squared / (4 * alpha**2)) / squared
    weight *= 4 * math.pi * COULOMB_CONSTANT / abs(np.linalg.det(cell))
    forces = np.zeros_like(atoms.positions)
    for start in range(0, len(vectors), BLOCK):
        block = slice(start, start + BLOCK)
        phases = np.exp(1j * (atoms.positions @ vectors[block].T))
        structure = (charges[:, None] * phases).sum(0)
        forces += (phases * structure.conj() * weight[block]).imag @ vectors[block]
    return charges[:, None] * forces


def relative_error(
    forces: FloatArray, exact: FloatArray, charges: FloatArray, volume: float
) -> float:
    """RMS force error over k q_rms^2 (N/V)^(2/3), the package's definition of accuracy."""
    scale = COULOMB_CONSTANT * (charges**2).mean() * (len(charges) / volume) ** (2 / 3)
    return float(np.sqrt(((forces - exact) ** 2).sum(1).mean()) / scale)
