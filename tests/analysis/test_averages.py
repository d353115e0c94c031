"""Averages and slopes of correlated series."""

from __future__ import annotations

import math

import numpy as np
import pytest

from muse_lr.analysis.averages import Estimate, combine, mean, slope
from muse_lr.analysis.survival import Survival, pool


def correlated(rng: np.random.Generator, length: int, memory: float) -> np.ndarray:
    """An autoregressive series of unit variance."""
    values = np.empty(length)
    values[0] = rng.normal()
    for i in range(1, length):
        values[i] = memory * values[i - 1] + math.sqrt(1 - memory**2) * rng.normal()
    return values


def test_errors_of_correlated_series_cover_the_truth():
    """The deviations over many series agree with the estimated errors, for mean and slope."""
    rng = np.random.default_rng(0)
    times = np.arange(1000) * 0.01
    means, slopes = [], []
    for _ in range(200):
        series = correlated(rng, 1000, 0.8)
        means.append(mean(3.0 + series))
        slopes.append(slope(times, 5.0 + 0.7 * times + series))
    for found, truth in ((means, 3.0), (slopes, 0.7)):
        values = np.array([estimate.value for estimate in found])
        errors = np.array([estimate.error for estimate in found])
        assert values.mean() == pytest.approx(truth, abs=4 * values.std() / math.sqrt(200))
        assert np.sqrt((errors**2).mean()) == pytest.approx(values.std(), rel=0.25)
    # The naive error of independent values is three times too small.
    assert means[0].error > 2 / math.sqrt(1000)


def test_short_series():
    assert math.isnan(mean([]).value)
    assert math.isnan(slope([1.0], [2.0]).value)
    assert mean([1.0, 3.0]).value == 2.0
    assert math.isnan(mean([1.0, 3.0]).error)
    assert slope([0.0, 2.0], [1.0, 2.0]).value == pytest.approx(0.5)
    assert math.isnan(slope([0.0, 2.0], [1.0, 2.0]).error)


def test_the_slope_of_a_large_constant_is_exact():
    times = np.linspace(0, 20, 2001)
    assert slope(times, -3e7 + 1e-3 * times).value == pytest.approx(1e-3, rel=1e-4)


def test_combining_independent_estimates():
    found = combine([Estimate(1.0, 0.3), Estimate(2.0, 0.4)])
    assert found == Estimate(1.5, pytest.approx(0.25))


def test_survival():
    group = Survival((5.0, 2.0, 1.0), (False, True, True))
    assert group.failures == 2
    assert group.survived == pytest.approx(1 / 3)
    assert group.restricted_mean == pytest.approx(8 / 3)
    assert group.mean_time == 4.0
    assert Survival((5.0,), (False,)).mean_time == math.inf
    assert pool([group, group]).failures == 4
