"""Radial distribution functions by pair of elements."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations_with_replacement
from typing import TYPE_CHECKING

import numpy as np
from ase.data import chemical_symbols
from numpy.typing import NDArray

from muse_lr.structures.neighbors import complete_cell, neighbor_list

if TYPE_CHECKING:
    from ase import Atoms

Array = NDArray[np.float64]

#: Width of the bins, A.
WIDTH = 0.05


@dataclass(frozen=True)
class RadialDistribution:
    r"""Distribution of the distances of two elements.

    Attributes
    ----------
    pair : str
        Such as ``O-H``: neighbors H around O.
    r : ndarray
        (n_bins,) centers of the bins, A.
    g : ndarray or None
        (n_bins,) radial distribution function; None if a structure is not periodic in three
        directions, where the density of an ideal gas is not defined.
    density : ndarray
        (n_bins,) number of neighbors per distance, 1/A.
    coordination : ndarray
        (n_bins,) number of neighbors up to the end of each bin.
    """

    pair: str
    r: Array
    g: Array | None
    density: Array
    coordination: Array


class PairHistogram:
    """Counts the distances of all pairs of elements over the frames of a trajectory.

    Parameters
    ----------
    elements : sequence of int
        Atomic numbers whose pairs are counted.
    cutoff : float
        Largest distance, A. Beyond half the cell, the distances include those of periodic images.
    """

    def __init__(self, elements: Sequence[int], cutoff: float) -> None:
        self.pairs = list(combinations_with_replacement(sorted(set(elements), reverse=True), 2))
        bins = max(round(cutoff / WIDTH), 1)
        self.edges = np.linspace(0.0, bins * WIDTH, bins + 1)
        self.counts = np.zeros((len(self.pairs), bins))
        #: Counts of each frame times V / N_b, for the radial distribution function.
        self.scaled = np.zeros((len(self.pairs), bins))
        self.centers = np.zeros(len(self.pairs))
        self.periodic = True

    def add(self, atoms: Atoms) -> None:
        """Count the distances of one frame."""
        cell = complete_cell(atoms.cell.array, atoms.pbc)
        positions = np.ascontiguousarray(atoms.positions, dtype=np.float64)
        (sender, receiver), shift = neighbor_list(positions, cell, atoms.pbc, self.edges[-1])
        vectors = positions[sender] - positions[receiver] + shift @ cell
        lengths = np.sqrt(np.square(vectors).sum(1))
        volume = abs(float(np.linalg.det(cell)))
        self.periodic &= bool(atoms.pbc.all())
        numbers = atoms.numbers
        first, second = numbers[receiver], numbers[sender]
        for row, (center, other) in enumerate(self.pairs):
            chosen = lengths[(first == center) & (second == other)]
            counts = np.histogram(chosen, self.edges)[0]
            self.counts[row] += counts
            self.scaled[row] += counts * volume / max(int((numbers == other).sum()), 1)
            self.centers[row] += int((numbers == center).sum())

    def results(self) -> list[RadialDistribution]:
        """Distributions of the pairs that occur in the frames."""
        r = (self.edges[1:] + self.edges[:-1]) / 2
        shells = 4 / 3 * np.pi * np.diff(self.edges**3)
        found = []
        for row, (center, other) in enumerate(self.pairs):
            atoms = self.centers[row]
            if not self.counts[row].any():
                continue
            name = f"{chemical_symbols[center]}-{chemical_symbols[other]}"
            g = self.scaled[row] / atoms / shells if self.periodic else None
            density = self.counts[row] / atoms / WIDTH
            found.append(
                RadialDistribution(name, r, g, density, np.cumsum(self.counts[row]) / atoms)
            )
        return found

    def state(self) -> dict[str, object]:
        """Plain data from which :meth:`restore` continues."""
        rows = {name: getattr(self, name).tolist() for name in ("counts", "scaled", "centers")}
        return {**rows, "periodic": self.periodic}

    def restore(self, state: dict[str, object]) -> None:
        """Continue from the output of :meth:`state`."""
        for name in ("counts", "scaled", "centers"):
            setattr(self, name, np.array(state[name], dtype=np.float64))
        self.periodic = bool(state["periodic"])
