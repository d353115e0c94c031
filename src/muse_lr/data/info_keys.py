"""Info keys with few values, by which the errors of a data set can be divided."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from muse_lr.data.labels import LABELS
from muse_lr.data.selection import is_scalar, scalar
from muse_lr.structures.state import STATE_KEYS

#: Largest number of values of a key, and fewest frames of a value on average.
MOST_VALUES, FEWEST_FRAMES = 12, 3
#: Numbers of more digits than this are results, such as energies of monomers.
DIGITS = 4
#: Smallest fraction of the frames that must have the key.
SHARE = 0.5


def dividing_keys(
    infos: Sequence[Mapping[str, Any]], others: Collection[str] = ()
) -> dict[str, dict[str, int]]:
    """Find the keys whose values divide frames into a few groups, such as a phase.

    A key must be on at least half of the frames and have at most :data:`MOST_VALUES` values, which
    are text or single numbers of a few digits. Keys of labels, total charge and spin are left out.

    Parameters
    ----------
    infos : sequence of mappings
        ``atoms.info`` of each frame.
    others : collection of str
        Other keys to leave out, such as keys of labels that have been named.

    Returns
    -------
    dict of str to dict of str to int
        Key -> its values, in order, and the number of frames that have each.
    """
    left_out = {key for label in LABELS.values() for key in label.keys} | {*STATE_KEYS, *others}
    keys = dict.fromkeys(key for info in infos for key in info)
    found = {}
    for key in sorted(set(keys) - left_out):
        counts = _counts(infos, key)
        frames = sum(counts.values())
        most = min(MOST_VALUES, frames // FEWEST_FRAMES)
        if 2 <= len(counts) <= most and frames >= SHARE * len(infos):
            found[key] = counts
    return found


def _counts(infos: Sequence[Mapping[str, Any]], key: str) -> dict[str, int]:
    """Number of frames of each value, in order; empty if a value is no text or short number."""
    found = [info[key] for info in infos if key in info]
    if not all(map(is_scalar, found)):
        return {}
    values = [scalar(value, key) for value in found]
    if not all(isinstance(v, str) or float(f"{v:.{DIGITS}g}") == v for v in values):
        return {}
    counts = Counter(values)
    ordered = sorted(counts, key=lambda value: (isinstance(value, str), value))
    return {str(v) if isinstance(v, (str, bool)) else f"{v:g}": counts[v] for v in ordered}
