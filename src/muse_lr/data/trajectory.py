"""Recognize files whose consecutive frames are alike, such as trajectories and scans."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from ase import Atoms

#: Frames are alike if one minus the squared ratio of the displacements of consecutive and of
#: distant frames is above this. It is the correlation of positions that vary about a mean.
CORRELATION = 0.75
#: Largest RMS displacement of consecutive frames that are alike, A.
LARGEST_STEP = 1.0
#: Fewest and most pairs of consecutive frames that are compared.
FEWEST_PAIRS, MOST_PAIRS = 10, 200
#: Smallest fraction of the consecutive frames that must have the same atoms.
SHARE = 0.5
#: Fewest frames of the same atoms among which a distant one is found.
FEWEST_SAME = 5
#: Distant frames that differ by less are copies, A.
SAME = 1e-6


@dataclass(frozen=True)
class Trajectory:
    """A series of frames in which neighbors are alike.

    Attributes
    ----------
    step, apart : float
        Median RMS displacement of the atoms between consecutive and between distant frames, A.
    one_system : bool
        Whether all frames have the same atoms, so that a block of them is like the others.
    """

    step: float
    apart: float
    one_system: bool


def find_trajectory(structures: Sequence[Atoms]) -> Trajectory | None:
    """Find out whether consecutive frames are alike; None if they are not.

    A displacement is that to the nearest periodic image, without the mean over the atoms and the
    strain of the cell. Consecutive frames are compared with pairs of distant
    frames of the same atoms: independent distortions of one crystal differ as much in both. Medians
    allow for the jumps of a file of several trajectories.

    Parameters
    ----------
    structures : sequence of ase.Atoms
        In the order of the file.
    """
    groups: dict[bytes, list[int]] = {}
    for index, atoms in enumerate(structures):
        if len(atoms) > 1:
            groups.setdefault(atoms.numbers.tobytes() + atoms.pbc.tobytes(), []).append(index)
    pairs = [
        (first, members)
        for members in groups.values()
        if len(members) >= FEWEST_SAME
        for first, second in pairwise(members)
        if second == first + 1
    ]
    if len(pairs) < max(FEWEST_PAIRS, SHARE * (len(structures) - 1)):
        return None
    rng = np.random.default_rng(0)
    near, far = [], []
    for k in rng.permutation(len(pairs))[:MOST_PAIRS]:
        first, members = pairs[k]
        others = [i for i in members if abs(i - first) > 1]
        near.append(_displacement(structures[first], structures[first + 1]))
        far.append(_displacement(structures[first], structures[int(rng.choice(others))]))
    step, apart = (float(np.median(values)) for values in (near, far))
    if apart < SAME or step > LARGEST_STEP or 1 - (step / apart) ** 2 < CORRELATION:
        return None
    return Trajectory(step, apart, len(groups) == 1)


def trajectory_note(found: Trajectory, source: str, frames: int) -> str:
    """What a trajectory means for random test frames, and how to divide it into blocks."""
    first = frames - max(1, frames // 10)
    remedy = "Give a test set of its own"
    if found.one_system:
        remedy += f", or a block: {source}@:{first} for training and {source}@{first}: for the test"
    return (
        f"the frames look like a trajectory or a scan: consecutive ones differ by {found.step:.2g} "
        f"A rms, distant ones by {found.apart:.2g} A. Test or validation frames drawn at random "
        f"are close to training frames, so that their errors are too small. {remedy}"
    )


def _displacement(first: Atoms, second: Atoms) -> float:
    """RMS displacement of the atoms, A."""
    moves = second.positions - first.positions
    if first.pbc.any():
        cell, other = (atoms.cell.complete().array for atoms in (first, second))
        places = second.positions @ np.linalg.inv(other) - first.positions @ np.linalg.inv(cell)
        places[:, first.pbc] -= np.round(places[:, first.pbc])
        moves = places @ cell
    moves = moves - moves.mean(0)
    return float(np.sqrt(np.mean(np.sum(moves**2, axis=1))))
