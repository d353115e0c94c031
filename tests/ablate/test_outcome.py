"""The result of a study in words, for every kind of result."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from muse_lr.ablate.aggregate import Record, Results
from muse_lr.ablate.report.outcome import outcomes
from muse_lr.ablate.report.sentences import result_blocks, result_notes, result_warnings
from muse_lr.ablate.study import Run
from muse_lr.reporting.html import Items
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


def lines(results):
    """Headings and sentences, with the lines of their lists."""
    blocks = result_blocks(results)
    return [line for x in blocks for line in (x.lines if isinstance(x, Items) else [x])]


def test_better_worse_and_unclear_variants_have_a_line_each():
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
    heading, *found = lines(results)
    assert re.fullmatch(
        r"On the test set `far`, compared with `short_range` \(MAE: forces \S+ ± \S+ meV/Å, "
        r"energy \S+ ± \S+ meV/atom\):",
        heading,
    )
    # The best variant comes first, and each change has its interval.
    best, charges, unclear, worse, terrible = found
    assert best.startswith("`best`: force error 50 % lower [45, 55], energy error 50 %")
    assert charges.startswith("`charges`: force error 14 % lower [1")
    assert worse.startswith("`worse`: force error 20 % higher [")
    assert terrible.startswith("`terrible`: force error 3.5 times as large [3.")
    assert re.match(
        r"`unclear`: force error not significantly different "
        r"\(0\.0 % \[−0\.\d, \+0\.\d\]\), energy error ",
        unclear,
    )
    (note,) = result_notes(results)
    assert "95 % intervals" in note
    assert "3 seeds" in note
    assert result_warnings(results) == []


def test_the_numbers_are_those_of_the_tables():
    results = study({"a": {"far": (50, 50)}, "b": {"far": (43, 30)}})
    forces, energy = (outcomes(results, (m,))[0] for m in ("forces_mae", "energy_mae"))
    for outcome, ratio in ((forces, 0.86), (energy, 0.6)):
        change = outcome.changes["b"]
        assert change.ratio == pytest.approx(ratio, rel=0.01)
        assert change.ratio_low <= change.ratio <= change.ratio_high
        ratio_of_means = outcome.values["b"].value / outcome.values["a"].value
        assert change.ratio == pytest.approx(ratio_of_means)


def test_energies_may_say_something_else_than_forces():
    _, line = lines(study({"a": {"far": (50, 50)}, "b": {"far": (25, 110)}}))
    assert line.startswith("`b`: force error 50 % lower [")
    assert ", energy error 2.2 times as large [" in line


def test_a_test_set_without_forces_is_compared_by_energies():
    heading, line = lines(study({"a": {"e": (None, 10)}, "b": {"e": (None, 5)}}))
    assert "(MAE: energy " in heading
    assert "force" not in heading
    assert line.startswith("`b`: energy error 50 % lower [")


@pytest.mark.parametrize("seeds", [(0,), (0, 1, 2)])
def test_both_is_compared_with_its_part_directly(seeds):
    """It is 20 % better than charges, which the comparison with the reference does not say."""
    sizes = {"short_range": 50, "charges": 25, "muse": 50, "both": 20}
    results = study({name: {"far": (size, size)} for name, size in sizes.items()}, seeds)
    assert sum("compared with" in line for line in lines(results)) == 2
    charges = lines(results)[-1]
    assert charges.startswith("`both` compared with `charges`: force error 20 % lower")
    assert ("[" in charges) == (len(seeds) > 1)
    without = {name: {"far": (sizes[name],) * 2} for name in ("short_range", "muse", "both")}
    muse = lines(study(without, seeds))[-1]
    assert muse.startswith("`both` compared with `muse`: force error 60 % lower")
    reference = study({name: {"far": (sizes[name],) * 2} for name in ("charges", "both")}, seeds)
    assert not any("compared with `charges`:" in line for line in lines(reference))


def test_one_seed_gives_no_interval():
    results = study({"a": {"far": (50, 50)}, "b": {"far": (40, 40)}}, seeds=(0,))
    preliminary, heading, line = lines(results)
    assert preliminary.startswith("Preliminary: each variant has one seed. The order of the ")
    assert line == "`b`: force error 20 % lower, energy error 20 % lower"
    assert "±" not in heading
    (warning,) = result_warnings(results)
    assert warning.startswith("One seed gives no interval")
    assert "`seeds: [0, 1, 2]`" in warning
    assert result_notes(results) == []


def test_a_variant_with_one_seed_among_others_is_marked():
    records = [finished("a", s, {"far": (50, 50)}) for s in (0, 1, 2)]
    records += [finished("b", s, {"far": (40, 40)}) for s in (0, 1, 2)]
    records += [finished("c", 1, {"far": (30, 30)}), lost("c", 0, "failed"), lost("c", 2, "failed")]
    _, c, b = lines(Results("a", records))
    assert c.startswith("`c`: force error 4")
    assert "(one seed, no interval)" in c
    assert "force error 20 % lower [" in b
    (left_out,) = result_warnings(Results("a", records))
    assert left_out == "Left out, because failed: `c/seed-0` and `c/seed-2` (2 of 9 runs)."
    assert "1 to 3 seeds" in result_notes(Results("a", records))[0]


def test_many_lost_runs_are_not_all_named():
    more = [*(lost("c", s, "failed") for s in range(6)), lost("d", 0, "not run")]
    results = study({"a": {"far": (5, 5)}, "b": {"far": (4, 4)}}, more=more)
    failed, waiting = result_warnings(results)
    names = "`c/seed-0`, `c/seed-1`, `c/seed-2`, `c/seed-3` and 2 more"
    assert failed == f"Left out, because failed: {names} (6 of 13 runs)."
    assert waiting == "Left out, because not finished: `d/seed-0` (1 of 13 runs)."


@pytest.mark.parametrize("seeds", [(0,), (0, 1, 2)])
def test_a_copy_of_the_reference_is_called_the_same(seeds):
    results = study({"a": {"far": (50, 50)}}, seeds)
    copies = [
        Record(Run("copy", r.run.seed, r.run.directory, {}), r.status, r.summary, {}, r.predictions)
        for r in results.records
    ]
    *_, line = lines(Results("a", [*results.records, *copies]))
    same = "exactly the same"
    assert line == f"`copy`: force error {same}, energy error {same}"


def test_test_sets_that_disagree_are_announced():
    results = study(
        {
            "a": {"near": (50, 50), "far": (50, 50)},
            "b": {"near": (60, 60), "far": (25, 25)},
            "c": {"near": (40, 40), "far": (40, 40)},
        }
    )
    first, near, c, b, far, *_ = lines(results)
    assert first == (
        "The result depends on the test set: with `b` the error is lower on `far` and higher on "
        "`near`."
    )
    assert near.startswith("On the test set `near`")
    assert c.startswith("`c`: force error 20 % lower")
    assert b.startswith("`b`: force error 20 % higher")
    assert far.startswith("On the test set `far`")


def test_without_the_reference_nothing_is_compared():
    records = [lost("a", 0, "failed"), finished("b", 0, {"far": (40, 40)})]
    first, second = lines(Results("a", records))
    assert first == "No variant is compared: the reference `a` has no finished run."
    assert second.startswith("On the test set `far`, the force error (MAE) is 3")
    assert second.endswith("meV/Å with `b`.")
    assert "`a/seed-0`" in result_warnings(Results("a", records))[0]


def test_one_variant_alone_and_seeds_apart():
    alone = lines(study({"a": {"far": (50, 50)}}))
    assert alone[0] == "No variant is compared: `a` is the only one with a finished run."
    assert "±" in alone[1]
    records = [finished("a", 0, {"far": (50, 50)}), finished("b", 1, {"far": (50, 50)})]
    apart = lines(Results("a", records))
    assert apart[0] == "No variant is compared: none has a seed and an error in common with `a`."
    assert "meV/Å with `a` and " in apart[1]


def test_a_reference_without_errors_gives_differences_in_units():
    _, line = lines(study({"a": {"far": (0, 0)}, "b": {"far": (5, 5)}}))
    assert re.search(r"force error different by \+(5|4\.9)\S* meV/Å \[\+", line)
    assert "nan" not in line


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
    heading, line = lines(results)
    start = "On the validation data, compared with `a` (MAE: forces 51.0 ± 2.5 meV/Å, "
    assert heading.startswith(start)
    assert line.startswith("`b`: force error 20 % lower [20, 20], energy error 20 %")
    interval, warning = result_notes(results)
    assert "frame" not in interval
    assert "data.test" in warning
    single = Results("a", [record for record in records if record.run.seed == 0])
    assert lines(single)[2].startswith("`b`: force error 20 % lower, ")
    assert result_warnings(single)[0].startswith("One seed")


def test_runs_without_any_error_are_no_comparison():
    records = [finished(v, 0, {}) for v in "ab"]
    assert outcomes(Results("a", records)) == []
    assert lines(Results("a", records)) == [
        "No variant is compared: none has a seed and an error in common with `a`."
    ]
