"""Sums from first principles, in numpy, that tie every convention down.

None of it is used by the package. Energies are in eV, lengths in A, charges in e.
"""

from __future__ import annotations

import itertools
import math

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.peers.common import System, cartesian_quadrupoles
from muse_lr.units import COULOMB_CONSTANT

FloatArray = NDArray[np.float64]


def cartesian(system: System) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Charges (n,), dipoles (n, 3) and traceless quadrupoles (n, 3, 3) of a system."""
    padded = np.zeros((len(system.moments), 9))
    padded[:, : system.moments.shape[1]] = system.moments
    quadrupoles = cartesian_quadrupoles(torch.from_numpy(padded)).numpy()
    return padded[:, 0], padded[:, [3, 1, 2]], quadrupoles


def reciprocal_sum(system: System, relative: float = 1e-13) -> float:
    r"""Energy of periodic Gaussian multipoles by the plain sum over reciprocal vectors, eV.

    .. math::

        E = \frac{2 \pi k}{V} \sum_{k \ne 0} \frac{1}{k^2}
            \Big| \sum_i e^{-\sigma_i^2 k^2 / 2} e^{-i k \cdot r_i}
            (q_i - i k \cdot \mu_i - \tfrac13 k \cdot \Theta_i \cdot k) \Big|^2 - E_{self},

    .. math::

        E_{self} = \frac{k}{\sqrt\pi} \sum_i \frac{q_i^2}{2 \sigma_i}
            + \frac{|\mu_i|^2}{12 \sigma_i^3} + \frac{|\Theta_i|^2}{180 \sigma_i^5}.

    The self-energy also holds for mixed widths; the traces q_i Theta_ii that would couple l = 0
    and 2 vanish.
    """
    charges, dipoles, quadrupoles = cartesian(system)
    width = system.width
    cell = system.atoms.cell.array
    vectors = reciprocal_vectors(cell, math.sqrt(-math.log(relative)) / width.min())
    squared = (vectors**2).sum(1)
    amplitude = (
        charges
        - 1j * vectors @ dipoles.T
        - np.einsum("ka,nab,kb->kn", vectors, quadrupoles, vectors) / 3
    )
    amplitude = amplitude * np.exp(-0.5 * squared[:, None] * width**2)
    structure = (amplitude * np.exp(-1j * vectors @ system.atoms.positions.T)).sum(1)
    total = 2 * math.pi / abs(np.linalg.det(cell)) * (np.abs(structure) ** 2 / squared).sum()
    own = (
        charges**2 / (2 * width)
        + (dipoles**2).sum(1) / (12 * width**3)
        + (quadrupoles**2).sum((1, 2)) / (180 * width**5)
    ).sum() / math.sqrt(math.pi)
    return COULOMB_CONSTANT * float(total - own)


def reciprocal_vectors(cell: FloatArray, cutoff: float) -> FloatArray:
    """(n_k, 3) all reciprocal vectors but zero up to ``cutoff``, 1/A."""
    inverse = 2 * math.pi * np.linalg.inv(cell).T
    reach = np.ceil(cutoff * np.linalg.norm(cell, axis=1) / (2 * math.pi)).astype(int)
    grid = np.array(list(itertools.product(*(range(-n, n + 1) for n in reach))))
    vectors = grid @ inverse
    squared = (vectors**2).sum(1)
    return vectors[(squared > 0) & (squared <= cutoff**2)]


def point_clusters(system: System, spacing: float) -> tuple[FloatArray, FloatArray, NDArray]:
    """Point charges that mimic the multipoles up to errors of order ``spacing`` squared.

    A dipole is a pair of charges along it, a quadrupole two charges on each of its axes.

    Returns
    -------
    positions : ndarray
        (m, 3) in A.
    charges : ndarray
        (m,) in e.
    owner : ndarray
        (m,) the atom that each charge belongs to.
    """
    positions, charges, owner = [], [], []
    sites = zip(system.atoms.positions, *cartesian(system), strict=True)
    for atom, (center, charge, dipole, quadrupole) in enumerate(sites):
        values, axes = np.linalg.eigh(quadrupole)
        parts = [(np.zeros(3), charge)]
        for axis in range(3):
            step = spacing * np.eye(3)[axis]
            parts += [(sign * step, sign * dipole[axis] / (2 * spacing)) for sign in (1, -1)]
            step = spacing * axes[:, axis]
            parts += [(sign * step, values[axis] / (3 * spacing**2)) for sign in (1, -1)]
        positions += [center + offset for offset, _ in parts]
        charges += [value for _, value in parts]
        owner += [atom] * len(parts)
    return np.array(positions), np.array(charges), np.array(owner)


def open_cluster_sum(system: System, spacing: float = 0.04) -> float:
    """Open-boundary energy of the multipoles from clusters of point charges, eV.

    Pairs of different atoms only, width by the erf of the summed variances; two spacings are
    extrapolated, which leaves an error of order ``spacing`` to the fourth.
    """
    coarse, fine = (_cluster_sum(system, h) for h in (spacing, spacing / 2))
    return (4 * fine - coarse) / 3


def _cluster_sum(system: System, spacing: float) -> float:
    positions, charges, owner = point_clusters(system, spacing)
    first, second = np.nonzero(owner[:, None] < owner[None, :])
    distance = np.linalg.norm(positions[first] - positions[second], axis=1)
    variance = system.width[owner[first]] ** 2 + system.width[owner[second]] ** 2
    kernel = 1 / distance
    smeared = variance > 0
    argument = torch.from_numpy(distance[smeared] / np.sqrt(2 * variance[smeared]))
    kernel[smeared] *= torch.erf(argument).numpy()
    return COULOMB_CONSTANT * math.fsum(charges[first] * charges[second] * kernel)
