"""The first sentence of a report, for every kind of result."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from muse_lr.ablate.aggregate import Record, Results
from muse_lr.ablate.report.outcome import outcomes, result_notes, result_sentences
from muse_lr.ablate.study import Run
from muse_lr.reporting.predictions import Predictions, Quantity

FRAMES = 60


def predictions(test, forces, energy):
    """Frames of one atom whose errors have the given sizes, (FRAMES,) each."""
    quantities = {}
    for label, errors, width in (("forces", forces, 3), ("energy", energy, 1)):
        if errors is not None:
            frame = np.repeat(np.arange(FRAMES), width)
            index = np.zeros_like(frame)
            predicted = np.repeat(errors, width) / 1000.0
            zero = np.zeros_like(predicted)
            quantities[label] = Quantity(zero, predicted, frame, index, index, index)
    ones = np.ones(FRAMES)
    nothing = [""] * FRAMES
    return Predictions(
        name=test, num_atoms=ones, distance=np.nan * ones, elements=(1,), composition=ones[:, None],
        formula=nothing, boundary=nothing, total_charge=0 * ones, info=[{}] * FRAMES, scan=nothing,
        quantities=quantities, parts={}, interaction={},
    )  # fmt: skip


def finished(variant, seed, tests, status="finished"):
    """A run with errors ``{test: (force error, energy error)}``, whose frames and seeds scatter."""
    rng = np.random.default_rng([seed, 7])
    scatter = (1 + 0.02 * rng.normal()) * (1 + 0.1 * np.random.default_rng(5).normal(size=FRAMES))
    scatter *= 1 + 0.01 * np.random.default_rng([seed, *variant.encode()]).normal(size=FRAMES)
    found, metrics = {}, {}
    for test, sizes in tests.items():
        errors = [None if size is None else np.abs(size * scatter) for size in sizes]
        found[test] = predictions(test, *errors)
        named = {"forces_mae": errors[0], "energy_mae": errors[1]}
        metrics[test] = {k: float(v.mean()) for k, v in named.items() if v is not None}
    run = Run(variant, seed, Path(variant, f"seed-{seed}"), {})
    return Record(
        run, status, {"tests": metrics} if found or status == "finished" else {}, {}, found
    )


def study(errors, seeds=(0, 1, 2), more=()):
    """Results of ``{variant: {test: (force error, energy error)}}``; the first is the reference."""
    records = [finished(v, seed, tests) for v, tests in errors.items() for seed in seeds]
    return Results(next(iter(errors)), [*records, *more])


def lost(variant, seed, status):
    return Record(Run(variant, seed, Path(variant), {}), status)


def test_better_worse_and_unclear_variants_in_one_sentence():
    results = study(
        {
            "short_range": {"far": (50, 50)},
            "unclear": {"far": (50.01, 50.01)},
            "charges": {"far": (43, 43)},
            "worse": {"far": (60, 60)},
            "terrible": {"far": (175, 175)},
            "best": {"far": (25, 25)},
        }
    )
    (sentence,) = result_sentences(results)
    start = "On the test set far, compared with short_range ("
    assert sentence.startswith(start)
    value, _, text = sentence.removeprefix(start).partition("), the force error (MAE) is ")
    assert value.endswith(" meV/Å")
    assert " ± " in value
    lower, higher, unclear = text.removesuffix(".").split("; ")
    # The largest effects come first, and each has its interval.
    assert lower.startswith("50 % lower with best [45, 55], 14 % lower with charges [1")
    assert higher.startswith("3.5 times as large with terrible [3.")
    assert ", 20 % higher with worse [" in higher
    assert re.fullmatch(
        r"not significantly different with unclear \(0\.0 % \[−0\.\d, \+0\.\d\]\)", unclear
    )
    (note,) = result_notes(results)
    assert "95 % intervals" in note
    assert "3 seeds" in note


def test_the_numbers_are_those_of_the_tables():
    results = study({"a": {"far": (50, 50)}, "b": {"far": (43, 30)}})
    forces, energy = (outcomes(results, (m,))[0] for m in ("forces_mae", "energy_mae"))
    for outcome, ratio in ((forces, 0.86), (energy, 0.6)):
        change = outcome.changes["b"]
        assert change.ratio == pytest.approx(ratio, rel=0.01)
        assert change.ratio_low <= change.ratio <= change.ratio_high
        ratio_of_means = outcome.values["b"].value / outcome.values["a"].value
        assert change.ratio == pytest.approx(ratio_of_means)


def test_energies_that_say_something_else_get_a_second_sentence():
    same = study({"a": {"far": (50, 50)}, "b": {"far": (25, 40)}})
    other = study({"a": {"far": (50, 50)}, "b": {"far": (25, 110)}})
    assert "energy" not in result_sentences(same)[0]
    (line,) = result_sentences(other)
    assert line.count("On the test set far") == 1
    assert "% lower with b [" in line
    assert ". The energy error (MAE) is 2.2 times as large with b [" in line


def test_a_test_set_without_forces_is_compared_by_energies():
    results = study({"a": {"e": (None, 10)}, "b": {"e": (None, 5)}})
    (sentence,) = result_sentences(results)
    assert "the energy error (MAE) is 50 % lower with b [" in sentence
    assert "meV/atom), the energy" in sentence


def test_one_seed_gives_no_interval():
    results = study({"a": {"far": (50, 50)}, "b": {"far": (40, 40)}}, seeds=(0,))
    first, second = result_sentences(results)
    assert "20 % lower with b." in first
    assert "[" not in first
    assert "±" not in first
    assert "significant" not in first
    assert second.startswith("One seed gives no interval")
    assert result_notes(results) == []


def test_a_variant_with_one_seed_among_others_is_marked():
    records = [finished("a", s, {"far": (50, 50)}) for s in (0, 1, 2)]
    records += [finished("b", s, {"far": (40, 40)}) for s in (0, 1, 2)]
    records += [finished("c", 1, {"far": (30, 30)}), lost("c", 0, "failed"), lost("c", 2, "failed")]
    first, left_out = result_sentences(Results("a", records))
    assert "with c (one seed, no interval)" in first
    assert "20 % lower with b [" in first
    assert left_out == "Left out, because failed: c/seed-0 and c/seed-2 (2 of 9 runs)."
    assert "1 to 3 seeds" in result_notes(Results("a", records))[0]


def test_many_lost_runs_are_not_all_named():
    more = [*(lost("c", s, "failed") for s in range(6)), lost("d", 0, "not run")]
    results = study({"a": {"far": (5, 5)}, "b": {"far": (4, 4)}}, more=more)
    _, failed, waiting = result_sentences(results)
    names = "c/seed-0, c/seed-1, c/seed-2, c/seed-3 and 2 more"
    assert failed == f"Left out, because failed: {names} (6 of 13 runs)."
    assert waiting == "Left out, because not finished: d/seed-0 (1 of 13 runs)."


@pytest.mark.parametrize("seeds", [(0,), (0, 1, 2)])
def test_a_copy_of_the_reference_is_called_the_same(seeds):
    results = study({"a": {"far": (50, 50)}}, seeds)
    copies = [
        Record(Run("copy", r.run.seed, r.run.directory, {}), r.status, r.summary, {}, r.predictions)
        for r in results.records
    ]
    first, *_ = result_sentences(Results("a", [*results.records, *copies]))
    assert first.endswith("the force error (MAE) is exactly the same with copy.")


def test_test_sets_that_disagree_are_announced():
    results = study(
        {
            "a": {"near": (50, 50), "far": (50, 50)},
            "b": {"near": (60, 60), "far": (25, 25)},
            "c": {"near": (40, 40), "far": (40, 40)},
        }
    )
    first, near, far = result_sentences(results)
    assert first == (
        "The result depends on the test set: with b the error is lower on far and higher on near."
    )
    assert near.startswith("On the test set near")
    assert "20 % higher with b" in near
    assert "50 % lower with b" in far


def test_without_the_reference_nothing_is_compared():
    records = [lost("a", 0, "failed"), finished("b", 0, {"far": (40, 40)})]
    first, second, third = result_sentences(Results("a", records))
    assert first == "No variant is compared: the reference a has no finished run."
    assert second.startswith("On the test set far, the force error (MAE) is 3")
    assert second.endswith("meV/Å with b.")
    assert "a/seed-0" in third


def test_one_variant_alone_and_seeds_apart():
    alone = study({"a": {"far": (50, 50)}})
    assert result_sentences(alone)[0] == (
        "No variant is compared: a is the only one with a finished run."
    )
    assert "±" in result_sentences(alone)[1]
    records = [finished("a", 0, {"far": (50, 50)}), finished("b", 1, {"far": (50, 50)})]
    apart = result_sentences(Results("a", records))
    assert apart[0] == "No variant is compared: none has a seed and an error in common with a."
    assert "meV/Å with a and " in apart[1]


def test_a_reference_without_errors_gives_differences_in_units():
    results = study({"a": {"far": (0, 0)}, "b": {"far": (5, 5)}})
    (sentence,) = result_sentences(results)
    assert "with b (+5" in sentence or "with b (+4.9" in sentence
    assert "meV/Å [+" in sentence
    assert "nan" not in sentence


def on_validation(variant, seed, error):
    curves = {
        "epoch": np.array([1.0, 2.0, 3.0]),
        "valid_forces_mae": np.array([200.0, error, 1.0]),
        "valid_energy_mae": np.array([20.0, error / 10, 1.0]),
    }
    summary = {"tests": {}, "best_epoch": 2}
    return Record(Run(variant, seed, Path(variant), {}), "finished", summary, curves)


def test_without_a_test_set_the_best_epochs_are_compared():
    records = [on_validation("a", s, 50 + s) for s in range(3)]
    records += [on_validation("b", s, 40 + s) for s in range(3)]
    results = Results("a", records)
    (sentence,) = result_sentences(results)
    assert sentence.startswith("On the validation data, compared with a (51.0 ± 2.5 meV/Å), the ")
    assert "is 20 % lower with b [20, 20]." in sentence
    interval, warning = result_notes(results)
    assert "frame" not in interval
    assert "data.test" in warning
    single = Results("a", [record for record in records if record.run.seed == 0])
    first, second = result_sentences(single)
    assert first.endswith("the force error (MAE) is 20 % lower with b.")
    assert second.startswith("One seed")


def test_runs_without_any_error_are_no_comparison():
    records = [finished(v, 0, {}) for v in "ab"]
    assert outcomes(Results("a", records)) == []
    assert result_sentences(Results("a", records)) == [
        "No variant is compared: none has a seed and an error in common with a."
    ]
