"""Data sets of structures with neighbor lists; reproducible splits and batches."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from muse_lr.data.reading import Frame
from muse_lr.errors import InputError
from muse_lr.structures.batch import AtomsBatch, AtomsData, atoms_to_data
from muse_lr.structures.state import read_state


@dataclass(frozen=True)
class Dataset:
    """Structures with neighbor lists and labels.

    Attributes
    ----------
    structures : list of AtomsData
    frames : list of Frame
        The frames that the structures were made from, in the same order.
    labels : tuple of str
        Labels of every batch; NaN for a structure without the label.
    """

    structures: list[AtomsData]
    frames: list[Frame]
    labels: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.structures)

    @classmethod
    def from_frames(
        cls, frames: Sequence[Frame], cutoff: float, labels: Sequence[str] = ()
    ) -> Dataset:
        """Build the neighbor lists of frames up to ``cutoff`` (A).

        Every batch has the labels of all frames and, in addition, ``labels``.
        """
        structures = []
        for frame in frames:
            try:
                structures.append(atoms_to_data(frame.atoms, cutoff, frame.labels))
            except InputError as error:
                raise InputError(f"{frame.source}: {error}") from error
        carried = {label for frame in frames for label in frame.labels} | set(labels)
        return cls(structures, list(frames), tuple(sorted(carried)))

    def batch(self, indices: Sequence[int]) -> AtomsBatch:
        """Collate the structures of ``indices`` into one batch."""
        return AtomsBatch.from_structures([self.structures[i] for i in indices], self.labels)

    def micro_batches(
        self, indices: Sequence[int], graphs: int | None, edges: int | None
    ) -> list[list[int]]:
        """Divide the indices of a batch into parts of at most ``graphs`` structures and ``edges``.

        A single structure with more than ``edges`` edges forms a part of its own.
        """
        counts = np.array([self.structures[i].edge_index.shape[1] for i in indices], np.int64)
        return divide(indices, counts, graphs, edges)


def sizes_of(frames: Sequence[Frame]) -> NDArray[np.int64]:
    """(n_frames,) number of atoms of each frame."""
    return np.array([len(frame.atoms) for frame in frames], np.int64)


def fingerprint(frames: Sequence[Frame]) -> str:
    """Digest of structures, what they state, and labels, in order."""
    digest = hashlib.sha256()
    for frame in frames:
        atoms = frame.atoms
        parts = [("numbers", atoms.numbers), ("positions", atoms.positions)]
        parts += [("cell", atoms.cell.array), ("pbc", atoms.pbc), *sorted(frame.labels.items())]
        digest.update(repr(read_state(atoms)).encode())
        for name, values in parts:
            digest.update(name.encode())
            digest.update(np.ascontiguousarray(values).tobytes())
    return digest.hexdigest()[:16]


def divide(
    order: Sequence[int] | NDArray[np.int64],
    sizes: NDArray[np.int64],
    count: int | None,
    limit: int | None,
) -> list[list[int]]:
    """Divide ``order`` into consecutive groups within two limits, each as large as possible.

    Parameters
    ----------
    order : sequence of int
        Indices of structures.
    sizes : ndarray
        (len(order),) size of each item of ``order``, such as its number of atoms.
    count : int or None
        Largest number of items in a group.
    limit : int or None
        Largest sum of the sizes in a group. An item above the limit forms a group of its own.
    """
    items = np.asarray(order, np.int64).tolist()
    stops = group_stops(sizes, count, limit).tolist()
    return [items[start:stop] for start, stop in pairwise((0, *stops))]


def group_stops(
    sizes: NDArray[np.int64], count: int | None, limit: int | None
) -> NDArray[np.int64]:
    """(n_groups,) number of items up to the end of each group of :func:`divide`."""
    total = len(sizes)
    most = total if count is None else count
    stops = np.minimum(np.arange(most, total + most, most), total) if total else np.arange(0)
    if limit is None or not total:
        return stops
    ends = np.concatenate([[0], np.cumsum(sizes)])
    if np.all(np.diff(ends[stops], prepend=0) <= limit):
        return stops
    # Where a group ends, for each item that it may start with; then the starts that occur.
    fitting = np.searchsorted(ends, ends[:-1] + limit, side="right") - 1
    starts = np.arange(total)
    after = np.maximum(starts + 1, np.minimum(starts + most, fitting)).tolist()
    found, stop = [], 0
    while stop < total:
        stop = after[stop]
        found.append(stop)
    return np.array(found, np.int64)


def epoch_order(count: int, seed: int, epoch: int) -> NDArray[np.int64]:
    """(count,) order of the training data in an epoch; it depends on seed and epoch only."""
    return np.random.default_rng([seed, epoch]).permutation(count)


def split_frames(
    frames: Sequence[Frame], share: float, seed: int
) -> tuple[list[Frame], list[Frame]]:
    """Split frames at random into (training, validation), each in file order."""
    count = max(1, round(share * len(frames)))
    if count >= len(frames):
        raise InputError(
            f"data.valid: {len(frames)} frames are too few to use a fraction of {share:g} for "
            "validation; give files for data.valid"
        )
    chosen = set(np.random.default_rng([seed, 0]).permutation(len(frames))[:count].tolist())
    rest = [frame for i, frame in enumerate(frames) if i not in chosen]
    return rest, [frame for i, frame in enumerate(frames) if i in chosen]
