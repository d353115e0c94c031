r"""Typical arrangements of matter from an integer seed, with a guaranteed minimum distance.

Lattices of Bravais, liquids, surfaces with adsorbates, defects and nearly degenerate distances. As
in :mod:`muse_lr.testing.structures`, seed 0 gives the most symmetric structure.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product

import numpy as np
from ase import Atoms
from ase.lattice import BravaisLattice, bravais_lattices
from numpy.typing import NDArray

from muse_lr.errors import InputError, nearest
from muse_lr.testing.structures import crystal, molecule

Array = NDArray[np.float64]

#: The 14 lattices of Bravais in three dimensions, by the names of ASE; the simplest comes first.
LATTICES = (
    *("CUB", "FCC", "BCC", "HEX", "TET", "BCT", "ORC"),
    *("ORCF", "ORCI", "ORCC", "RHL", "MCL", "MCLC", "TRI"),
)
DEFECTS = ("vacancy", "interstitial", "substitution")
SITES = ("top", "bridge", "hollow")
_IMAGES = np.array(list(product((-2, -1, 0, 1, 2), repeat=3)), dtype=float)


def bravais_crystal(
    lattice: str, symbols: Sequence[str], seed: int = 0, *, minimum_distance: float = 1.0
) -> Atoms:
    """Make a perfect crystal of a lattice of Bravais, in its primitive cell.

    Parameters
    ----------
    lattice : str
        Member of :data:`LATTICES`.
    symbols : sequence of str
        One or two elements: the basis. The second atom is in the middle of the primitive cell.
    seed : int
        Of the ratios of lengths and of the angles that the lattice leaves open.
    minimum_distance : float
        Smallest distance between two atoms, periodic images included, A; it is attained.

    Raises
    ------
    InputError
        For another lattice, or a basis of another size.
    """
    if lattice not in LATTICES:
        raise InputError(f"there is no lattice {lattice!r}{nearest(lattice, LATTICES)}")
    if not 1 <= len(symbols) <= 2:
        raise InputError(f"the basis has one or two atoms; got {len(symbols)}")
    cell = np.array(_lattice(lattice, seed).tocell())
    scaled = np.array([[0.0, 0.0, 0.0], [0.5, 0.5, 0.5]])[: len(symbols)]
    shifts = scaled[:, None] - scaled[None] + _IMAGES[:, None, None]
    lengths = np.linalg.norm(shifts @ cell, axis=-1)
    scale = minimum_distance / lengths[lengths > 1e-9].min()
    return Atoms(list(symbols), scaled @ cell * scale, cell=cell * scale, pbc=True)


def _lattice(name: str, seed: int) -> BravaisLattice:
    """The lattice with a = 1 where lengths are free, and ratios and angles of the seed."""
    # Of increasing lengths, in the order that ASE asks for.
    rng = np.random.default_rng(seed)
    lengths = np.cumsum([1.0, *rng.uniform(0.1, 0.3, size=2)])
    # Three acute angles; those of a triclinic reciprocal cell are then of one kind.
    values = dict(zip("abc", map(float, lengths), strict=True))
    values |= {"alpha": float(rng.uniform(65, 80))}
    if name == "TRI":
        values |= {"alpha": 70.0 - float(rng.uniform(0, 3)), "beta": 75.0, "gamma": 80.0}
    if name in ("HEX", "TET", "BCT"):
        values["c"] = float(rng.uniform(1.1, 1.6))
    made = bravais_lattices[name]
    return made(**{key: values[key] for key in made.parameters})


def liquid(symbols: Sequence[str], seed: int = 0, *, minimum_distance: float = 1.0) -> Atoms:
    """Make a disordered periodic structure of hard spheres in a cube.

    Moves of single atoms that keep the minimum distance (Metropolis sampling of hard spheres:
    N. Metropolis et al., J. Chem. Phys. 21, 1087 (1953)) start from a cubic lattice. Parameters as
    for :func:`~muse_lr.testing.structures.crystal`; seed 0 is the lattice.
    """
    edge = int(np.ceil(len(symbols) ** (1 / 3)))
    spacing = 1.25 * minimum_distance
    points = np.array(list(product(range(edge), repeat=3)), dtype=float)[: len(symbols)]
    positions, length = points * spacing, edge * spacing
    rng = np.random.default_rng(seed)
    for _ in range(20 * len(symbols) if seed else 0):
        atom = int(rng.integers(len(symbols)))
        moved = positions[atom] + rng.uniform(-0.5, 0.5, size=3) * minimum_distance
        vectors = np.delete(positions, atom, axis=0) - moved
        vectors -= length * np.round(vectors / length)
        if (np.linalg.norm(vectors, axis=1) >= minimum_distance).all():
            positions[atom] = moved
    return Atoms(list(symbols), positions, cell=[length] * 3, pbc=True)


def surface(
    symbols: Sequence[str],
    adsorbate: Sequence[str],
    seed: int = 0,
    *,
    layers: int = 1,
    width: int = 1,
    site: str = "top",
    minimum_distance: float = 1.0,
    vacuum: float = 8.0,
) -> Atoms:
    """Make a square surface with an adsorbed atom or upright molecule.

    Parameters
    ----------
    symbols, adsorbate : sequence of str
        Elements of the layers in turn, and of the adsorbate from below.
    seed : int
        Of the displacements; 0 gives the perfect surface.
    layers, width : int
        Numbers of layers, and of atoms along each side.
    site : {"top", "bridge", "hollow"}
        Where the adsorbate is.
    minimum_distance : float
        Smallest distance between two atoms, periodic images included, A.
    vacuum : float
        Length of the open cell vector beyond the atoms, A.
    """
    spacing = 1.3 * minimum_distance
    shift = {"top": (0.0, 0.0), "bridge": (0.5, 0.0), "hollow": (0.5, 0.5)}[site]
    solid = [(x, y, z) for z in range(layers) for x in range(width) for y in range(width)]
    above = [(*shift, layers + height) for height in range(len(adsorbate))]
    elements = [symbols[int(z) % len(symbols)] for _, _, z in solid]
    positions = spacing * np.array([*solid, *above], dtype=float)
    height = spacing * (layers + len(adsorbate)) + vacuum
    cell = np.diag([width * spacing, width * spacing, height])
    atoms = Atoms([*elements, *adsorbate], positions, cell=cell, pbc=(True, True, False))
    return _displaced(atoms, seed, (spacing - minimum_distance) / 2)


def defect(
    symbols: Sequence[str],
    kind: str,
    other: str,
    seed: int = 0,
    *,
    shape: Sequence[int] = (2, 1, 1),
    minimum_distance: float = 1.0,
) -> Atoms:
    """Make a simple cubic crystal with one point defect.

    Parameters
    ----------
    symbols : sequence of str
        Elements of the sites in turn.
    kind : {"vacancy", "interstitial", "substitution"}
        The first atom is removed or replaced, or one is added in the middle of a cube.
    other : str
        Element of the added or replacing atom.
    seed : int
        Of the displacements; 0 gives the unrelaxed defect.
    shape : sequence of int
        Numbers of cubes along the axes, two or more in all.
    minimum_distance : float
        Smallest distance between two atoms, periodic images included, A.
    """
    points = np.array(list(product(*map(range, shape))), dtype=float)
    elements = [symbols[int(point.sum()) % len(symbols)] for point in points]
    # The middle of a cube is half its diagonal from the corners.
    spacing = 1.2 * minimum_distance * (2 / np.sqrt(3) if kind == "interstitial" else 1.0)
    if kind == "vacancy":
        points, elements = points[1:], elements[1:]
    elif kind == "interstitial":
        points, elements = np.vstack([points, [0.5, 0.5, 0.5]]), [*elements, other]
    else:
        elements[0] = other
    cell = spacing * np.diag(np.array(shape, dtype=float))
    atoms = Atoms(elements, spacing * points, cell=cell, pbc=True)
    return _displaced(atoms, seed, 0.1 * minimum_distance)


def nearly_degenerate(
    symbols: Sequence[str],
    seed: int = 0,
    *,
    shift: float = 1e-4,
    periodic: bool = False,
    minimum_distance: float = 1.0,
) -> Atoms:
    """Make a cluster or crystal whose equal distances differ by a little.

    What chooses by distance, such as the nearest neighbors or a maximum, changes its choice here.

    Parameters
    ----------
    symbols : sequence of str
    seed : int
        Of the displacements from a cubic lattice; 0 gives equal distances.
    shift : float
        Largest displacement, A; at most a fifth of the minimum distance.
    periodic : bool
    minimum_distance : float
        Smallest distance between two atoms, periodic images included, A.
    """
    build = crystal if periodic else molecule
    atoms = build(symbols, 0, minimum_distance=minimum_distance, looseness=0.4)
    return _displaced(atoms, seed, min(shift, 0.2 * minimum_distance))


def _displaced(atoms: Atoms, seed: int, radius: float) -> Atoms:
    """Every atom is displaced within a sphere, unless the seed is 0."""
    rng = np.random.default_rng(seed)
    moves = rng.normal(size=(len(atoms), 3))
    moves *= radius * rng.uniform(size=(len(atoms), 1)) / np.linalg.norm(moves, axis=1)[:, None]
    atoms.positions += moves if seed else 0.0
    return atoms
