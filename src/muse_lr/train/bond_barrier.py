"""The barrier in the gap behind the bonds of the training data."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from muse_lr.data.distances import PairDistances
from muse_lr.heads.bond_barrier import BondBarrierConfig, Ranges, barrier_height, usual_gap
from muse_lr.train.repulsion import DECIMALS

#: Name of the head. ``model.heads.bond_barrier: null`` switches it off.
NAME = "bond_barrier"
#: The longest bond is at most this fraction of the start of a gap, and its end at most this
#: fraction of the shortest contact.
MARGIN = 0.98
#: Fewest bonds of a pair of elements. Fewer do not tell a gap from a lack of samples.
FEWEST_BONDS = 500
#: Narrowest gap, A. Barriers in narrower ones are low at the default stiffness.
NARROWEST = 0.15


def find_gaps(distances: Mapping[str, PairDistances], cutoff: float) -> Ranges:
    """Find ranges behind bonds to hydrogen in which a set of structures has no distance.

    A gap lies between the usual lengths of bonds and of other contacts
    (:func:`~muse_lr.heads.bond_barrier.usual_gap`). It begins beyond the longest bond and ends
    before the shortest contact. Elements with less than :data:`FEWEST_BONDS` bonds or with a gap
    narrower than :data:`NARROWEST` have none, such as those whose bonds break in the data.

    Parameters
    ----------
    distances : mapping of str to PairDistances
    cutoff : float
        Range in which they were searched, A.

    Returns
    -------
    dict of str to (float, float)
        By pair of elements, A.
    """
    gaps = {}
    for pair, found in distances.items():
        usual = usual_gap(pair)
        if usual is None or found.bonds < FEWEST_BONDS:
            continue
        start = max(usual[0], found.longest_bond / MARGIN)
        end = min(usual[1], MARGIN * min(found.shortest_contact, cutoff))
        if end - start >= NARROWEST:
            gaps[pair] = (round(start, DECIMALS), round(end, DECIMALS))
    return gaps


def fill_bond_barrier(
    heads: Mapping[str, Any],
    measure: Callable[[], Mapping[str, PairDistances]],
    cutoff: float,
    notes: list[str],
    default: bool,
) -> dict[str, Any]:
    """Add a bond barrier to the heads of a model, or fill in the gaps of its own.

    Where the training data have no distances between bonds and other contacts, a learned energy
    may rise only a little and fall again. Bonds then break in dynamics above the temperature of the
    data. The head of kind ``bond_barrier`` acts only in these gaps and is zero for the training
    structures. Without a gap, none is added.

    Parameters
    ----------
    heads : mapping
        Configurations of the heads.
    measure : callable
        Returns the distances of the training and validation frames up to ``cutoff`` (A).
    cutoff : float
    notes : list of str
        Notes for the report, which this function appends to.
    default : bool
        Whether a model gets the head if it has none of this kind and no other of this name.

    Returns
    -------
    dict
    """
    filled = dict(heads)
    own = {name: head for name, head in heads.items() if isinstance(head, BondBarrierConfig)}
    incomplete = {name: head for name, head in own.items() if head.gaps is None}
    added = default and NAME not in heads and not own
    if not incomplete and not added:
        return filled
    gaps = find_gaps(measure(), cutoff)
    if added and gaps:
        incomplete = {NAME: BondBarrierConfig()}
    for name, head in incomplete.items():
        filled[name] = head.model_copy(update={"gaps": gaps})
        notes.append(_note(name, head.stiffness, gaps))
    return filled


def _note(name: str, stiffness: float, gaps: Ranges) -> str:
    ranges = [
        f"{pair} {start:.2f}-{end:.2f} Å ({barrier_height(stiffness, end - start):.2f} eV)"
        for pair, (start, end) in gaps.items()
    ]
    return (
        "an energy barrier acts at distances between bonds and contacts that the training data do "
        f"not have: {', '.join(ranges) or 'none'}; `model.heads.{name}: null` switches it off"
    )
