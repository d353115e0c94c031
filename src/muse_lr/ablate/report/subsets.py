"""The subset of a test set on which a variant differs most from the reference."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from muse_lr.ablate.aggregate import Results, subset_differences
from muse_lr.ablate.report.outcome import Outcome
from muse_lr.ablate.statistics import Difference
from muse_lr.reporting.breakdown.errors import info_classes, known_keys
from muse_lr.reporting.breakdown.grouping import usual_keys

#: Fewer frames give no interval to speak of.
FEWEST_FRAMES = 5


@dataclass(frozen=True)
class SubsetChange:
    """A change on one subset.

    Attributes
    ----------
    key, name : str
        Info key and its value.
    frames : int
        Number of frames.
    variant : str
    change : Difference
    count : int
        Number of significant changes on subsets, of which this one is the largest.
    """

    key: str
    name: str
    frames: int
    variant: str
    change: Difference
    count: int


def largest_change(
    results: Results, outcome: Outcome, keys: Sequence[str] = ()
) -> SubsetChange | None:
    """Find the largest relative change among those whose interval excludes zero; None without any.

    Parameters
    ----------
    results : Results
    outcome : Outcome
        Test set, metric and reference.
    keys : sequence of str
        Info keys of subsets; default: the usual ones that the frames have.
    """
    found = [
        SubsetChange(key, name, frames, variant, change, 0)
        for key, name, frames, changes in _changes(results, outcome, keys)
        for variant, change in changes.items()
        if change.significant and change.ratio > 0
    ]
    if not found:
        return None
    best = max(found, key=lambda subset: abs(math.log(subset.change.ratio)))
    return SubsetChange(**{**vars(best), "count": len(found)})


def _changes(
    results: Results, outcome: Outcome, keys: Sequence[str]
) -> Iterator[tuple[str, str, int, dict[str, Difference]]]:
    """Key, value, number of frames and changes of all variants, for each subset."""
    records = [r for r in results.of(outcome.reference) if outcome.test in r.predictions]
    if not records:
        return
    predictions = records[0].predictions[outcome.test]
    for key in known_keys(predictions, keys) or usual_keys(predictions.info):
        index, names = info_classes(predictions, key)
        for group, name in enumerate(names):
            frames = index == group
            count = int(frames.sum())
            if FEWEST_FRAMES <= count < len(frames):
                yield (
                    key,
                    name,
                    count,
                    subset_differences(
                        results, outcome.test, outcome.metric, frames, outcome.reference
                    ),
                )
