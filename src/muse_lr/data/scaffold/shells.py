"""Choose a cutoff that lies between the neighbor shells of a data set."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from ase import Atoms
from ase.data import chemical_symbols
from numpy.typing import NDArray

from muse_lr.structures.neighbors import complete_cell, neighbor_list

#: Longest distance that is counted, width of a bin, and standard deviation of the smoothing, A.
REACH, BIN, SMOOTHING = 7.0, 0.05, 0.1
RADII = BIN * (np.arange(round(REACH / BIN)) + 0.5)
#: Largest number of frames, and of their atoms, whose distances are counted.
SAMPLED_FRAMES, SAMPLED_ATOMS = 16, 20_000
#: Fewest distances from which a choice is made.
FEWEST_DISTANCES = 1000
#: Distances over which densities are averaged, A.
AVERAGED = (3.5, 6.5)
#: Usual cutoffs of small and of other models, A.
USUAL = (4.5, 5.0)
#: A cutoff may be so much below and above the usual one, and is a multiple of STEP, A.
BELOW, ABOVE, STEP = 0.3, 1.0, 0.1
#: A cutoff is moved from where the density is at least DENSE, if another one is better by GAIN. It
#: is in a gap if the density rises by RISE within SIDE (A) behind it. Densities are in units of
#: their average.
DENSE, GAIN, RISE, SIDE = 0.5, 0.5, 0.25, 1.0
#: The first shell of a pair of elements is late if an atom has fewer neighbors than NONE within the
#: first distance (A), but SHELL or more within the second.
LATE, NONE, SHELL = (4.5, 5.5), 1.0, 4.0
#: Cutoffs that differ by less are equally good.
EQUAL = 0.02


@dataclass(frozen=True)
class Cutoff:
    """A cutoff (A), and the reason for it."""

    value: float
    reason: str


@dataclass(frozen=True)
class Shells:
    """Distribution of the distances between atoms.

    Attributes
    ----------
    densities : dict of str to ndarray
        Pair of elements -> (n_bins,) its part of the number of neighbors per volume at
        :data:`RADII`, in units of the average of all pairs. Empty for too few distances.
    neighbors : dict of str to ndarray
        Pair of elements -> (n_bins,) mean number of neighbors of an atom of the rarer element up to
        this distance.
    """

    densities: Mapping[str, NDArray[np.float64]]
    neighbors: Mapping[str, NDArray[np.float64]]

    def choose(self, usual: float) -> Cutoff:
        """Cutoff in a gap of the distances, near the usual one (A), which is kept without a gap.

        It is not shorter than that for a shorter usual cutoff of :data:`USUAL`.
        """
        shorter = [other for other in USUAL if other < usual]
        return max(map(self._near, (usual, *shorter)), key=lambda cutoff: cutoff.value)

    def _near(self, usual: float) -> Cutoff:
        steps = np.arange(round((usual - BELOW) / STEP), round((usual + ABOVE) / STEP) + 1)
        candidates = [float(round(step * STEP, 6)) for step in steps]
        gaps = {r: self._score(r) for r in candidates if self._is_gap(r)}
        now = self._score(usual)
        least = min(gaps.values(), default=np.inf)
        if now < DENSE:
            return Cutoff(usual, "the usual value, which cuts no dense shell of neighbors")
        if now - least < GAIN:
            return Cutoff(
                usual, "the usual value; the distances of the atoms have no clear gap near it"
            )
        good = [r for r, score in gaps.items() if score < least + EQUAL]
        value = min(good, key=lambda r: abs(r - usual))
        return Cutoff(value, f"in a gap of the distances: {self._fault(usual)}")

    def _density(self, distance: float) -> float:
        """Number of neighbors per volume at a distance (A), in units of the average."""
        return sum(float(np.interp(distance, RADII, part)) for part in self.densities.values())

    def _score(self, distance: float) -> float:
        """Density, and the share of each late shell that is not inside."""
        missing = [1 - self._inside(p, distance) / self._inside(p, LATE[1]) for p in self._late]
        return self._density(distance) + sum(max(0.0, share) for share in missing)

    def _is_gap(self, distance: float) -> bool:
        behind = np.arange(distance, distance + SIDE, BIN)
        return max(map(self._density, behind)) >= self._density(distance) + RISE

    @cached_property
    def _late(self) -> list[str]:
        """Pairs of elements whose first shell lies within the distances :data:`LATE`."""
        first, last = LATE
        return [
            pair
            for pair in self.neighbors
            if self._inside(pair, first) < NONE and self._inside(pair, last) >= SHELL
        ]

    def _inside(self, pair: str, distance: float) -> float:
        return float(np.interp(distance, RADII, self.neighbors[pair]))

    def _fault(self, usual: float) -> str:
        """What is wrong with the usual cutoff."""
        late = [p for p in self._late if self._inside(p, usual) < NONE]
        cut = [p for p in self._late if p not in late]
        if self._density(usual) >= DENSE:
            most = max(self.densities, key=lambda p: np.interp(usual, RADII, self.densities[p]))
            cut += [most] * (most not in self._late)
        faults = [f"cut the shell of {' and '.join(cut)}"] if cut else []
        faults += [f"leave out the neighbors {' and '.join(late)}"] if late else []
        return f"{usual:g} A would {' and '.join(faults)}"


def find_shells(structures: Sequence[Atoms]) -> Shells:
    """Count the distances of some of the structures, images included."""
    counts: dict[tuple[int, int], NDArray[np.float64]] = {}
    numbers: Counter[int] = Counter()
    for atoms in structures[:: max(1, len(structures) // SAMPLED_FRAMES)]:
        if numbers and numbers.total() + len(atoms) > SAMPLED_ATOMS:
            break
        numbers.update(atoms.numbers.tolist())
        _count(atoms, counts)
    if sum(float(count.sum()) for count in counts.values()) < FEWEST_DISTANCES:
        return Shells({}, {})
    densities = {pair: _smoothed(count) / RADII**2 for pair, count in counts.items()}
    first, last = AVERAGED
    inside = (first < RADII) & (last > RADII)
    average = float(sum(density[inside].mean() for density in densities.values()))
    if not average:
        return Shells({}, {})
    names = {pair: "-".join(chemical_symbols[z] for z in pair) for pair in counts}
    # The list holds each pair in both directions.
    atoms_of = {(a, b): min(numbers[a], numbers[b]) * (1 + (a != b)) for a, b in counts}
    return Shells(
        {names[pair]: density / average for pair, density in densities.items()},
        {names[pair]: np.cumsum(count) / atoms_of[pair] for pair, count in counts.items()},
    )


def _count(atoms: Atoms, counts: dict[tuple[int, int], NDArray[np.float64]]) -> None:
    """Add the distances of a structure to the numbers of each pair of elements."""
    cell = complete_cell(atoms.cell.array, atoms.pbc)
    (sender, receiver), shifts = neighbor_list(atoms.positions, cell, atoms.pbc, REACH)
    lengths = np.linalg.norm(
        atoms.positions[sender] - atoms.positions[receiver] + shifts @ cell, axis=1
    )
    places = np.minimum((lengths / BIN).astype(np.int64), len(RADII) - 1)
    first, second = np.sort(atoms.numbers[np.stack([sender, receiver])], axis=0)
    codes, index = np.unique(first * len(chemical_symbols) + second, return_inverse=True)
    table = np.bincount(index * len(RADII) + places, minlength=len(codes) * len(RADII))
    for code, row in zip(codes.tolist(), table.reshape(len(codes), len(RADII)), strict=True):
        pair = divmod(code, len(chemical_symbols))
        counts[pair] = counts.get(pair, np.zeros(len(RADII))) + row


def _smoothed(count: NDArray[np.float64]) -> NDArray[np.float64]:
    """Convolution with a Gaussian of width :data:`SMOOTHING`."""
    offsets = BIN * np.arange(-8, 9)
    weights = np.exp(-(offsets**2) / (2 * SMOOTHING**2))
    return np.convolve(count, weights / weights.sum(), mode="same")
