"""Rearrangements: neighbors, sites and coarse nodes come, go and change their rank.

Random displacements of small structures meet such events rarely. The paths here meet them for any
elements: two molecules approach each other, an atom moves from one of two like sites to the other,
and a chain folds. Whatever ranks atoms by their neighbors ranks them differently at both ends.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from itertools import pairwise

import numpy as np
from ase import Atoms
from ase.data import atomic_numbers

from muse_lr.testing.checks.smoothness import Path
from muse_lr.testing.exam.bench import Bench
from muse_lr.testing.exam.check import Case
from muse_lr.testing.exam.smoothness import (
    FARTHEST,
    OUTSIDE,
    PIECE,
    Curvature,
    Smooth,
    smooth_along,
)
from muse_lr.testing.exam.structures import Named, bond_length
from muse_lr.testing.structures import join

#: Smallest distance of two like sites, A: both are within the usual cutoffs of an atom between
#: them, and far enough from each other to have different neighborhoods.
APART = 4.0
#: Length of the pieces in which the size of the second derivative is searched, A: a narrow step is
#: compared with its surroundings only.
SHORT_PIECE = 1.0
#: Atoms of the chain, its hinge, and the smallest angle at the hinge, degrees.
LINKS, HINGE, FOLDED = 7, 2, 75.0


@dataclass(frozen=True)
class Rearrangement:
    """A path on which atoms change their neighbors.

    Attributes
    ----------
    where : str
        What happens.
    path : callable
        ``path(t)`` is a structure; t is the displacement of the atoms that move farthest, A.
    span : tuple of float
        First and last coordinate.
    """

    where: str
    path: Path
    span: tuple[float, float]

    def pieces(self, length: float) -> Iterator[tuple[float, float]]:
        """Parts of the span of equal lengths, at most about ``length`` A."""
        low, high = self.span
        edges = np.linspace(low, high, max(1, round((high - low) / length)) + 1)
        for start, end in pairwise(edges):
            yield float(start), float(end)


class SmoothRearrangement(Smooth):
    """Force and force constant stay continuous while atoms change their neighbors and rank."""

    name = "smooth_rearrangement"
    equation = "E, dE/dt and d²E/dt² are continuous while molecules meet, atoms hop, chains fold"
    meaning = (
        "Forces or force constants jump where another atom becomes a neighbor, a site or a coarse "
        "node: reactions and diffusion heat the system up."
    )
    remedy = (
        "Let atoms become and cease to be sites with weights that reach zero with two "
        "derivatives; look for a maximum, a sort or a choice among neighbors."
    )

    def cases(self, bench: Bench) -> Iterator[Case]:
        """All rearrangements in pieces of 2 A."""
        for event in rearrangements(bench):
            for low, high in event.pieces(PIECE):
                measure = partial(smooth_along, bench, event.path, (low, high), self.tolerance)
                where = f"{event.where}, from {low:.1f} to {high:.1f} Å"
                yield Case(where, event.path(low), measure)


class StiffRearrangement(Curvature):
    """No force constant of a rearrangement is larger than that of the stiffest bond."""

    name = "stiff_rearrangement"
    equation = "-600 ≤ d²E/dt² ≤ 300 eV/Å² while molecules meet, atoms hop and chains fold"
    meaning = (
        "Atoms change their rank over so short a distance that no time step resolves it: the "
        "energy is smooth on paper, and drifts in dynamics."
    )
    remedy = (
        "Widen the weights by which near ties of sites or neighbors are decided, and weight what "
        "leaves a coarse node with the atoms that it stands for."
    )

    def cases(self, bench: Bench) -> Iterator[Case]:
        """All rearrangements in pieces of 1 A."""
        for event in rearrangements(bench):
            for low, high in event.pieces(SHORT_PIECE):
                measure = partial(self.measure, bench, event.path, (low, high))
                where = f"{event.where}, from {low:.1f} to {high:.1f} Å"
                yield Case(where, event.path(low), measure)


def rearrangements(bench: Bench) -> Iterator[Rearrangement]:
    """Paths for the elements and molecules of an exam; the first two if it is quick.

    Raises
    ------
    NotApplicable
        If the potential refuses molecules.
    """
    molecules = bench.named("molecules")
    # Many rules prefer heavy atoms, so that like sites of the heaviest element compete.
    heavy = sorted(bench.elements, key=lambda symbol: -atomic_numbers[symbol])
    for site in heavy[: 1 if bench.quick else 3]:
        yield hop(site, heavy[-1])
    yield approach(molecules[0], molecules[min(1, len(molecules) - 1)])
    if not bench.quick:
        yield fold(heavy[0], heavy[-1])


def hop(site: str, mover: str) -> Rearrangement:
    """An atom moves from one of two like sites to the other.

    Each site has the mover close by at one end of the path, so that the sites tie on the way. A
    second atom of the mover's element, slightly closer to one site, makes them different where they
    tie; otherwise what belongs to either of them would have the same energy.

    Parameters
    ----------
    site, mover : str
        Elements.
    """
    apart = max(APART, OUTSIDE * bond_length(site, site))
    height = OUTSIDE * bond_length(site, mover)
    bystander = [0.6 * apart, -height, 0.5 * height]
    at = [[0, 0, 0], [apart, 0, 0], [0, height, 0], bystander]
    atoms = Atoms([site, site, mover, mover], at)

    def path(t: float) -> Atoms:
        moved = atoms.copy()
        moved.positions[2, 0] = t
        return moved

    return Rearrangement(f"{mover} between two {site}", path, (-1.0, apart + 1.0))


def approach(first: Named, second: Named) -> Rearrangement:
    """Two molecules come from 13 Å to 1.3 bond lengths between their nearest planes.

    Parameters
    ----------
    first, second : (str, ase.Atoms)
        The second one moves along z, as a rigid body.
    """
    (name, below), (other, above) = first, second
    contact = OUTSIDE * max(bond_length(s, s) for s in {*below.symbols, *above.symbols})
    below, above = below.copy(), above.copy()
    for part in (below, above):
        part.positions -= part.positions.mean(0)
    above.positions[:, 2] += below.positions[:, 2].max() - above.positions[:, 2].min()
    atoms, count = join(below, above), len(below)

    def path(t: float) -> Atoms:
        moved = atoms.copy()
        moved.positions[count:, 2] += t
        return moved

    return Rearrangement(f"{other} and {name}", path, (contact, max(FARTHEST, contact + PIECE)))


def fold(first: str, second: str) -> Rearrangement:
    """A straight chain of two elements folds at its third atom; the coordinate is the end's arc.

    Parameters
    ----------
    first, second : str
        Elements in turn.
    """
    spacing = OUTSIDE * max(bond_length(a, b) for a in (first, second) for b in (first, second))
    symbols = [(first, second)[index % 2] for index in range(LINKS)]
    lever = (LINKS - 1 - HINGE) * spacing

    def path(t: float) -> Atoms:
        x = spacing * (np.arange(LINKS, dtype=np.float64) - HINGE)
        positions = np.zeros((LINKS, 3))
        positions[:, 0] = np.where(x > 0, x * np.cos(t / lever), x)
        positions[:, 1] = np.where(x > 0, x * np.sin(t / lever), 0.0)
        return Atoms(symbols, positions)

    arc = lever * np.radians(180.0 - FOLDED)
    return Rearrangement(f"a folding chain of {first} and {second}", path, (0.0, float(arc)))
