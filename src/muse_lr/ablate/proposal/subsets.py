"""Info keys by whose values the report of a study divides the errors."""

from __future__ import annotations

from collections.abc import Sequence

from muse_lr.data.formats import printable
from muse_lr.data.info_keys import dividing_keys
from muse_lr.data.scaffold.survey import Survey
from muse_lr.data.selection import is_scalar
from muse_lr.errors import InputError, nearest
from muse_lr.reporting.breakdown.grouping import SUBSET_KEYS

#: Largest number of keys that are chosen.
MOST = 3


def choose_subsets(found: Survey, asked: Sequence[str] = ()) -> list[str]:
    """Keys with few values in a test set, or those that are asked for.

    Usual names of subsets come first, then the keys with the fewest values.

    Parameters
    ----------
    found : Survey
        The data, with a test set.
    asked : sequence of str
        Keys of ``--by``.

    Raises
    ------
    InputError
        If no test frame has a key that is asked for, or if it cannot divide the frames.
    """
    labels = [key for counts in found.report.labels.values() for key in counts]
    values: dict[str, int] = {}
    for frames in found.test_structures.values():
        for key, counts in dividing_keys([atoms.info for atoms in frames], labels).items():
            values[key] = max(values.get(key, 0), len(counts))
    usual = [key for key in SUBSET_KEYS if key in values]
    others = sorted(set(values) - set(usual), key=lambda key: (values[key], key))
    known = usual + others
    for key in asked:
        _check(key, known, found)
    return list(dict.fromkeys(asked)) or known[:MOST]


def _check(key: str, known: Sequence[str], found: Survey) -> None:
    """Refuse a key by which the test frames cannot be divided."""
    infos = [atoms.info for frames in found.test_structures.values() for atoms in frames]
    given = [info[key] for info in infos if key in info]
    listed = ", ".join(map(printable, known)) or "none"
    if not given:
        raise InputError(
            f"--by {key}: no test frame has this info key{nearest(key, known)}; keys with few "
            f"values: {listed}"
        )
    if not all(map(is_scalar, given)):
        raise InputError(
            f"--by {key}: its values are not text or single numbers; keys with few values: {listed}"
        )
