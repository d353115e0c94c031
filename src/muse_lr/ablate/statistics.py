"""Intervals over seeds and paired differences between variants.

Means over seeds carry Student's t interval. Differences to the reference variant are paired by
seed and by frame; their interval is a percentile bootstrap in which seeds and frames are both
drawn again (Efron & Tibshirani, *An Introduction to the Bootstrap*, 1993; for the hierarchy,
Saravanan, Berman & Sober, *Neurons Behav. Data Anal. Theory* 3 (2020)).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import t as student_t

Array = NDArray[np.float64]

CONFIDENCE = 0.95
RESAMPLES = 2000
BOOTSTRAP_SEED = 20240917
# Resampled counts are made in blocks, so that large test sets need little memory.
_BLOCK_ELEMENTS = 4_000_000


@dataclass(frozen=True)
class Mean:
    """A mean over seeds; ``half_width`` of its 95 % interval is None for a single seed."""

    value: float
    half_width: float | None
    count: int


@dataclass(frozen=True)
class Difference:
    """Variant minus reference, with the 95 % interval, and the ratio of their means.

    ``seeds`` is the number of seeds that both have finished.
    """

    value: float
    low: float
    high: float
    ratio: float
    seeds: int

    @property
    def excludes_zero(self) -> bool:
        return self.low > 0 or self.high < 0


@dataclass(frozen=True)
class FrameErrors:
    """Errors of one variant on one test set.

    Attributes
    ----------
    sums : Array
        (n_seeds, n_frames) summed absolute or squared error of each frame.
    counts : Array
        (n_frames,) number of components behind each sum.
    root
        Whether the metric is the square root of the mean (RMSE).
    """

    sums: Array
    counts: Array
    root: bool

    def metric(self, weights: Array) -> Array:
        """The metric of each seed over weighted frames: (n_frames, k) -> (n_seeds, k)."""
        mean = (self.sums @ weights) / (self.counts @ weights)
        return np.sqrt(mean) if self.root else mean


def mean_interval(values: Sequence[float]) -> Mean:
    """Mean of ``values`` and the half width of Student's 95 % interval."""
    count = len(values)
    mean = float(np.mean(values))
    if count < 2:
        return Mean(mean, None, count)
    quantile = float(student_t.ppf(0.5 + CONFIDENCE / 2, count - 1))
    return Mean(mean, quantile * float(np.std(values, ddof=1)) / count**0.5, count)


def paired_difference(
    variant: FrameErrors, reference: FrameErrors, resamples: int = RESAMPLES
) -> Difference:
    """Difference of a metric between a variant and the reference on the same seeds and frames.

    Each resample draws ``n_seeds`` seeds and ``n_frames`` frames with replacement, the same for
    both, and takes the difference of the metric averaged over the drawn seeds. With a single seed
    only the frames are drawn again. The generator is seeded: the interval is reproducible.

    Parameters
    ----------
    variant, reference
        Sums of shape (n_seeds, n_frames), row by row the same seed, column by column the same
        frame.

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
    ours, theirs = variant.metric(once).mean(), reference.metric(once).mean()
    rng = np.random.default_rng(BOOTSTRAP_SEED)
    block = max(1, _BLOCK_ELEMENTS // n_frames)
    draws = []
    for start in range(0, resamples, block):
        size = min(block, resamples - start)
        frames = _resample(rng, kept, size)
        seeds = rng.multinomial(n_seeds, np.full(n_seeds, 1.0 / n_seeds), size).T / n_seeds
        change = variant.metric(frames) - reference.metric(frames)
        draws.append((change * seeds).sum(0))
    tail = 0.5 - CONFIDENCE / 2
    low, high = np.quantile(np.concatenate(draws), [tail, 1.0 - tail])
    ratio = float(ours / theirs) if theirs else float("nan")
    return Difference(float(ours - theirs), float(low), float(high), ratio, n_seeds)


def _resample(rng: np.random.Generator, kept: NDArray[np.bool_], size: int) -> Array:
    """How often each frame is drawn: (n_frames, size), zero for frames without the label."""
    chosen = np.flatnonzero(kept)
    picks = chosen[rng.integers(0, len(chosen), (size, len(chosen)))]
    rows = np.arange(size)[:, None] * len(kept)
    flat = np.bincount((picks + rows).ravel(), minlength=size * len(kept))
    return flat.reshape(size, len(kept)).T.astype(np.float64)
