"""Pairwise test design: few combinations that cover every pair of choices."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from itertools import combinations, product


def pairwise_cover(
    factors: Sequence[Sequence[Hashable]],
    allowed: Callable[[tuple[Hashable, ...]], bool] = lambda row: True,
) -> list[tuple[Hashable, ...]]:
    """Choose combinations that contain every allowed pair of levels of two factors.

    Greedy algorithm: the allowed combination with the most uncovered pairs is added until all
    pairs are covered. The result is deterministic.

    Parameters
    ----------
    factors : sequence of sequences
        The levels of each factor.
    allowed : callable, optional
        Whether a complete combination is allowed; default: all are.

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


def repeated_cover(
    factors: Sequence[Sequence[Hashable]],
    times: int,
    allowed: Callable[[tuple[Hashable, ...]], bool] = lambda row: True,
) -> list[tuple[Hashable, ...]]:
    """Rows such that every level of every factor occurs ``times`` times, where that is possible.

    Greedy, as :func:`pairwise_cover`; no row occurs twice.

    Parameters
    ----------
    factors : sequence of sequences
        The levels of each factor.
    times : int
    allowed : callable, optional
        Whether a full combination makes sense; others are never taken.

    Returns
    -------
    list of tuple
        Each with one level of every factor.
    """
    candidates = [row for row in product(*factors) if allowed(row)]
    missing = dict.fromkeys((level for row in candidates for level in enumerate(row)), times)
    rows = []
    while candidates:
        row = max(candidates, key=lambda row: sum(missing[level] > 0 for level in enumerate(row)))
        if not any(missing[level] > 0 for level in enumerate(row)):
            break
        rows.append(row)
        candidates.remove(row)
        for level in enumerate(row):
            missing[level] -= 1
    return rows


def _pairs(row: tuple[Hashable, ...]) -> set[tuple[tuple[int, Hashable], ...]]:
    """All pairs of (factor, level) in a row."""
    return set(combinations(enumerate(row), 2))
