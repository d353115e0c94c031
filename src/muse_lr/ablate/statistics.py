"""Intervals over seeds and paired differences between variants.

Means over seeds have a Student t interval. Differences to the reference variant are paired by
seed and by frame. Their interval contains two intervals: a percentile bootstrap with resampling of
both seeds and frames (Efron & Tibshirani, *An Introduction to the Bootstrap*, 1993; for the
hierarchy, Saravanan, Berman & Sober, *Neurons Behav. Data Anal. Theory* 3 (2020)), which is too
narrow for few seeds, and Student's interval of the differences of the seeds.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.stats import t as student_t

Array = NDArray[np.float64]

CONFIDENCE = 0.95
RESAMPLES = 2000
BOOTSTRAP_SEED = 20240917
# Resampling in blocks limits the memory for large test sets.
_BLOCK_ELEMENTS = 4_000_000


@dataclass(frozen=True)
class Mean:
    """Mean over seeds with the half width of its 95 % interval, None for a single seed."""

    value: float
    half_width: float | None
    count: int


@dataclass(frozen=True)
class Difference:
    """Variant minus reference and ratio of the means, each with its 95 % interval.

    Attributes
    ----------
    value, low, high : float
        Difference and its interval, in the unit of the metric.
    ratio, ratio_low, ratio_high : float
        Mean of the variant over that of the reference, and its interval; NaN if the reference has
        no errors.
    seeds : int
        Number of seeds for which both runs are finished.
    """

    value: float
    low: float
    high: float
    ratio: float
    seeds: int
    ratio_low: float = np.nan
    ratio_high: float = np.nan

    @property
    def excludes_zero(self) -> bool:
        """Whether the interval of the difference excludes zero."""
        return self.low > 0 or self.high < 0

    @property
    def significant(self) -> bool:
        """Whether the interval excludes zero and covers the spread over seeds.

        The interval of a single seed covers the frames only, so that it decides nothing about the
        variants.
        """
        return self.excludes_zero and self.seeds > 1


@dataclass(frozen=True)
class FrameErrors:
    """Errors of one variant on one test set.

    Attributes
    ----------
    sums : Array
        (n_seeds, n_frames) sum of absolute or squared errors of each frame.
    counts : Array
        (n_frames,) number of components in each sum.
    root : bool
        Whether the metric is the square root of the mean (RMSE).
    """

    sums: Array
    counts: Array
    root: bool

    def metric(self, weights: Array) -> Array:
        """Metric of each seed for ``weights`` (n_frames, k) of the frames; (n_seeds, k)."""
        mean = (self.sums @ weights) / (self.counts @ weights)
        return np.sqrt(mean) if self.root else mean

    def subset(self, frames: NDArray[np.bool_]) -> FrameErrors:
        """Errors of the frames of a mask, (n_frames,)."""
        return replace(self, sums=self.sums[:, frames], counts=self.counts[frames])


def mean_interval(values: Sequence[float]) -> Mean:
    """Mean of ``values`` with the half width of the Student 95 % interval."""
    count = len(values)
    mean = float(np.mean(values))
    if count < 2:
        return Mean(mean, None, count)
    quantile = float(student_t.ppf(0.5 + CONFIDENCE / 2, count - 1))
    return Mean(mean, quantile * float(np.std(values, ddof=1)) / count**0.5, count)


def paired_difference(
    variant: FrameErrors, reference: FrameErrors, resamples: int = RESAMPLES
) -> Difference:
    """Difference of a metric between a variant and the reference for the same seeds and frames.

    Each resample draws ``n_seeds`` seeds and ``n_frames`` frames with replacement, the same for
    both, and computes the difference of the metric averaged over the drawn seeds. The interval is
    widened to contain Student's interval of the differences of the seeds (:func:`paired_seeds`).
    With a single seed only the frames are resampled. The generator is seeded, so that the interval
    is reproducible.

    Parameters
    ----------
    variant, reference : FrameErrors
        Errors with the same seeds in the rows and the same frames in the columns.
    resamples : int
        Number of bootstrap resamples.

    Raises
    ------
    ValueError
        If the two do not have the same seeds and frames.
    """
    if variant.sums.shape != reference.sums.shape:
        raise ValueError(f"shapes differ: {variant.sums.shape} and {reference.sums.shape}")
    n_seeds, n_frames = variant.sums.shape
    kept = reference.counts > 0
    once = kept.astype(np.float64)[:, None]
    by_seed = [errors.metric(once)[:, 0].tolist() for errors in (variant, reference)]
    ours, theirs = (float(np.mean(values)) for values in by_seed)
    rng = np.random.default_rng(BOOTSTRAP_SEED)
    block = max(1, _BLOCK_ELEMENTS // n_frames)
    draws, ratios = [], []
    for start in range(0, resamples, block):
        size = min(block, resamples - start)
        frames = _resample(rng, kept, size)
        seeds = rng.multinomial(n_seeds, np.full(n_seeds, 1.0 / n_seeds), size).T / n_seeds
        first, second = ((errors.metric(frames) * seeds).sum(0) for errors in (variant, reference))
        draws.append(first - second)
        ratios.append(np.divide(first, second, out=np.full(size, np.nan), where=second > 0))
    ratio = ours / theirs if theirs else float("nan")
    frames_too = Difference(ours - theirs, *_interval(draws), ratio, n_seeds, *_interval(ratios))
    return _hull(frames_too, paired_seeds(*by_seed)) if n_seeds > 1 else frames_too


def paired_seeds(variant: Sequence[float], reference: Sequence[float]) -> Difference:
    """Difference of a metric that is known for each seed only, paired by seed.

    The interval is Student's for the mean of the differences. That of the ratio is the same
    interval over the mean of the reference, from 0 on. A single seed has no interval (NaN).

    Parameters
    ----------
    variant, reference : sequence of float
        (n_seeds,) values for the same seeds.
    """
    theirs = float(np.mean(reference))
    mean = mean_interval([a - b for a, b in zip(variant, reference, strict=True)])
    half = np.nan if mean.half_width is None else mean.half_width
    low, high = mean.value - half, mean.value + half
    changes = np.array([mean.value, low, high]) / theirs if theirs else np.full(3, np.nan)
    ratios = np.maximum(0.0, 1.0 + changes).tolist()  # NaN stays NaN
    return Difference(mean.value, low, high, ratios[0], mean.count, *ratios[1:])


def _hull(first: Difference, second: Difference) -> Difference:
    """The first difference with intervals that contain those of both."""
    return replace(
        first,
        low=min(first.low, second.low),
        high=max(first.high, second.high),
        ratio_low=min(first.ratio_low, second.ratio_low),
        ratio_high=max(first.ratio_high, second.ratio_high),
    )


def _interval(draws: Sequence[Array]) -> tuple[float, float]:
    """Percentiles of all draws; NaN if one of them is."""
    tail = 0.5 - CONFIDENCE / 2
    low, high = np.quantile(np.concatenate(draws), [tail, 1.0 - tail])
    return float(low), float(high)


def _resample(rng: np.random.Generator, kept: NDArray[np.bool_], size: int) -> Array:
    """Number of times each frame is drawn, (n_frames, size); zero without the label."""
    chosen = np.flatnonzero(kept)
    picks = chosen[rng.integers(0, len(chosen), (size, len(chosen)))]
    rows = np.arange(size)[:, None] * len(kept)
    flat = np.bincount((picks + rows).ravel(), minlength=size * len(kept))
    return flat.reshape(size, len(kept)).T.astype(np.float64)
