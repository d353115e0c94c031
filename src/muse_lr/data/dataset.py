"""Data sets of structures with neighbor lists; reproducible splits and batches."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from muse_lr.data.reading import Frame
from muse_lr.errors import InputError
from muse_lr.structures.batch import AtomsBatch, AtomsData, atoms_to_data


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

    def batches(self, order: Sequence[int], graphs: int, edges: int | None) -> list[list[int]]:
        """Divide ``order`` into batches of at most ``graphs`` structures and ``edges`` edges.

        A single structure with more than ``edges`` edges forms a batch of its own.
        """
        batches: list[list[int]] = []
        filled = 0
        for index in order:
            size = self.structures[index].edge_index.shape[1]
            full = edges is not None and filled + size > edges
            if not batches or len(batches[-1]) == graphs or full:
                batches.append([])
                filled = 0
            batches[-1].append(int(index))
            filled += size
        return batches


def epoch_order(count: int, seed: int, epoch: int) -> list[int]:
    """Order of the training data in an epoch; it depends on seed and epoch only."""
    permutation: list[int] = np.random.default_rng([seed, epoch]).permutation(count).tolist()
    return permutation


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
