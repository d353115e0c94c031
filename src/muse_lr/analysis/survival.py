"""Times to failure of copies that were observed for a limited time."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Survival:
    """Copies that ran for up to the same time, some of which failed.

    Attributes
    ----------
    times : tuple of float
        Time that each copy ran, ps.
    failed : tuple of bool
        Whether it failed at this time.
    """

    times: tuple[float, ...]
    failed: tuple[bool, ...]

    @property
    def failures(self) -> int:
        """Number of copies that failed."""
        return sum(self.failed)

    @property
    def survived(self) -> float:
        """Share of the copies that did not fail; NaN without copies."""
        return 1 - self.failures / len(self.failed) if self.failed else math.nan

    @property
    def restricted_mean(self) -> float:
        """Mean time that a copy ran, ps: the mean time to failure, restricted to the run."""
        return sum(self.times) / len(self.times) if self.times else math.nan

    @property
    def mean_time(self) -> float:
        """Mean time to failure at a constant rate, ps: total time by failures; infinite for none.

        This is the maximum-likelihood estimate for exponentially distributed times that are
        censored at the end of the run.
        """
        return sum(self.times) / self.failures if self.failures else math.inf


def pool(parts: Sequence[Survival]) -> Survival:
    """All copies of several groups."""
    return Survival(
        tuple(time for part in parts for time in part.times),
        tuple(failed for part in parts for failed in part.failed),
    )
