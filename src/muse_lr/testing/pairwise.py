"""Few combinations that cover every pair of choices."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from itertools import combinations, product


def pairwise_cover(
    factors: Sequence[Sequence[Hashable]],
    allowed: Callable[[tuple[Hashable, ...]], bool] = lambda row: True,
) -> list[tuple[Hashable, ...]]:
    """Rows such that every pair of levels of two factors that can occur does occur.

    Greedy: the allowed combination with most uncovered pairs is taken until none is left. The
    result depends only on the arguments.

    Parameters
    ----------
    factors : sequence of sequences
        The levels of each factor.
    allowed : callable, optional
        Says whether a full combination makes sense; others are never taken.

    Returns
    -------
    list of tuple
        Each with one level of every factor.
    """
    candidates = {row: _pairs(row) for row in product(*factors) if allowed(row)}
    uncovered = set().union(*candidates.values()) if candidates else set()
    if len(factors) < 2:
        return list(candidates)
    rows = []
    while uncovered:
        row = max(candidates, key=lambda row: len(candidates[row] & uncovered))
        rows.append(row)
        uncovered -= candidates[row]
    return rows


def _pairs(row: tuple[Hashable, ...]) -> set[tuple[tuple[int, Hashable], ...]]:
    """All pairs of (factor, level) in a row."""
    return set(combinations(enumerate(row), 2))
