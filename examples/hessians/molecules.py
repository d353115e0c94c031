"""Molecules of the Hessians before their relaxation: chains from bond lengths, angles, dihedrals.

Two families carry a perturbation along their conjugated bonds, and two molecules do not:

- ``push_pull``: O2N-(CH=CH)n-N(CH3)2, flat and all-trans;
- ``polyyne``: H-(CC)n-H, linear;
- ``alkane``: C16H34, all-trans;
- ``fatty_acid``: docosahexaenoic acid (C22H32O2), all double bonds cis, folded.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from itertools import product

import numpy as np
from ase import Atoms

from benchmarks.datasets.geometries import bonds_between, clashes, placed

CH = 1.09  # A
#: First carbon of each double bond of the fatty acid, counted from the acid as 0, and both.
DOUBLE = (3, 6, 9, 12, 15, 18)
DOUBLY_BONDED = {i for first in DOUBLE for i in (first, first + 1)}
FATTY_CARBONS = 22
FATTY_BONDS = [1.34 if i in DOUBLE else 1.51 for i in range(FATTY_CARBONS - 1)]  # A
FATTY_ANGLES = [127.0 if i in DOUBLY_BONDED else 112.5 for i in range(1, FATTY_CARBONS - 1)]
#: Degrees; dihedral of a single bond next to a double bond, to either side.
SKEW = 115.0


@dataclass(frozen=True)
class Molecule:
    """A family and the number of its repeated units.

    Attributes
    ----------
    family : str
    units : int
        C2H2 or C2 units of a push-pull chain or a polyyne; carbon atoms of the other two.
    """

    family: str
    units: int

    @property
    def name(self) -> str:
        return f"{self.family}_{self.units:02d}"

    @property
    def zero_modes(self) -> int:
        """Translations and rotations."""
        return 5 if self.family == "polyyne" else 6

    def guess(self) -> Atoms:
        """Geometry before the relaxation."""
        builders = {"push_pull": push_pull, "polyyne": polyyne, "alkane": alkane}
        return fatty_acid() if self.family == "fatty_acid" else builders[self.family](self.units)


def zigzag(
    lengths: Sequence[float], angles: Sequence[float], dihedrals: Sequence[float]
) -> np.ndarray:
    """Positions of a chain from bonds (A), and angles and dihedrals (degrees)."""
    bend = np.radians(angles[0])
    points = [np.zeros(3), np.array([lengths[0], 0, 0])]
    points.append(points[1] + lengths[1] * np.array([-np.cos(bend), np.sin(bend), 0]))
    for internal in zip(lengths[2:], angles[1:], dihedrals, strict=True):
        points.append(placed(points[-1], points[-2], points[-3], internal))
    return np.array(points)


def on_inner(chain: np.ndarray, i: int, hydrogens: int) -> np.ndarray:
    """One hydrogen in the plane of an inner carbon and its neighbors, or two above and below."""
    arms = [chain[i] - chain[j] for j in (i - 1, i + 1)]
    first, second = (arm / np.linalg.norm(arm) for arm in arms)
    middle = (first + second) / np.linalg.norm(first + second)
    if hydrogens == 1:
        return chain[i] + CH * middle[None]
    normal = np.cross(first, second)
    normal /= np.linalg.norm(normal)
    half = np.radians(54.0)
    return np.array(
        [chain[i] + CH * (np.cos(half) * middle + s * np.sin(half) * normal) for s in (1, -1)]
    )


def methyl(end: np.ndarray, second: np.ndarray, third: np.ndarray) -> np.ndarray:
    """Three staggered hydrogens at the end of a chain."""
    return np.array([placed(end, second, third, (CH, 110.0, turn)) for turn in (60, 180, -60)])


def alkane(carbons: int) -> Atoms:
    """An all-trans alkane."""
    chain = zigzag([1.53] * (carbons - 1), [112.5] * (carbons - 2), [180.0] * (carbons - 3))
    hydrogens = [methyl(*chain[:3])]
    hydrogens += [on_inner(chain, i, 2) for i in range(1, carbons - 1)]
    hydrogens.append(methyl(*chain[:-4:-1]))
    return Atoms(f"C{carbons}H{2 * carbons + 2}", np.vstack([chain, *hydrogens]))


def polyyne(units: int) -> Atoms:
    """A linear chain of alternating triple and single bonds along z."""
    bonds = [1.06, *([1.21, 1.36] * units)[:-1], 1.06]
    heights = np.concatenate([[0.0], np.cumsum(bonds)])
    positions = np.zeros((len(heights), 3))
    positions[:, 2] = heights
    return Atoms(f"HC{2 * units}H", positions)


def push_pull(units: int) -> Atoms:
    """A flat all-trans polyene between a nitro and a dimethylamino group."""
    bonds = [1.43, *([1.36, 1.43] * units)[:-1], 1.37]
    chain = zigzag(bonds, [123.0] * (len(bonds) - 1), [180.0] * (len(bonds) - 2))
    nitro, amine = chain[0], chain[-1]
    oxygens = [placed(nitro, *chain[1:3], (1.22, 118.5, turn)) for turn in (0, 180)]
    carbons = [placed(amine, *chain[-2:-4:-1], (1.45, 120.0, turn)) for turn in (0, 180)]
    hydrogens = [on_inner(chain, i, 1) for i in range(1, len(chain) - 1)]
    hydrogens += [methyl(carbon, amine, chain[-2]) for carbon in carbons]
    symbols = f"NC{2 * units}NO2C2H{2 * units + 6}"
    return Atoms(symbols, np.vstack([chain, oxygens, carbons, *hydrogens]))


def fatty_chain(signs: Sequence[int]) -> np.ndarray:
    """The carbons of the fatty acid, with these signs of the dihedrals beside double bonds."""
    remaining = iter(signs)
    dihedrals = []
    for i in range(1, FATTY_CARBONS - 2):  # of the bond from carbon i to i + 1
        beside = any(i - 1 == first or i + 1 == first for first in DOUBLE)
        dihedrals.append(0.0 if i in DOUBLE else next(remaining) * SKEW if beside else 180.0)
    return zigzag(FATTY_BONDS, FATTY_ANGLES, dihedrals)


def with_hydrogens(chain: np.ndarray) -> Atoms:
    """The fatty acid of a chain of carbons."""
    oxygens = [placed(*chain[:3], (r, 118.0, turn)) for r, turn in ((1.21, 0), (1.34, 180))]
    acid = placed(oxygens[1], chain[0], chain[1], (0.97, 107.0, 180.0))
    hydrogens = [
        on_inner(chain, i, 1 if i in DOUBLY_BONDED else 2) for i in range(1, FATTY_CARBONS - 1)
    ]
    positions = [chain, oxygens, acid[None], *hydrogens, methyl(*chain[:-4:-1])]
    return Atoms(f"C{FATTY_CARBONS}O2H32", np.vstack(positions))


@cache
def fatty_acid() -> Atoms:
    """The most compact chain without clashes.

    The second half of the dihedrals beside double bonds is the first one backwards with opposite
    signs, which bends the chain into a hairpin; all signs of the first half are tried, but for
    mirror images.
    """
    straight = zigzag(FATTY_BONDS, FATTY_ANGLES, [180.0] * (FATTY_CARBONS - 3))
    between = bonds_between(with_hydrogens(straight))
    found = {}
    for rest in product((1, -1), repeat=len(DOUBLE) - 1):
        half = (1, *rest)
        atoms = with_hydrogens(fatty_chain((*half, *(-sign for sign in reversed(half)))))
        if not clashes(atoms, between):
            found[half] = atoms
    return min(found.values(), key=lambda atoms: float(atoms.positions.var(axis=0).sum()))
