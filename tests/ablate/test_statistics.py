"""Intervals: known values, brute force, coverage."""

from __future__ import annotations

import numpy as np
import pytest

from muse_lr.ablate.statistics import (
    FrameErrors,
    mean_interval,
    paired_difference,
    paired_seeds,
)


def _errors(values, root=False):
    values = np.atleast_2d(values)
    sums = values**2 if root else np.abs(values)
    return FrameErrors(sums, np.ones(values.shape[1]), root)


def test_student_interval_of_three_seeds():
    mean = mean_interval([1.0, 2.0, 3.0])
    assert mean.value == pytest.approx(2.0)
    assert mean.half_width == pytest.approx(4.302652729911275 / np.sqrt(3.0))


def test_a_single_seed_has_no_interval():
    assert mean_interval([1.5]).half_width is None


def test_equal_variants_do_not_differ():
    errors = _errors(np.random.default_rng(0).normal(size=(3, 50)))
    difference = paired_difference(errors, errors)
    assert (difference.value, difference.low, difference.high) == (0.0, 0.0, 0.0)
    assert difference.ratio == 1.0
    assert not difference.excludes_zero


@pytest.mark.parametrize(("factor", "sign"), [(0.5, -1), (2.0, 1)])
def test_better_and_worse_are_found_alike(factor, sign):
    values = np.random.default_rng(0).normal(size=(3, 200))
    difference = paired_difference(_errors(factor * values), _errors(values))
    assert np.sign(difference.value) == np.sign(difference.low) == np.sign(difference.high) == sign
    assert difference.ratio == pytest.approx(factor)
    assert difference.excludes_zero


def test_the_estimate_is_the_difference_of_the_metric():
    rng = np.random.default_rng(1)
    ours, theirs = rng.normal(size=(2, 40)), 2.0 * rng.normal(size=(2, 40))
    difference = paired_difference(_errors(ours, root=True), _errors(theirs, root=True))
    rmse = [np.sqrt((values**2).mean(1)).mean() for values in (ours, theirs)]
    assert difference.value == pytest.approx(rmse[0] - rmse[1])
    assert difference.low < difference.value < difference.high


def test_the_interval_is_reproducible_and_does_not_depend_on_the_block(monkeypatch):
    rng = np.random.default_rng(2)
    pair = _errors(rng.normal(size=(3, 30))), _errors(rng.normal(size=(3, 30)))
    first = paired_difference(*pair)
    assert first == paired_difference(*pair)
    monkeypatch.setattr("muse_lr.ablate.statistics._BLOCK_ELEMENTS", 3000)
    blocked = paired_difference(*pair)
    assert blocked.value == first.value
    assert blocked.low == pytest.approx(first.low, abs=0.05)


def test_the_interval_agrees_with_a_plain_loop_over_frames():
    rng = np.random.default_rng(3)
    ours, theirs = rng.normal(size=(1, 60)), 1.3 * rng.normal(size=(1, 60))
    draws, ratios = [], []
    for _ in range(30_000):
        frames = rng.integers(0, 60, 60)
        first, second = np.abs(ours[0, frames]).mean(), np.abs(theirs[0, frames]).mean()
        draws.append(first - second)
        ratios.append(first / second)
    difference = paired_difference(_errors(ours), _errors(theirs), resamples=30_000)
    found = [difference.low, difference.high, difference.ratio_low, difference.ratio_high]
    quantiles = [0.025, 0.975]
    expected = [*np.quantile(draws, quantiles), *np.quantile(ratios, quantiles)]
    np.testing.assert_allclose(found, expected, atol=0.012)


def test_few_seeds_have_at_least_the_interval_of_student():
    """Three differences of one sign, which a bootstrap over three seeds calls significant."""
    counts = np.ones(4)
    ours = FrameErrors(np.repeat([[17.37], [13.28], [11.0]], 4, 1), counts, False)
    theirs = FrameErrors(np.full((3, 4), 10.0), counts, False)
    difference = paired_difference(ours, theirs)
    half = 4.302653 * np.std([7.37, 3.28, 1.0], ddof=1) / 3**0.5
    assert difference.value == pytest.approx(3.8833, abs=1e-3)
    assert difference.low == pytest.approx(3.8833 - half, abs=1e-3)
    assert difference.high == pytest.approx(3.8833 + half, abs=1e-3)
    assert not difference.significant
    assert difference.ratio_low == pytest.approx(1 + difference.low / 10)


def test_seeds_widen_the_interval():
    rng = np.random.default_rng(4)
    frames = np.abs(rng.normal(size=(1, 400)))
    spread = np.array([[0.0], [0.2], [0.4]])
    zero = FrameErrors(np.zeros((3, 400)), np.ones(400), False)
    alike = paired_difference(FrameErrors(np.repeat(frames, 3, 0), np.ones(400), False), zero)
    apart = paired_difference(FrameErrors(frames + spread, np.ones(400), False), zero)
    assert apart.high - apart.low > 2.0 * (alike.high - alike.low)


def test_frames_without_the_label_do_not_count():
    sums = np.array([[1.0, 0.0, 3.0]])
    counts = np.array([1.0, 0.0, 1.0])
    zero = FrameErrors(np.zeros((1, 3)), counts, False)
    difference = paired_difference(FrameErrors(sums, counts, False), zero)
    assert difference.value == pytest.approx(2.0)
    assert np.isfinite([difference.low, difference.high]).all()
    assert np.isnan(difference.ratio)


def test_the_interval_covers_the_truth_about_as_often_as_it_says():
    rng = np.random.default_rng(5)
    truth = 0.3  # difference of the means of two exponentials
    covered = 0
    for _ in range(200):
        ours, theirs = rng.exponential(1.3, (1, 150)), rng.exponential(1.0, (1, 150))
        difference = paired_difference(_errors(ours), _errors(theirs), resamples=400)
        covered += difference.low <= truth <= difference.high
    assert 0.88 <= covered / 200 <= 0.99


def test_seeds_alone_are_paired_by_the_interval_of_their_differences():
    difference = paired_seeds([9.0, 10.0, 11.5], [10.0, 11.2, 12.8])
    half = mean_interval([-1.0, -1.2, -1.3]).half_width
    mean, theirs = -3.5 / 3, 34.0 / 3
    assert (difference.low, difference.high) == pytest.approx((mean - half, mean + half))
    assert difference.ratio == pytest.approx(30.5 / 34.0)
    assert difference.ratio_high == pytest.approx(1 + (mean + half) / theirs)
    assert difference.significant
    single = paired_seeds([9.0], [10.0])
    assert (single.value, single.seeds) == (-1.0, 1)
    assert np.isnan([single.low, single.high, single.ratio_low, single.ratio_high]).all()
    wide = paired_seeds([1.0, 9.0], [4.0, 6.0])
    assert wide.low < -6.0
    assert wide.ratio_low == 0.0
    assert not single.significant


def test_one_seed_is_not_significant_whatever_its_frames_say():
    values = np.random.default_rng(0).normal(size=(1, 200))
    difference = paired_difference(_errors(0.5 * values), _errors(values))
    assert difference.excludes_zero
    assert not difference.significant


def test_shapes_that_cannot_be_paired_are_refused():
    with pytest.raises(ValueError, match="shapes"):
        paired_difference(_errors(np.ones((2, 3))), _errors(np.ones((3, 3))))
