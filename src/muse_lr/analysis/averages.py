"""Averages and slopes of correlated series, with standard errors from the means of blocks.

Neighboring values of a trajectory are correlated. The means of blocks that are longer than the
correlation time are nearly independent, and their scatter gives the standard error (H. Flyvbjerg,
H. G. Petersen, J. Chem. Phys. 91, 461 (1989)).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]

#: Number of blocks of a series.
BLOCKS = 10
#: A straight line through fewer blocks has no scatter about it.
FEWEST_BLOCKS = 3


@dataclass(frozen=True)
class Estimate:
    """A value with its standard error; the error is NaN if the series is too short for one."""

    value: float
    error: float = math.nan


def mean(values: ArrayLike, blocks: int = BLOCKS) -> Estimate:
    """Mean of a series and its standard error from ``blocks`` blocks.

    Parameters
    ----------
    values : array_like
        (n,), equally spaced in time.
    blocks : int

    Returns
    -------
    Estimate
        NaN for an empty series.
    """
    series = np.asarray(values, dtype=np.float64)
    if not len(series):
        return Estimate(math.nan)
    if len(series) < 2 * FEWEST_BLOCKS:
        return Estimate(float(series.mean()))
    means = _block_means(series, blocks)
    return Estimate(float(series.mean()), float(means.std(ddof=1) / math.sqrt(len(means))))


def slope(times: ArrayLike, values: ArrayLike, blocks: int = BLOCKS) -> Estimate:
    """Slope of a straight line through a series, and its standard error.

    The slope is fitted to all values by least squares. Its standard error follows from the scatter
    of the means of ``blocks`` blocks about a straight line through these means, in which fast
    fluctuations average out.

    Parameters
    ----------
    times, values : array_like
        (n,).
    blocks : int

    Returns
    -------
    Estimate
        In units of the values per unit of time; NaN for fewer than two values.
    """
    x, y = np.asarray(times, dtype=np.float64), np.asarray(values, dtype=np.float64)
    if len(x) < 2:
        return Estimate(math.nan)
    found = float(np.polyfit(x - x.mean(), y - y.mean(), 1)[0])
    if len(x) < 2 * FEWEST_BLOCKS:
        return Estimate(found)
    centers, means = _block_means(x, blocks), _block_means(y, blocks)
    line = np.polyfit(centers, means, 1)
    residuals = means - np.polyval(line, centers)
    spread = float(((centers - centers.mean()) ** 2).sum())
    variance = float((residuals**2).sum()) / (len(means) - 2)
    return Estimate(found, math.sqrt(variance / spread))


def combine(estimates: Sequence[Estimate]) -> Estimate:
    """Mean of independent estimates, with the error that follows from theirs."""
    if not estimates:
        return Estimate(math.nan)
    n = len(estimates)
    error = math.sqrt(sum(estimate.error**2 for estimate in estimates)) / n
    return Estimate(sum(estimate.value for estimate in estimates) / n, error)


def _block_means(series: Array, blocks: int) -> Array:
    # At least two values in each block.
    count = max(min(blocks, len(series) // 2), FEWEST_BLOCKS)
    return np.array([part.mean() for part in np.array_split(series, count)])
