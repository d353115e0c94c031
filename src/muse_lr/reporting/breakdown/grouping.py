"""Divide the frames of a data set into groups by numbers or text."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from muse_lr.data.labels import LABELS

Array = NDArray[np.float64]
Index = NDArray[np.int64]

#: Info keys that name subsets in public data sets; a report divides by them without being asked.
SUBSET_KEYS = ("subset", "config_type", "kind", "dataset", "source", "system", "phase", "class")
#: Largest number of groups. More texts are collected in one group, more numbers in ranges.
MOST_GROUPS, RANGES = 20, 6
#: Name of the group of frames without the key.
NOT_GIVEN = "not given"


def usual_keys(info: Sequence[Mapping[str, Any]]) -> list[str]:
    """Keys of :data:`SUBSET_KEYS` that divide the frames into more than one group."""
    known = groupable_keys(info)
    return [
        key
        for key in SUBSET_KEYS
        if key in known and len({as_class(frame.get(key)) for frame in info}) > 1
    ]


def groupable_keys(info: Sequence[Mapping[str, Any]]) -> list[str]:
    """Info keys whose values are numbers or text in all frames that have them, sorted.

    Keys of labels are left out.
    """
    bad = {key for about in LABELS.values() for key in about.keys}
    found = set()
    for frame in info:
        for key, value in frame.items():
            found.add(key)
            try:
                as_class(value)
            except TypeError:
                bad.add(key)
    return sorted(found - bad)


def as_class(value: Any) -> float | str | None:
    """A value of ``info`` as a number or text.

    Raises
    ------
    TypeError
        If it is neither.
    """
    if value is None:
        return None
    if isinstance(value, (str, bool, np.bool_)):
        return str(value)
    array = np.asarray(value)
    if array.size != 1 or array.dtype.kind not in "iuf":
        raise TypeError(f"{str(value)[:40]!r}")
    number = float(array.reshape(()))
    return number if np.isfinite(number) else None


def classes(values: Sequence[float | str | None]) -> tuple[Index, list[str]]:
    """Divide values into groups.

    Numbers are grouped by value, or in ranges if there are more than :data:`MOST_GROUPS`. Texts are
    grouped by value, the rare ones together.

    Parameters
    ----------
    values : sequence of float, str or None
        (n,) None for a frame without the key.

    Returns
    -------
    index : Index
        (n,) position of the group of each value.
    names : list of str
        Names of the groups, in order; no group is empty.
    """
    given = np.array([value is not None for value in values], np.bool_)
    present = [value for value in values if value is not None]
    numbers = [value for value in present if not isinstance(value, str)]
    index = np.zeros(len(values), np.int64)
    if len(numbers) == len(present):
        index[given], names = _numbers(np.array(numbers, np.float64))
    else:
        texts = [value if isinstance(value, str) else f"{value:g}" for value in present]
        index[given], names = _texts(texts)
    if not given.all():
        index[~given] = len(names)
        names = [*names, NOT_GIVEN]
    return index, names


def _numbers(values: Array) -> tuple[Index, list[str]]:
    """Group numbers by value, or in ranges of about equal counts if there are many values."""
    distinct, index = np.unique(values, return_inverse=True)
    if len(distinct) <= MOST_GROUPS:
        return index, [f"{value:.6g}" for value in distinct]
    edges = np.quantile(values, np.linspace(0, 1, RANGES + 1)[1:-1])
    _, index = np.unique(np.searchsorted(edges, values, side="right"), return_inverse=True)
    members = [values[index == group] for group in range(index.max() + 1)]
    return index, [f"{inside.min():.4g} to {inside.max():.4g}" for inside in members]


def _texts(values: Sequence[str]) -> tuple[Index, list[str]]:
    """Group texts by value; beyond :data:`MOST_GROUPS`, the rare ones form one group."""
    counts = Counter(values)
    names = sorted(counts)
    if len(names) > MOST_GROUPS:
        kept = [name for name, _ in counts.most_common(MOST_GROUPS - 1)]
        names = [*sorted(kept), f"{len(counts) - len(kept)} others"]
    position = {name: i for i, name in enumerate(names)}
    return np.array([position.get(v, len(names) - 1) for v in values], np.int64), names
