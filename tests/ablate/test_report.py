"""Aggregation and the report of a study, on fabricated runs; and the command."""

from __future__ import annotations

import argparse
import csv
import json
import re
import runpy
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from ase import Atoms
from ase.io import write

from muse_lr.ablate.aggregate import (
    collect,
    cost,
    differences,
    inconsistencies,
    means,
    write_results,
    write_runs,
)
from muse_lr.ablate.execute import Outcome
from muse_lr.ablate.report.breakdowns import breakdown_tables, predicted_charges, unknown_keys
from muse_lr.ablate.report.outcome import outcomes
from muse_lr.ablate.report.page import study_title, write_study_report
from muse_lr.ablate.report.sentences import result_blocks
from muse_lr.ablate.report.subsets import largest_change
from muse_lr.ablate.report.tables import (
    accuracy_table,
    compact_table,
    cost_table,
    difference_cell,
    interval_notes,
    validation_table,
)
from muse_lr.ablate.report.terminal import terminal_lines
from muse_lr.ablate.statistics import Difference, Mean
from muse_lr.ablate.study import Run
from muse_lr.cli import ablate
from muse_lr.errors import InputError
from muse_lr.reporting.html import text_table
from muse_lr.reporting.predictions import frame_sums

FAKE = SimpleNamespace(**runpy.run_path(str(Path(__file__).resolve().parents[1] / "fabricate.py")))
VARIANTS = {"short_range": False, "charges": True}


def _run(out, variant, seed):
    directory = out / variant / f"seed-{seed}"
    heads = {"coulomb": {"kind": "coulomb"} if VARIANTS[variant] else None}
    training = {"epochs": 5, "seed": seed, "directory": str(directory)}
    config = {"model": {"heads": heads}, "data": {"keys": {}}, "training": training}
    return Run(variant, seed, directory, config)


def _study(out, seeds=(0, 1)):
    runs = [_run(out, variant, seed) for variant in VARIANTS for seed in seeds]
    for run in runs:
        FAKE.write_run(run.directory, VARIANTS[run.variant], run.seed, 5, config=run.config)
    return runs


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    out = tmp_path_factory.mktemp("study")
    runs = _study(out)
    return SimpleNamespace(out=out, runs=runs, results=collect(runs, "short_range"))


@pytest.fixture(scope="module")
def report(study):
    """The page and the Markdown of the study, and its directory."""
    text, description = "base: x # <script>alert(1)</script>", "Does it <help>?"
    out = study.out / "report"
    path = write_study_report(
        study.results, text, "Ions & water", out, description, ["subset", "nowhere"]
    )
    markdown = (out / "report.md").read_text(encoding="utf-8")
    return SimpleNamespace(html=path.read_text(encoding="utf-8"), markdown=markdown, out=out)


def _edit_summary(run, **changes):
    path = run.directory / "summary.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def test_results_are_tidy(study, tmp_path):
    write_results(study.results, tmp_path / "results.csv")
    rows = list(csv.DictReader((tmp_path / "results.csv").open()))
    assert list(rows[0]) == ["variant", "seed", "test", "metric", "value"]
    assert len(rows) == 2 * 2 * 2 * 8  # variants, seeds, tests, metrics
    relative = [r for r in rows if r["metric"] == "relative_energy_mae"]
    assert len(relative) == 2 * 2 * 2
    row = next(r for r in rows if r["variant"] == "charges" and r["seed"] == "1")
    summary = json.loads((study.out / "charges" / "seed-1" / "summary.json").read_text())
    assert float(row["value"]) == summary["tests"][row["test"]][row["metric"]]


def test_runs_have_one_line_each_whatever_their_status(study, tmp_path):
    lost, waiting = _run(tmp_path, "charges", 8), _run(tmp_path, "charges", 9)
    results = collect([*study.runs, lost, waiting], "short_range", failed=[lost])
    write_runs(results, tmp_path / "runs.csv")
    rows = list(csv.DictReader((tmp_path / "runs.csv").open()))
    assert [row["status"] for row in rows] == ["finished"] * 4 + ["failed", "not run"]
    assert rows[0]["parameters"] == "50000"
    assert rows[-1]["parameters"] == ""
    assert set(rows[0]) == {
        "variant", "seed", "status", "parameters", "seconds", "peak_memory_mb",
        "inference_us_per_atom", "best_epoch",
    }  # fmt: skip


def test_means_and_differences_have_the_values_of_the_summaries(study):
    values = {
        variant: [
            json.loads((study.out / variant / f"seed-{seed}" / "summary.json").read_text())["tests"]
            for seed in (0, 1)
        ]
        for variant in VARIANTS
    }
    for metric in ("energy_mae", "forces_rmse", "dipole_mae"):
        expected = {v: np.mean([s["far"][metric] for s in seeds]) for v, seeds in values.items()}
        found = means(study.results, "far", metric)
        difference = differences(study.results, "far", metric)["charges"]
        assert found["charges"].value == pytest.approx(expected["charges"])
        change = expected["charges"] - expected["short_range"]
        assert difference.value == pytest.approx(change, rel=1e-4)
        assert difference.low <= difference.value <= difference.high
    assert differences(study.results, "far", "energy_mae")["charges"].excludes_zero
    assert inconsistencies(study.results) == []
    assert cost(study.results, "charges", "seconds").value == pytest.approx(61.5)


def test_only_seeds_that_both_have_are_paired(tmp_path):
    runs = _study(tmp_path)
    (runs[1].directory / "summary.json").unlink()
    results = collect(runs, "short_range")
    assert differences(results, "far", "energy_mae")["charges"].seeds == 1
    assert means(results, "far", "energy_mae")["short_range"].half_width is None


def test_a_summary_that_its_predictions_contradict_is_reported(tmp_path):
    runs = _study(tmp_path, seeds=(0,))
    summary = json.loads((runs[0].directory / "summary.json").read_text())
    summary["tests"]["far"]["energy_mae"] *= 2.0
    _edit_summary(runs[0], tests=summary["tests"])
    (line,) = inconsistencies(collect(runs, "short_range"))
    assert line.startswith("short_range, seed 0, far: energy_mae")


def test_runs_on_different_frames_are_not_compared(tmp_path):
    runs = _study(tmp_path, seeds=(0,))
    path = runs[0].directory / "predictions-far.extxyz"
    path.write_text(re.sub(r"REF_energy=-", "REF_energy=-1", path.read_text(), count=1))
    with pytest.raises(InputError, match="different frames of 'far'"):
        differences(collect(runs, "short_range"), "far", "energy_mae")


def test_notes_of_the_runs_are_printed_once(tmp_path):
    runs = _study(tmp_path, seeds=(0,))
    for run in runs:
        _edit_summary(run, notes=["test far has no <stress>"])
    results = collect(runs, "short_range")
    write_study_report(results, "", "s", tmp_path)
    assert (tmp_path / "report.md").read_text().count("test far has no &lt;stress&gt;") == 1


def test_a_losing_variant_is_printed_like_a_winning_one():
    won = difference_cell(Difference(-12.34, -14.0, -10.0, 0.5, 3))
    lost = difference_cell(Difference(12.34, 10.0, 14.0, 1.5, 3))
    unclear = difference_cell(Difference(1.0, -1.0, 3.0, 1.1, 3))
    assert (won.text, won.detail, won.strong) == ("−12.3 (×0.50)", "[−14.0, −10.0]", True)
    assert (lost.text, lost.detail, lost.strong) == ("+12.3 (×1.50)", "[+10.0, +14.0]", True)
    assert not unclear.strong


def test_the_report_holds_tables_figures_and_what_was_shared(report):
    html, markdown = report.html, report.markdown
    assert html.count("<script") == 1  # the one that sorts tables
    assert "<script" not in markdown
    for text in (html, markdown):
        for expected in ("Cost beside accuracy", "What was equal", "short_range", "NOT the same"):
            assert expected in text
    figures = {p.stem for p in (report.out / "plots").iterdir()}
    assert figures == {
        "changes", "charges-near", "charges-far", "learning-curves",
        "interaction", "interaction-charges", "error-distance",
        *(f"parity-{test}-{q}" for test in ("near", "far") for q in ("energy", "forces", "dipole")),
    }  # fmt: skip
    assert html.count("data:image/png;base64,") == len(figures)
    links = re.findall(r"\(<(plots/[^>]+)>\)", markdown)
    assert len(links) == len(figures)
    assert all((report.out / link).is_file() for link in links)


def test_the_result_stands_first_in_the_page_and_in_the_markdown(study, report):
    html, markdown = report.html, report.markdown
    near, _, far, lines = result_blocks(study.results)
    assert far.startswith("On the test set `far`, compared with `short_range` (")
    line, subset = lines.lines
    assert re.match(r"`charges`: force error \d+ % lower \[", line)
    start = (
        "Largest of 2 significant changes on subsets: `charges` on subset `sodium-chloride` (27 "
    )
    assert subset.startswith(start + "frames), force error ")
    body = re.sub("</?code>", "`", html.split("<body>")[1].replace("\u00a0", " "))
    order = ["<h1>Ions &amp; water</h1>", near, far, line, "Best on the validation data: `charges`"]
    order += [
        "Best model of `charges`: `",
        "Next, dynamics of this model: `muse-lr md",
        "data:image",
        "Does it &lt;help&gt;?",
        "<nav",
    ]
    places = [body.index(text) for text in order]
    assert places == sorted(places)
    alternative = re.search(r'alt="([^"]*)"', body)[1]
    assert re.search(r"test set far, forces MAE: charges −\d+ % \[−\d+, −\d+\]", alternative)
    assert markdown.startswith(
        "# Ions &amp; water\n\nOn the test set `near`, compared with `short_range` ("
    )
    assert markdown.index("`far`, compared with") < markdown.index("## ")


def test_the_largest_change_on_a_subset_is_that_of_its_frames(study):
    far = outcomes(study.results)[1]
    found = largest_change(study.results, far)
    sums = {}
    for record in study.results.records:
        predictions = record.predictions["far"]
        inside = [info["subset"] == found.name for info in predictions.info]
        absolute, _, count = frame_sums(predictions, "forces")
        mean = absolute[inside].sum() / count[inside].sum()
        sums[record.run.variant] = sums.get(record.run.variant, 0) + mean
    assert found.change.ratio == pytest.approx(sums["charges"] / sums["short_range"], rel=1e-12)
    assert (found.frames, found.count) == (sum(inside), 2)
    # A key with one value, or without any, divides nothing.
    assert largest_change(study.results, far, ["nowhere"]) == found


def test_errors_by_element_and_subset_have_a_column_for_each_variant(study, report):
    tables, others = breakdown_tables(study.results, "far")
    assert others == []  # one size, charge and boundary
    by_element, by_subset, energies = tables
    assert [by_element.columns[0], by_subset.columns[0]] == ["element", "subset"]
    assert "energy MAE (meV/atom) by subset" in energies.caption
    assert list(by_element.columns[1:]) == ["frames", "atoms", "short_range", "charges"]
    assert [row[0].text for row in by_element.rows] == ["N", "O", "Na", "Cl"]
    assert [row[0].text for row in by_subset.rows] == ["ammonium-formate", "sodium-chloride"]
    # The atoms of all elements, and the frames of all subsets, are those of the whole set.
    whole = means(study.results, "far", "forces_mae")
    for table in (by_element, by_subset):
        for column, variant in ((3, "short_range"), (4, "charges")):
            atoms = [float(row[2].text) for row in table.rows]
            errors = [row[column].order for row in table.rows]
            assert np.average(errors, weights=atoms) == pytest.approx(
                whole[variant].value, rel=5e-3
            )
    assert re.fullmatch(r"\(×0\.\d\d\)", by_element.rows[0][4].detail)
    assert not by_element.rows[0][3].detail
    assert "Errors by element and subset" in report.html


def test_a_study_may_choose_the_subsets(study, report):
    tables, _ = breakdown_tables(study.results, "far", ["scan", "nowhere"])
    assert [table.columns[0] for table in tables] == ["element", "scan", "scan"]
    assert unknown_keys(study.results, ["scan", "nowhere"]) == ["nowhere"]
    assert "divided by the info key nowhere" in report.html


def test_charges_of_all_seeds_are_pooled_by_element(study):
    predicted, reference = predicted_charges(study.results, "far")
    assert list(predicted) == ["charges"]  # the other variant has none
    assert reference == {}
    frames = 2 * len(FAKE.frames("far"))
    assert sum(map(len, predicted["charges"].values())) == 2 * frames
    assert predicted["charges"][11].mean() == pytest.approx(0.9, abs=0.01)
    assert predicted["charges"][17].mean() == pytest.approx(-0.9, abs=0.01)


def _one_metric(monkeypatch, ours, theirs, difference):
    module = "muse_lr.ablate.report.tables."
    results = SimpleNamespace(reference="a", metrics=lambda test: ["forces_mae"])
    monkeypatch.setattr(module + "means", lambda *_: {"b": ours, "a": theirs})
    monkeypatch.setattr(module + "differences", lambda *_: {"b": difference})
    return interval_notes(results, "far")


def test_intervals_that_seem_to_disagree_are_explained_with_their_numbers(monkeypatch):
    near = Mean(50.0, 5.0, 3), Mean(53.0, 5.0, 3)
    apart = Mean(40.0, 1.0, 3), Mean(53.0, 1.0, 3)
    sure, unsure = Difference(-3.0, -4.0, -2.0, 0.94, 3), Difference(-13.0, -27.0, 1.0, 0.75, 3)
    (text,) = _one_metric(monkeypatch, *near, sure)
    assert "may overlap" in text
    assert "`b` 50.0 ± 5.0, `a` 53.0 ± 5.0, difference −3.00 [−4.00, −2.00]" in text
    (text,) = _one_metric(monkeypatch, *apart, unsure)
    assert "may be apart" in text
    assert _one_metric(monkeypatch, *apart, sure) == []
    assert _one_metric(monkeypatch, *near, unsure) == []
    assert _one_metric(monkeypatch, Mean(50.0, None, 1), Mean(53.0, None, 1), sure) == []


def test_one_seed_decides_nothing(tmp_path):
    runs = _study(tmp_path, seeds=(0,))
    results = collect(runs, "short_range")
    assert differences(results, "far", "forces_mae")["charges"].excludes_zero
    assert not any(cell.strong for row in compact_table(results).rows for cell in row)
    page = write_study_report(results, "", "s", tmp_path).read_text(encoding="utf-8")
    assert "One seed gives no interval" in page
    assert "nothing is bold" in page


def test_a_study_without_a_test_set_reports_the_validation_errors(tmp_path):
    runs = _study(tmp_path)
    for run in runs:
        _edit_summary(run, tests={}, best_epoch=3)
    results = collect(runs, "short_range")
    page = write_study_report(results, "", "s", tmp_path).read_text(encoding="utf-8")
    assert "On the validation data, compared with <code>short_range</code> (" in page
    assert "give data.test" in page
    table = validation_table(results)
    assert [row[0].text for row in table.rows] == ["short_range", "charges"]
    column = [float(row["valid_forces_mae"]) for row in _metrics(runs[0]) if row["epoch"] == "3"]
    other = [float(row["valid_forces_mae"]) for row in _metrics(runs[1]) if row["epoch"] == "3"]
    assert table.rows[0][3].order == pytest.approx(np.mean([*column, *other]), rel=5e-3)


def _metrics(run):
    return csv.DictReader((run.directory / "metrics.csv").open())


@pytest.mark.parametrize(
    ("path", "given", "title"),
    [
        ("examples/long_range-of_ions/study.yaml", None, "Long range of ions"),
        ("my_first-study.yaml", None, "My first study"),
        ("study.yaml", "Ions", "Ions"),
    ],
)
def test_titles_come_from_names(path, given, title):
    assert study_title(Path("/") / path, given) == title


def test_failed_and_missing_runs_stand_on_top_of_the_report(tmp_path):
    runs = _study(tmp_path, seeds=(0,))
    lost, waiting = _run(tmp_path, "charges", 8), _run(tmp_path, "charges", 9)
    lost.log_path.write_text("loss is NaN at <b>step</b> 7\n")
    results = collect([*runs, lost, waiting], "short_range", failed=[lost])
    html = write_study_report(results, "", "s", tmp_path).read_text(encoding="utf-8")
    assert "loss is NaN at &lt;b&gt;step&lt;/b&gt; 7" in html
    assert "Not run yet: charges/seed-9" in html


def test_the_terminal_table_marks_what_differs(study):
    text = text_table(compact_table(study.results))
    assert re.search(r"^charges .*\(×0\.01\d\) \*", text, re.MULTILINE)
    assert "short_range (reference)" in text
    assert max(map(len, text.splitlines())) < 160


def test_tables_have_the_scale_and_the_spread_of_times(study):
    table = accuracy_table(study.results, "far")
    *variants, scale = table.rows
    assert [row[0].text for row in variants] == ["short_range", "charges"]
    assert (scale[0].whole, scale[1].text) == ("mean predictor (fitted to the test set)", "–")
    forces = np.concatenate([a.arrays["REF_forces"].ravel() for a in FAKE.frames("far")])
    column = list(table.columns).index("forces RMSE (meV/Å)")
    assert scale[column].order == pytest.approx(1000 * np.sqrt((forces**2).mean()), rel=5e-3)
    assert "relative energy MAE (meV/atom)" in table.columns
    assert (
        compact_table(study.results).rows[-1][0].whole == "mean predictor (fitted to the test set)"
    )
    times = cost_table(study.results).rows[0][2]
    assert times.whole == "1 min 02 s (1 min 01 s to 1 min 02 s)"


def test_the_terminal_ends_with_the_result_and_the_next_command(study, monkeypatch):
    monkeypatch.chdir(study.out)
    lines = terminal_lines(study.results, Path("report.html"))
    assert lines[0].startswith("All ")
    report = lines.index("report: report.html")
    assert all(line.startswith("warning: ") for line in lines[report + 1 : -9])
    near, first, part, far, second, other, best, model, command = lines[-9:]
    assert near.startswith("On the test set `near`, compared with `short_range`")
    assert far.startswith("On the test set `far`")
    assert first.startswith("  `charges`: force error ")
    assert second.startswith("  `charges`: force error ")
    assert part.startswith("  Largest of 2 significant changes on subsets: ")
    assert other.startswith("  Largest of 2 significant changes on subsets: ")
    assert best.startswith("Best on the validation data: `charges`, force error (MAE) ")
    seed = re.fullmatch(r"model: charges/seed-(\d)/model\.pt", model)[1]
    assert (
        command
        == f"next, dynamics of this model: muse-lr md charges/seed-{seed}/model.pt FILE --ps 5"
    )


def test_the_reference_may_be_missing(study):
    results = collect([r for r in study.runs if r.variant == "charges"], "short_range")
    assert differences(results, "far", "energy_mae") == {}
    assert "charges" in text_table(compact_table(results))


@pytest.fixture
def command(tmp_path, monkeypatch):
    frames = [Atoms("OH", [[0, 0, 0], [0, 0, 1 + 0.01 * i]]) for i in range(12)]
    for atoms in frames:
        atoms.info["REF_energy"] = -1.0
        atoms.arrays["REF_forces"] = np.zeros((2, 3))
    write(tmp_path / "t.xyz", frames, format="extxyz")
    base = {"data": {"train": "t.xyz"}, "training": {"epochs": 5, "batch": {"graphs": 4}}}
    (tmp_path / "base.yaml").write_text(json.dumps(base))
    study = {"base": "base.yaml", "reference": "a", "seeds": [0], "variants": {"a": {}, "b": {}}}
    (tmp_path / "mine.yaml").write_text(json.dumps(study))
    monkeypatch.chdir(tmp_path)

    def call(*arguments):
        parser = argparse.ArgumentParser()
        ablate.add_arguments(parser)
        return ablate.run(parser.parse_args(["mine.yaml", *arguments]))

    return call


def test_plan_prints_the_runs_and_writes_nothing(command, capsys, tmp_path):
    assert command("--plan") == 0
    out, err = capsys.readouterr()
    assert "a/seed-0" in out
    assert "directory: runs_mine" in out
    assert re.search(r"a/seed-0 +to run +[\d,]+ +5 +15 +55", out)  # 11 structures to train on
    assert "All that was compared is equal for all variants: epochs (5), steps (15)" in out
    assert "variants a and b are the same" in err
    assert not (tmp_path / "runs_mine").exists()


def test_the_command_exits_with_1_when_a_run_failed(command, capsys, tmp_path, monkeypatch):
    def fake(runs, jobs):
        assert jobs == 2
        FAKE.write_run(runs[0].directory, config=runs[0].config)
        return Outcome(finished=[runs[0]], failed=[runs[1]])

    monkeypatch.setattr("muse_lr.ablate.execute.execute", fake)
    assert command("--out", "here", "--jobs", "2") == 1
    out, err = capsys.readouterr()
    assert "report: here/report.html" in out
    assert "No variant is compared: `a` is the only one with a finished run." in out
    assert "warning: Left out, because failed: `b/seed-0` (1 of 2 runs)." in out
    assert "1 runs failed (b/seed-0)" in err
    for name in ("results.csv", "runs.csv", "report.md", "report.html"):
        assert (tmp_path / "here" / name).is_file()


def test_one_run_alone_is_trained_and_reported_with_what_is_finished(
    command, capsys, tmp_path, monkeypatch
):
    trained = []

    def fake(runs, jobs):
        trained.append([run.name for run in runs])
        FAKE.write_run(runs[0].directory, config=runs[0].config)
        return Outcome(finished=runs)

    monkeypatch.setattr("muse_lr.ablate.execute.execute", fake)
    assert command("--only", "b") == 0
    assert command("--only", "a/seed-0") == 0
    assert "On the test set `far`, compared with `a` (" in capsys.readouterr().out
    assert trained == [["b/seed-0"], ["a/seed-0"]]
    rows = (tmp_path / "runs_mine/runs.csv").read_text().splitlines()
    assert [row.split(",")[0] for row in rows[1:]] == ["a", "b"]
    assert command("--only", "b", "--plan") == 0
    assert "1 runs, 1 finished" in capsys.readouterr().out


def test_the_command_exits_with_130_when_interrupted(command, monkeypatch):
    def interrupted(runs, jobs):
        raise KeyboardInterrupt

    monkeypatch.setattr("muse_lr.ablate.execute.execute", interrupted)
    assert command() == 130


@pytest.mark.parametrize("jobs", ["0", "-1", "many"])
def test_jobs_must_be_positive(command, jobs):
    with pytest.raises(SystemExit) as caught:
        command("--jobs", jobs)
    assert caught.value.code == 2
