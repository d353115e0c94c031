"""The plan of a study, from invented costs: its arithmetic, its choices and their limits."""

from __future__ import annotations

from dataclasses import replace

import pytest

from muse_lr.ablate.proposal.planning import (
    FEWEST_EPOCHS,
    FEWEST_STEPS,
    MOST_STEPS,
    PLANNED,
    SIZES,
    Task,
    amount_of,
    average_decay,
    divide_steps,
    learning_rate,
    make_plan,
    needed_seconds,
    smaller_studies,
    study_seconds,
    usable_sizes,
    warmup_steps,
)
from muse_lr.train.costs import Amount, Costs

COSTS = Costs(
    start=2.0, read=1.0, draft=0.5, drafted=200, frame=0.001, step=0.02, fastest_step=0.02,
    valid=0.002, test=0.004, checkpoint=0.01, finish=3.0, peak_memory_mb=400, parameters=1000,
)  # fmt: skip
TASK = Task(
    seconds=1800, jobs=2, variants=("a", "b"), frames=1000, valid_share=0.1, graphs=4.0,
    tests={"near": 100, "far": 50},
)  # fmt: skip


def costs(step: float = 0.02, factor: float = 2.0) -> dict[str, dict[str, Costs]]:
    """Costs of both variants for each size; each size takes ``factor`` times the one before."""
    return {
        size.name: {
            "a": replace(COSTS, step=step * factor**k),
            "b": replace(COSTS, step=2 * step * factor**k),
        }
        for k, size in enumerate(SIZES)
    }


def test_the_time_of_a_run_is_the_sum_of_its_stages():
    amount = Amount(epochs=10, steps=2250, train=900, valid=100, test=150)
    stages = [
        2.0,  # start
        1.0,  # reading
        0.5 * 1150 / 200,  # set-up
        0.001 * 1150,  # neighbor lists
        2250 * 0.02,  # steps
        10 * (100 * 0.002 + 0.01),  # validations and checkpoints
        150 * 0.004,  # tests
        48 * 0.002,  # inference time
        3.0,  # report
    ]
    assert COSTS.seconds(amount) == pytest.approx(sum(stages))


def test_the_time_of_a_study_adds_checks_runs_and_report():
    amount = Amount(epochs=10, steps=2250, train=900, valid=100, test=150)
    both = {"a": COSTS, "b": replace(COSTS, step=0.04)}
    first, second = (cost.seconds(amount) for cost in both.values())
    # Two at a time: a, a, then b, a and so on, each as soon as one ends.
    found = study_seconds(TASK, 2, both, amount)
    assert found == pytest.approx(2 + 1 + 2 * 0.5 + first + second + 2 * 3.0)
    alone = study_seconds(replace(TASK, jobs=1), 2, both, amount)
    assert alone - found == pytest.approx(first + second)


@pytest.mark.parametrize("seconds", [120, 300, 1800, 7200])
@pytest.mark.parametrize("step", [0.005, 0.02, 0.1])
def test_a_plan_fits_the_time_and_uses_it(seconds: float, step: float):
    task = replace(TASK, seconds=seconds)
    plan = make_plan(task, costs(step))
    if not plan.enough:
        assert plan.seconds > PLANNED * seconds
        return
    assert plan.seconds <= PLANNED * seconds
    assert plan.steps >= 0.9 * plan.size.steps
    if plan.steps < 0.9 * MOST_STEPS:
        assert plan.seconds > 0.8 * PLANNED * seconds


def test_three_seeds_come_first_then_the_largest_backbone():
    plan = make_plan(replace(TASK, seconds=2400), costs())
    assert (plan.seeds, plan.size.name) == (3, "large")
    plan = make_plan(replace(TASK, seconds=400), costs())
    assert (plan.seeds, plan.size.name) == (3, "medium")
    plan = make_plan(replace(TASK, seconds=110), costs())
    assert (plan.seeds, plan.size.name) == (3, "small")
    plan = make_plan(replace(TASK, seconds=60), costs())
    assert (plan.seeds, plan.size.name) == (2, "small")
    assert plan.enough
    plan = make_plan(replace(TASK, seconds=40), costs())
    assert (plan.seeds, plan.size.name) == (1, "small")
    assert plan.enough


def test_a_time_that_is_too_short_says_what_is_enough():
    task = replace(TASK, seconds=20)
    plan = make_plan(task, costs())
    assert not plan.enough
    assert (plan.seeds, plan.size.name) == (1, "small")
    assert plan.steps == pytest.approx(FEWEST_STEPS, rel=0.1)
    assert make_plan(replace(task, seconds=1.02 * needed_seconds(plan)), costs()).enough


def test_fewer_variants_and_the_time_that_they_need():
    names = ("a", "reference", "slow", "b")
    steps = {"a": 0.02, "reference": 0.01, "slow": 1.0, "b": 0.04}
    known = {"small": {name: replace(COSTS, step=step) for name, step in steps.items()}}
    task = replace(TASK, seconds=20, jobs=1, variants=names)
    found = smaller_studies(task, known, "reference")
    assert [choice for choice, _ in found] == [
        ("a", "reference", "b"), ("a", "reference", "slow"), ("reference", "slow", "b"),
        ("a", "reference"), ("reference", "b"), ("reference", "slow"),
    ]  # fmt: skip
    for choice, seconds in found:
        fewer = replace(task, variants=choice, seconds=1.02 * seconds)
        assert make_plan(fewer, known).enough
        assert not make_plan(replace(fewer, seconds=0.95 * seconds), known).enough
    assert smaller_studies(replace(task, variants=names[:2]), known, "reference") == []


def test_sizes_that_were_not_measured_are_not_planned():
    known = costs(0.001)
    del known["large"]
    assert make_plan(TASK, known).size.name == "medium"
    found = {
        (name, size): cost
        for size, both in costs().items()
        for name, cost in both.items()
        if (name, size) != ("b", "medium")
    }
    assert list(usable_sizes(found, ("a", "b"))) == ["small", "large"]


def test_a_slow_file_gets_fewer_frames_but_several_epochs():
    epochs, frames = divide_steps(TASK, 4500)
    assert (epochs, frames) == (20, 1000)
    epochs, frames = divide_steps(TASK, 225 * FEWEST_EPOCHS)
    assert (epochs, frames) == (FEWEST_EPOCHS, 1000)
    epochs, frames = divide_steps(TASK, 500)
    assert epochs == FEWEST_EPOCHS
    assert frames == pytest.approx(100 * 4 / 0.9, abs=1)
    amount = amount_of(TASK, 500, TASK.tests)
    assert amount.steps == pytest.approx(500, abs=5)
    assert amount.train + amount.valid == frames
    assert amount.test == 150
    few = replace(TASK, frames=12, valid_share=0.5, graphs=16.0)
    assert divide_steps(few, 300) == (300, 12)


def test_tests_that_take_too_long_are_reduced():
    slow = {
        size: {name: replace(cost, test=2.0) for name, cost in both.items()}
        for size, both in costs().items()
    }
    plan = make_plan(replace(TASK, tests={"near": 100, "far": 2000}), slow)
    assert 20 <= plan.tests["near"] < 100
    assert plan.tests["far"] < 2000
    assert sum(plan.tests.values()) * 2.0 < 0.3 * 1800 * PLANNED / 3
    assert make_plan(TASK, costs()).tests == TASK.tests


def test_short_runs_get_a_higher_rate_and_a_shorter_average():
    assert learning_rate(200) == learning_rate(500) == 0.01
    assert learning_rate(5000) == learning_rate(20_000) == 0.002
    assert 0.003 < learning_rate(2000) < 0.005
    assert warmup_steps(5000) is None
    assert warmup_steps(300) == 30
    assert average_decay(5000) is None
    assert average_decay(300) == pytest.approx(0.967)
    assert average_decay(50) == 0.95
