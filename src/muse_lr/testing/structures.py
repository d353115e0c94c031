r"""Small random structures from an integer seed, with a guaranteed minimum distance.

Sites are drawn from a lattice with generators G (rows). Each site is displaced within a sphere of
radius ``(lambda - minimum_distance) / 2``, where lambda is the length of the shortest lattice
vector. Any two sites, periodic images included, are then at least ``minimum_distance`` apart, so
that no rejection loop is needed. Seed 0 gives the perfect lattice, which is the simplest and most
symmetric structure.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product

import numpy as np
from ase import Atoms
from numpy.typing import NDArray

from muse_lr.structures.state import combined_info, read_state

Array = NDArray[np.float64]

#: Integer coefficients that include the shortest vector of a nearly orthogonal lattice.
_NEAR = np.array([n for n in product((-1, 0, 1), repeat=3) if any(n)], dtype=float)


def random_rotation(rng: np.random.Generator) -> Array:
    """Rotation matrix (3, 3), uniform over SO(3); vectors are rows, ``x @ R.T`` rotates them."""
    q, r = np.linalg.qr(rng.normal(size=(3, 3)))
    q = q * np.sign(np.diag(r))
    return q * np.sign(np.linalg.det(q))


def random_unimodular(rng: np.random.Generator, pbc: Sequence[bool], steps: int = 2) -> Array:
    """Integer matrix (3, 3) of determinant +-1 that mixes only the periodic rows of a cell."""
    matrix = np.eye(3)
    periodic = np.flatnonzero(pbc)
    if len(periodic) < 2:
        return matrix
    for _ in range(steps):
        row, other = rng.choice(periodic, size=2, replace=False)
        matrix[row] += rng.choice((-1, 1)) * matrix[other]
    return matrix


def _shape_for(count: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Numbers of sites along three axes in random order; their product is at least ``count``."""
    shape = np.ones(3, dtype=np.int64)
    while shape.prod() < count:
        shape[int(np.argmin(shape))] += 1
    return rng.permutation(shape)


def _generators(spacing: float, distortion: float, rng: np.random.Generator) -> Array:
    """Lattice vectors (rows), nearly orthogonal, with a shortest vector of length ``spacing``."""
    generators = np.eye(3) + distortion * rng.uniform(-1, 1, size=(3, 3))
    shortest = np.linalg.norm(_NEAR @ generators, axis=1).min()
    return generators * (spacing / shortest)


def _sites(
    count: int, shape: NDArray[np.int64], generators: Array, radius: float, rng: np.random.Generator
) -> Array:
    """Draw ``count`` distinct lattice sites, each displaced within a sphere of ``radius`` A."""
    points = np.stack(np.unravel_index(rng.permutation(int(shape.prod()))[:count], shape), axis=1)
    directions = rng.normal(size=(count, 3))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    return points @ generators + directions * radius * rng.uniform(size=(count, 1)) ** (1 / 3)


def _spacing(minimum_distance: float, looseness: float) -> float:
    return minimum_distance * (1.0 + looseness)


def molecule(
    symbols: Sequence[str],
    seed: int = 0,
    *,
    minimum_distance: float = 1.0,
    looseness: float = 0.6,
    charge: int = 0,
) -> Atoms:
    """Make a cluster with open boundaries, without a cell, at a random position.

    Parameters
    ----------
    symbols : sequence of str
        Element of each atom.
    seed : int
        Seed of the random generator; 0 gives a part of a simple cubic lattice.
    minimum_distance : float
        Smallest distance between two atoms, A.
    looseness : float
        The distance between sites is ``minimum_distance * (1 + looseness)`` before displacement.
    charge : int
        Stored in ``info["total_charge"]`` unless it is 0.
    """
    rng = np.random.default_rng(seed)
    spacing = _spacing(minimum_distance, looseness)
    radius = 0.0 if seed == 0 else (spacing - minimum_distance) / 2
    shape = _shape_for(len(symbols), rng)
    positions = _sites(len(symbols), shape, spacing * np.eye(3), radius, rng)
    if seed:
        positions = positions @ random_rotation(rng).T + rng.uniform(-5, 5, size=3)
    return with_charge(Atoms(list(symbols), positions=positions), charge)


def crystal(
    symbols: Sequence[str],
    seed: int = 0,
    *,
    minimum_distance: float = 1.0,
    looseness: float = 1.2,
    triclinic: bool = True,
    skewed: bool = False,
    left_handed: bool = False,
    outside: bool = False,
    charge: int = 0,
) -> Atoms:
    """Make a structure periodic in three directions; the cell is usually smaller than a cutoff.

    Parameters
    ----------
    symbols, seed, minimum_distance, looseness, charge
        As for :func:`molecule`; distances between periodic images are included.
    triclinic : bool
        Distort the cell (for a seed other than 0).
    skewed : bool
        Describe the lattice by longer vectors with small angles between them.
    left_handed : bool
        Invert one lattice vector, so that the determinant of the cell is negative.
    outside : bool
        Move atoms by lattice vectors, out of the cell.
    """
    rng = np.random.default_rng(seed)
    spacing = _spacing(minimum_distance, looseness)
    distorted = triclinic and seed != 0
    generators = _generators(spacing, 0.15 if distorted else 0.0, rng)
    shape = _shape_for(len(symbols), rng)
    radius = 0.0 if seed == 0 else (spacing - minimum_distance) / 2
    positions = _sites(len(symbols), shape, generators, radius, rng)
    cell = shape[:, None] * generators
    pbc = (True, True, True)
    cell, positions = _redescribe(cell, positions, pbc, rng, skewed, left_handed, outside)
    return with_charge(Atoms(list(symbols), positions=positions, cell=cell, pbc=pbc), charge)


def slab(
    symbols: Sequence[str],
    seed: int = 0,
    *,
    minimum_distance: float = 1.0,
    looseness: float = 1.2,
    open_axis: int = 2,
    vacuum: float = 6.0,
    triclinic: bool = True,
    skewed: bool = False,
    left_handed: bool = False,
    outside: bool = False,
    charge: int = 0,
) -> Atoms:
    """Make a slab with two periodic directions and an open one along the surface normal.

    Parameters
    ----------
    symbols, seed, minimum_distance, looseness, triclinic, skewed, left_handed, outside, charge
        As for :func:`crystal`.
    open_axis : int
        Index of the cell vector that is not periodic (0, 1 or 2).
    vacuum : float
        Length of the open cell vector beyond the slab, A; results must not depend on it.
    """
    rng = np.random.default_rng(seed)
    spacing = _spacing(minimum_distance, looseness)
    generators = _generators(spacing, 0.15 if triclinic and seed else 0.0, rng)
    normal = np.cross(generators[0], generators[1])
    normal /= np.linalg.norm(normal)
    generators[2] = normal * spacing
    radius = 0.0 if seed == 0 else (spacing - minimum_distance) / 2
    shape = _shape_for(len(symbols), rng)
    positions = _sites(len(symbols), shape, generators, radius, rng)
    cell = shape[:, None] * generators
    cell[2] = normal * (shape[2] * spacing + vacuum)
    order = np.roll(np.arange(3), open_axis - 2)
    pbc = tuple(bool(axis != open_axis) for axis in range(3))
    cell, positions = _redescribe(cell[order], positions, pbc, rng, skewed, left_handed, outside)
    return with_charge(Atoms(list(symbols), positions=positions, cell=cell, pbc=pbc), charge)


def _redescribe(
    cell: Array,
    positions: Array,
    pbc: Sequence[bool],
    rng: np.random.Generator,
    skewed: bool,
    left_handed: bool,
    outside: bool,
) -> tuple[Array, Array]:
    """Describe the same lattice by other cell vectors, and the atoms by other images."""
    periodic = np.flatnonzero(pbc)
    if skewed:
        cell = random_unimodular(rng, pbc, steps=3) @ cell
    if left_handed != bool(np.linalg.det(cell) < 0):
        cell = cell.copy()
        cell[periodic[0]] *= -1
    if outside:
        jumps = np.zeros((len(positions), 3))
        jumps[:, periodic] = rng.integers(-2, 3, size=(len(positions), len(periodic)))
        positions = positions + jumps @ cell
    return cell, positions


def with_charge(atoms: Atoms, charge: int) -> Atoms:
    """State a total charge in e, in ``info["total_charge"]`` of the same object, unless it is 0."""
    if charge:
        atoms.info["total_charge"] = charge
    return atoms


def join(*parts: Atoms) -> Atoms:
    """Join the atoms of all parts in the cell of the first.

    Total charges are added if one of them is given. The numbers of unpaired electrons are added as
    well, so that far parts keep their spins.
    """
    joined = parts[0].copy()
    for part in parts[1:]:
        joined += part
    states = [read_state(part) for part in parts]
    joined.info = combined_info(
        joined,
        sum(state.total_charge for state in states),
        sum(state.spin - 1 for state in states),
    )
    return joined
