"""The first screen of a report: what was equal for all variants and what was not."""

from __future__ import annotations

import json
import re
import runpy
from pathlib import Path
from types import SimpleNamespace

import pytest

from muse_lr.ablate.aggregate import collect
from muse_lr.ablate.compare import describe
from muse_lr.ablate.equality import measured_equality
from muse_lr.ablate.report.page import write_study_report
from muse_lr.ablate.study import Run
from muse_lr.config.yaml import dump_yaml

FAKE = SimpleNamespace(**runpy.run_path(str(Path(__file__).resolve().parents[1] / "fabricate.py")))


def study(out: Path, **training) -> list[Run]:
    runs = []
    for variant in ("short_range", "charges"):
        for seed in (0, 1):
            directory = out / variant / f"seed-{seed}"
            settings = {"epochs": 5, "seed": seed, "loss": {"energy": 1.0}, "dtype": "float32"}
            settings |= training.get(variant, {})
            config = {"model": {}, "data": {"keys": {}}, "training": settings}
            FAKE.write_run(directory, variant == "charges", seed, 5, config=config)
            runs.append(Run(variant, seed, directory, config))
    return runs


def edit(run: Run, **changes) -> None:
    path = run.directory / "summary.json"
    summary = json.loads(path.read_text())
    for key, value in changes.items():
        if isinstance(value, dict):
            value = {**summary[key], **value}
        summary[key] = value
    path.write_text(json.dumps(summary))


def unequal(runs: list[Run]) -> str:
    return "; ".join(measured_equality(collect(runs, "short_range")).unequal)


def equal(runs: list[Run]) -> list[str]:
    return measured_equality(collect(runs, "short_range")).equal


def test_equal_runs_are_equal(tmp_path):
    lines = measured_equality(collect(study(tmp_path), "short_range")).lines()
    assert len(lines) == 1
    assert lines[0].startswith("All that was compared is equal for all variants: epochs (5), steps")
    for topic in ("batches", "training data", "device (cpu)", "seeds (0, 1)", "precision"):
        assert topic in lines[0]


def test_one_line_counts_what_is_equal(tmp_path):
    runs = study(tmp_path)
    (line,) = measured_equality(collect(runs, "short_range")).lines(short=True)
    assert re.fullmatch(
        r"All \d+ settings and measurements that were compared are equal for all variants\.", line
    )
    edit(runs[2], work={"steps": 36})
    first, steps, line = measured_equality(collect(runs, "short_range")).lines(short=True)
    assert (first, steps[:8]) == ("Not equal for all variants:", "- steps:")
    part, whole = re.match(r"(\d+) of (\d+) settings", line).groups()
    assert int(whole) == int(part) + 1


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"work": {"steps": 36}}, "steps: 35 in `short_range`; 36 in `charges`"),
        ({"work": {"batches": "f"}}, "batches: `short_range` differs from `charges`"),
        (
            {"work": {"largest_rate": 0.5}},
            "largest learning rate: 0.00100 in `short_range`; 0.500 in `charges`",
        ),
        ({"work": {"rates": "f"}}, "learning rates of all steps"),
        ({"processes": 2}, "processes: 1 in `short_range`; 1, 2 in `charges`"),
        ({"initial_weights": {"backbone": "f"}}, "initial weights of backbone: `short_range`"),
        ({"work": {"epochs": 3}}, "early stopping ended `charges/seed-0` after 3 of 5 epochs"),
        (
            {"fingerprints": {"training data": "f"}},
            "training data: `short_range` differs from `charges`",
        ),
        ({"fingerprints": {"E0s": "f"}}, "E0s: none in `short_range`; f in `charges`"),
        ({"device": "cuda"}, "device: cpu in `short_range`; cpu, cuda in `charges`"),
    ],
)
def test_what_a_run_did_otherwise_is_named(tmp_path, changes, said):
    runs = study(tmp_path)
    edit(runs[2], **changes)
    assert said in unequal(runs)


def test_settings_and_seeds_are_compared(tmp_path):
    runs = study(tmp_path, charges={"dtype": "float64", "loss": {"energy": 1.0, "forces": 2.0}})
    text = unequal(runs)
    assert "precision: float32 in `short_range`; float64 in `charges`" in text
    assert "loss: forces not set in `short_range`; 2.00 in `charges`" in text
    (runs[3].directory / "summary.json").unlink()
    assert "seeds: 0, 1 in `short_range`; 0 in `charges`" in unequal(runs)


def test_nothing_of_a_seed_is_called_equal_without_a_common_seed(tmp_path):
    """One variant finished seed 0, the other seed 1; the settings are compared all the same."""
    runs = study(tmp_path, charges={"loss": {"energy": 3.0}})
    edit(runs[3], work={"steps": 976})
    results = collect([runs[0], runs[3]], "short_range")
    equality = measured_equality(results)
    assert equality.unequal == [
        "loss: energy 1.00 in `short_range`; 3.00 in `charges`",
        "seeds: 0 in `short_range`; 1 in `charges`",
    ]
    assert "No two variants have a common seed. Not compared: epochs, steps, " in equality.gap()
    assert "initial weights of backbone" in equality.gap()
    assert not {"steps (35)", "batches", "training data"} & set(equality.equal)
    assert "precision (float32)" in equality.equal
    assert "device (cpu)" in equality.equal


def test_a_pair_with_a_common_seed_does_not_speak_for_all(tmp_path):
    runs = study(tmp_path)
    third = study(tmp_path / "third", charges={"seed": 2})[2]
    third = Run("third", 2, third.directory, third.config)
    equality = measured_equality(collect([*runs, third], "short_range"))
    assert equality.gap().startswith("No seed is common to all variants. Not compared: epochs")
    assert not any(phrase.startswith("batches") for phrase in equality.equal)
    edit(runs[2], work={"batches": "f"})
    text = unequal([*runs, third])
    assert "batches: `short_range` differs from `charges`" in text


def test_parts_of_other_settings_may_start_with_other_weights(tmp_path):
    runs = study(tmp_path)
    assert any("parts with equal settings (backbone)" in phrase for phrase in equal(runs))
    edit(runs[2], initial_weights={"backbone": "f"})
    runs[2] = Run("charges", 0, runs[2].directory, {**runs[2].config, "model": {"backbone": 5}})
    assert "initial weights" not in unequal(runs)


def test_three_groups_are_told_apart(tmp_path):
    values = {"a": "0" * 16, "b": "1" * 16, "c": "2" * 16, "d": "0" * 16}
    assert describe("batches", values) == "batches: `a` and `d` differ from `b` and from `c`"
    files = {"a": {"train": ["/x/t.xyz"], "valid": 0.1}, "b": {"train": ["/y/t.xyz"], "valid": 0.1}}
    assert describe("data", files) == "data: train ['/x/t.xyz'] in `a`; ['/y/t.xyz'] in `b`"


def test_the_configurations_are_those_completed_by_training(tmp_path, monkeypatch):
    """avg_num_neighbors depends on the cutoff and is only known from the data."""
    monkeypatch.setattr("muse_lr.ablate.report.page.figure_sections", lambda *_: [])
    runs = study(tmp_path)
    for run in runs:
        found = 12.34 if run.variant == "charges" else 5.67
        backbone = {"kind": "mace", "avg_num_neighbors": found + 0.001 * run.seed}
        dump_yaml({**run.config, "model": {"backbone": backbone}}, run.directory / "config.yaml")
    (runs[2].directory / "summary.json").unlink()  # seed 0: seed 1 is the first common one
    write_study_report(collect(runs, "short_range"), "", "s", tmp_path)
    for name in ("report.md", "report.html"):
        text = (tmp_path / name).read_text(encoding="utf-8")
        start = text.index("Configurations")
        assert start < text.index("model.backbone.avg") < text.index("5.671") < text.index("12.341")


def test_it_stands_above_the_tables_in_both_reports(tmp_path, monkeypatch):
    monkeypatch.setattr("muse_lr.ablate.report.page.figure_sections", lambda *_: [])
    runs = study(tmp_path)
    edit(runs[2], work={"steps": 976})
    write_study_report(collect(runs, "short_range"), "", "s", tmp_path)
    for name in ("report.md", "report.html"):
        text = (tmp_path / name).read_text(encoding="utf-8")
        text = re.sub("</?code>", "`", text)
        item = text.index("steps: 35 in `short_range`; 976 in `charges`")
        assert text.index("Not equal for all variants:") < item < text.index("Test set near: ")
        assert re.search(r"\d+ of \d+ settings and measurements that were compared are", text)
        assert text.index("What was compared, and how") < text.index("planned epochs (5)")
        assert "Not all settings were equal" in text[: text.index("What was equal")]
        assert "the same for all variants" not in text[: text.index("Test set near: ")]
