"""The structures of the exam: always the same ones for the same elements or the same file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from ase import Atoms
from ase.data import atomic_numbers, covalent_radii

from muse_lr.errors import InputError, nearest
from muse_lr.structures.state import STATE_KEYS
from muse_lr.testing import structures as builders

Named = tuple[str, Atoms]
#: Smallest distance of two atoms, relative to twice the largest covalent radius.
CLOSEST = 1.05
#: Displacement of the atoms of given structures, A.
DISTORTION = 0.03
#: Frames of a file that are used of each kind of boundary, and the largest number of their atoms.
MOST_FRAMES, MOST_ATOMS = 3, 64


@dataclass(frozen=True)
class Structures:
    """Base structures by kind; each with its name.

    Attributes
    ----------
    elements : tuple of str
    molecules, crystals, slabs : list of (str, Atoms)
        Distorted, without symmetry, a few atoms each.
    perfect : list of (str, Atoms)
        Perfect crystals, whose atoms have no forces by symmetry.
    atoms : list of (str, Atoms)
        Isolated atoms, one of each element.
    """

    elements: tuple[str, ...]
    molecules: list[Named]
    crystals: list[Named]
    slabs: list[Named]
    perfect: list[Named]
    atoms: list[Named]


def from_elements(elements: Sequence[str], quick: bool = False) -> Structures:
    """Molecules, crystals, slabs and atoms of the elements.

    Distances are at least the sum of the covalent radii (B. Cordero et al., Dalton Trans. 2008,
    2832) of the largest element of a structure.

    Parameters
    ----------
    elements : sequence of str
    quick : bool
        Fewer and smaller structures.

    Raises
    ------
    InputError
        For an unknown element, or for none.
    """
    for symbol in elements:
        if symbol not in atomic_numbers or symbol == "X":
            known = nearest(symbol, atomic_numbers)
            raise InputError(f"elements: {symbol!r} is no chemical symbol{known}")
    if not elements:
        raise InputError("elements: give at least one chemical symbol, such as H,O")
    sizes = ((3, 1), (4, 2)) if quick else ((3, 1), (4, 2), (5, 3), (8, 4))
    few = sizes[:1] if quick else sizes[:2]
    return Structures(
        elements=tuple(elements),
        molecules=[_molecule(elements, *size) for size in sizes],
        crystals=[_crystal(elements, *size) for size in sizes],
        slabs=[_slab(elements, *size) for size in few],
        perfect=[rock_salt(elements[0], elements[-1], "rock salt")],
        atoms=[(f"atom {symbol}", Atoms(symbol)) for symbol in elements],
    )


def from_frames(frames: Sequence[Atoms], quick: bool = False) -> Structures:
    """Distorted frames of a file; kinds that it lacks are made of its elements.

    Raises
    ------
    InputError
        Without frames, or if all of them are too large.
    """
    small = [(index, atoms) for index, atoms in enumerate(frames) if len(atoms) <= MOST_ATOMS]
    if not small:
        raise InputError(
            f"structures: a frame of at most {MOST_ATOMS} atoms is needed; there is none"
        )
    elements = sorted({symbol for _, atoms in small for symbol in atoms.symbols})
    made = from_elements(elements, quick)
    kinds = {0: made.molecules, 2: made.slabs, 3: made.crystals}
    given: dict[int, list[Named]] = {}
    for index, atoms in small:
        directions = int(atoms.pbc.sum())
        if directions == 1:
            raise InputError(
                f"structures: frame {index} is periodic along one axis; use zero, two or three"
            )
        named = f"frame {index} ({atoms.get_chemical_formula()})", _distorted(atoms, index)
        given.setdefault(directions, []).append(named)
    most = 1 if quick else MOST_FRAMES
    # A single atom is no molecule: nothing in it can be rearranged.
    given[0] = [pair for pair in given.get(0, []) if len(pair[1]) > 1]
    molecules, slabs, crystals = (given.get(n, [])[:most] or kinds[n] for n in kinds)
    return Structures(made.elements, molecules, crystals, slabs, made.perfect, made.atoms)


def smallest_distance(symbols: Sequence[str]) -> float:
    """Smallest distance of two atoms in a structure of these elements, A."""
    largest = max(covalent_radii[atomic_numbers[symbol]] for symbol in symbols)
    return CLOSEST * 2 * float(largest)


def bond_length(first: str, second: str) -> float:
    """Sum of the covalent radii of two elements, A."""
    return float(sum(covalent_radii[atomic_numbers[symbol]] for symbol in (first, second)))


def rock_salt(first: str, second: str, name: str, distance: float | None = None) -> Named:
    """Primitive cell of rock salt, with a given distance of neighbors or 1.15 bond lengths."""
    d = distance or 1.15 * bond_length(first, second)
    cell = d * np.array([[0, 1, 1], [1, 0, 1], [1, 1, 0]])
    atoms = Atoms([first, second], [[0, 0, 0], [d, d, d]], cell=cell, pbc=True)
    return f"{name} {first}{second}", atoms


def _chosen(elements: Sequence[str], count: int, start: int) -> tuple[list[str], float]:
    """Elements in turn, and the smallest distance of their atoms."""
    symbols = [elements[(start + i) % len(elements)] for i in range(count)]
    return symbols, smallest_distance(symbols)


def _molecule(elements: Sequence[str], count: int, seed: int) -> Named:
    symbols, distance = _chosen(elements, count, seed - 1)
    atoms = builders.molecule(symbols, seed, minimum_distance=distance, looseness=0.3)
    return f"molecule {atoms.get_chemical_formula()}", atoms


def _crystal(elements: Sequence[str], count: int, seed: int) -> Named:
    symbols, distance = _chosen(elements, count, seed - 1)
    skewed, outside = seed % 2 == 0, seed % 3 == 0
    atoms = builders.crystal(
        symbols, seed, minimum_distance=distance, looseness=0.3, skewed=skewed, outside=outside
    )
    return f"crystal {atoms.get_chemical_formula()}", atoms


def _slab(elements: Sequence[str], count: int, seed: int) -> Named:
    symbols, distance = _chosen(elements, count, seed - 1)
    atoms = builders.slab(symbols, seed, minimum_distance=distance, looseness=0.3, vacuum=12.0)
    return f"slab {atoms.get_chemical_formula()}", atoms


def _distorted(atoms: Atoms, seed: int) -> Atoms:
    """Copy without labels and results, every coordinate displaced."""
    copy = Atoms(atoms.numbers, atoms.positions, cell=atoms.cell, pbc=atoms.pbc)
    copy.info = {key: atoms.info[key] for key in STATE_KEYS if key in atoms.info}
    copy.positions += np.random.default_rng(seed).normal(0, DISTORTION, size=(len(atoms), 3))
    return copy
