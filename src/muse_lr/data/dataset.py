"""Data sets of structures with neighbor lists; reproducible splits and batches."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from muse_lr.data.reading import Frame, read_frames
from muse_lr.data.selection import random_subset
from muse_lr.errors import InputError, described
from muse_lr.structures.arguments import check_cutoff
from muse_lr.structures.batch import AtomsBatch, AtomsData, atoms_to_data
from muse_lr.structures.state import read_state


@dataclass(frozen=True, repr=False)
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

    def __repr__(self) -> str:
        atoms = sum(data.num_nodes for data in self.structures)
        reach = min((float(data.cutoff) for data in self.structures), default=0.0)
        return (
            f"Dataset({len(self):,} structures, {atoms:,} atoms, edges within {reach:g} A; labels "
            f"{', '.join(self.labels) or 'none'})"
        )

    @classmethod
    def from_frames(
        cls, frames: Sequence[Frame], cutoff: float, labels: Sequence[str] = ()
    ) -> Dataset:
        """Build the neighbor lists of frames up to ``cutoff`` (A).

        Every batch has the labels of all frames and, in addition, ``labels``.
        """
        structures = []
        for frame in frames:
            if not isinstance(frame, Frame):
                raise InputError(
                    f"Dataset.from_frames takes the frames of read_frames, not {described(frame)}: "
                    "read a file with muse_lr.read_dataset, or make a batch of ase.Atoms with "
                    "muse_lr.AtomsBatch.from_ase"
                )
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


def read_dataset(
    files: str | Path | Sequence[str | Path],
    cutoff: float,
    keys: Mapping[str, str | Sequence[str]] | None = None,
    required: Sequence[str] = (),
    partial: Sequence[str] = (),
    elements: Sequence[str] | None = None,
) -> Dataset:
    """Read labeled structures with their neighbor lists, for a training loop of one's own.

    Parameters
    ----------
    files : str, Path or sequence of these
        Files, each with a selection of its frames if there is one, such as ``"data.xyz@:40"``
        (:mod:`muse_lr.data.selection`).
    cutoff : float
        Cutoff of the neighbor lists, ``model.cutoff``, A.
    keys : mapping, optional
        Label -> key in the files, such as ``{"energy": "dft_energy"}``, or several keys; default:
        the usual keys.
    required : sequence of str
        Labels that every structure must have, such as ``("energy", "forces")``.
    partial : sequence of str
        Labels that may be missing on some structures. They are NaN there.
    elements : sequence of str, optional
        Elements of the model, ``model.elements``. Structures of others are refused.

    Returns
    -------
    Dataset
        ``dataset.batch([0, 1])`` is a batch with ``label_energy``, ``label_forces`` and all other
        labels of the files. ``dataset.batch`` is a ``collate_fn`` for a
        ``torch.utils.data.DataLoader`` over ``range(len(dataset))``.

    Raises
    ------
    InputError
        For the first problem; the message is one line with file, frame, key and atom.
    """
    check_cutoff(cutoff)
    required = (required,) if isinstance(required, str) else required
    frames = read_frames(files, keys, required, partial, elements)
    return Dataset.from_frames(frames, cutoff, required)


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


def limit_frames(
    frames: Sequence[Frame], limit: int | None, seed: int
) -> tuple[list[Frame], list[str]]:
    """Reduce the training frames to a random subset of at most ``limit``, in file order.

    Parameters
    ----------
    frames : sequence of Frame
        All training frames, before some become validation frames.
    limit : int or None
        ``data.max_frames``.
    seed : int
        ``data.subset_seed``. A larger limit gives a subset that contains the smaller one.

    Returns
    -------
    frames : list of Frame
    notes : list of str
        A note for the report, if there is a limit.
    """
    total = len(frames)
    if limit is None:
        return list(frames), []
    if limit >= total:
        return list(frames), [f"data.max_frames is {limit}, and all {total} frames are used"]
    chosen = random_subset(total, limit, seed, "")
    note = (
        f"{limit} of the {total} frames of data.train are used (data.max_frames), drawn with "
        f"data.subset_seed: {seed}"
    )
    return [frames[i] for i in chosen], [note]


def overlaps(
    train: Sequence[Frame], valid: Sequence[Frame], tests: Mapping[str, Sequence[Frame]]
) -> list[str]:
    """A note for each set whose frames are also trained on, or validated on, for the report."""
    notes = []
    trained = {frame.source for frame in train}
    used = trained | {frame.source for frame in valid}
    sets = [("validation", valid, trained, "training frames")]
    sets += [(f"test set {n}", f, used, "training or validation frames") for n, f in tests.items()]
    for name, frames, known, what in sets:
        shared = [frame.source for frame in frames if frame.source in known]
        if shared:
            notes.append(
                f"{name}: {len(shared)} of {len(frames)} frames are {what} too, such as {shared[0]}"
            )
    return notes
