"""Frames with reference Hessians, and the groups that they are divided into."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from muse_lr.data.hessians import HessianFrame, read_hessians
from muse_lr.data.structures import element_problems
from muse_lr.errors import InputError, nearest

#: Name of the group of all frames.
ALL = "all"
#: Value of frames without a key.
NOT_GIVEN = "not given"


@dataclass(frozen=True)
class References:
    """Frames of one or more files.

    Attributes
    ----------
    frames : list of HessianFrame
    groups : dict of str to list of int
        Name -> indices of its frames. The first one, ``all``, has every frame. Others follow if
        there are several files, and for each value of an info key.
    """

    frames: list[HessianFrame]
    groups: dict[str, list[int]]


def read_references(
    sources: Mapping[str, str], max_frames: int | None = None, by: Sequence[str] = ()
) -> References:
    """Read files of Hessians.

    Parameters
    ----------
    sources : mapping
        Name of a group -> file, possibly with a selection of frames.
    max_frames : int, optional
        Largest number of frames of each file; they are spread evenly over it.
    by : sequence of str
        Info keys by whose values the frames are divided too.

    Raises
    ------
    InputError
        If a file cannot be read, if no frame has a key, or if a file is named ``all``.
    """
    frames: list[HessianFrame] = []
    groups: dict[str, list[int]] = {ALL: []}
    if ALL in sources and len(sources) > 1:
        raise InputError(f"{sources[ALL]}: {ALL!r} is the name of all frames: give another one")
    for name, source in sources.items():
        found = read_hessians(source)
        if max_frames is not None and len(found) > max_frames:
            found = [
                found[i] for i in np.linspace(0, len(found) - 1, max_frames).round().astype(int)
            ]
        start = len(frames)
        frames += found
        if len(sources) > 1:
            groups[name] = list(range(start, len(frames)))
    groups[ALL] = list(range(len(frames)))
    for key in by:
        groups |= _by_value(frames, key)
    return References(frames, groups)


def check_elements(references: References, elements: Sequence[str], model: str) -> None:
    """Raise an error for a frame with an element that a model does not have."""
    for frame in references.frames:
        for problem in element_problems(frame.atoms, elements):
            raise InputError(f"{model}: {frame.source}: {problem.message}")


def _by_value(frames: Sequence[HessianFrame], key: str) -> dict[str, list[int]]:
    infos: list[Mapping[str, Any]] = [frame.atoms.info for frame in frames]
    if not any(key in info for info in infos):
        known = sorted({str(name) for info in infos for name in info})
        raise InputError(
            f"--by {key}: no frame has this info key{nearest(key, known)}; known: "
            f"{', '.join(known) or 'none'}"
        )
    found: dict[str, list[int]] = {}
    for index, info in enumerate(infos):
        found.setdefault(f"{key}={info.get(key, NOT_GIVEN)}", []).append(index)
    return dict(sorted(found.items()))
