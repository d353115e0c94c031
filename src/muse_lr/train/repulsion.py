"""The repulsion below the shortest distances of the training data."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from muse_lr.data.distances import PairDistances
from muse_lr.heads.zbl import ZBLConfig

#: Name of the head. ``model.heads.repulsion: null`` switches it off.
NAME = "repulsion"
#: The repulsion ends at this fraction of the shortest distance. Structures outside the data by a
#: few percent, as some test sets have, keep the learned energy.
END = 0.95
#: Strength of the wall within these distances, eV. The learned energy between contacts may fall by
#: some tenths of an eV there.
WALL = 500.0
#: Largest number of pairs that a note lists.
LISTED = 8
#: Decimals of the distances, A.
DECIMALS = 4


def fill_repulsion(
    heads: Mapping[str, Any],
    measure: Callable[[], Mapping[str, PairDistances]] | None,
    notes: list[str],
    default: bool,
) -> dict[str, Any]:
    """Add a short-range repulsion to the heads of a model, or fill in the distances of its own.

    A learned energy is not determined where atoms are closer than in any training structure. It
    often falls there, so that atoms collapse in molecular dynamics although all errors are small.
    The head ``repulsion`` of kind ``zbl`` acts only below :data:`END` times the shortest distance
    of each pair of elements. It is zero for the training structures.

    Parameters
    ----------
    heads : mapping
        Configurations of the heads.
    measure : callable or None
        Returns the distances of the training and validation frames; without it they stay open.
    notes : list of str
        Notes for the report, which this function appends to.
    default : bool
        Whether a model gets the head if it has none of this kind and no other of this name.

    Returns
    -------
    dict
    """
    filled = dict(heads)
    if default and NAME not in heads and not _of_kind(heads):
        filled[NAME] = ZBLConfig()
    incomplete = {n: head for n, head in _of_kind(filled).items() if head.distances is None}
    if incomplete and measure is not None:
        ends = {pair: round(END * found.shortest, DECIMALS) for pair, found in measure().items()}
        for name, head in incomplete.items():
            wall = WALL if head.wall is None else head.wall
            filled[name] = head.model_copy(update={"distances": ends, "wall": wall})
            notes.append(_note(name, ends))
    return filled


def _of_kind(heads: Mapping[str, Any]) -> dict[str, ZBLConfig]:
    return {name: head for name, head in heads.items() if isinstance(head, ZBLConfig)}


def _note(name: str, distances: Mapping[str, float]) -> str:
    shortest = sorted(distances.items(), key=lambda item: item[1])
    listed = ", ".join(f"{pair} {distance:.2f} Å" for pair, distance in shortest[:LISTED])
    more = f" and {len(shortest) - LISTED} more" * (len(shortest) > LISTED)
    return (
        f"a repulsion acts below {END} of the shortest distances of the training data ({listed}"
        f"{more}); `model.heads.{name}: null` switches it off"
    )
