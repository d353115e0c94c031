"""The first screen of a report: what was equal for all variants and what was not."""

from __future__ import annotations

import json
import runpy
from pathlib import Path
from types import SimpleNamespace

import pytest

from muse_lr.ablate.aggregate import collect
from muse_lr.ablate.equality import measured_equality
from muse_lr.ablate.report import write_study_report
from muse_lr.ablate.study import Run

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


def test_equal_runs_are_equal(tmp_path):
    lines = measured_equality(collect(study(tmp_path), "short_range")).lines()
    assert len(lines) == 1
    assert lines[0].startswith("All that was compared is equal for all variants: epochs (5), steps")
    for topic in ("batches", "training data", "device (cpu)", "seeds (0, 1)", "precision"):
        assert topic in lines[0]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"work": {"steps": 36}}, "steps (short_range: 35; charges: 36)"),
        ({"work": {"batches": "f"}}, "batches (short_range: 0123456789abcde0; charges: f)"),
        ({"work": {"largest_rate": 0.5}}, "largest learning rate (short_range: 0.00100;"),
        ({"work": {"rates": "f"}}, "learning rates of all steps"),
        ({"work": {"epochs": 3}}, "early stopping ended charges/seed-0 after 3 of 5 epochs"),
        ({"fingerprints": {"training data": "f"}}, "training data (short_range: "),
        ({"fingerprints": {"E0s": "f"}}, "E0s (short_range: none; charges: f)"),
        ({"device": "cuda"}, "device (short_range: cpu; charges: cuda)"),
    ],
)
def test_what_a_run_did_otherwise_is_named(tmp_path, changes, said):
    runs = study(tmp_path)
    edit(runs[2], **changes)
    assert said in unequal(runs)


def test_settings_and_seeds_are_compared(tmp_path):
    runs = study(tmp_path, charges={"dtype": "float64", "loss": {"energy": 1.0, "forces": 2.0}})
    text = unequal(runs)
    assert "precision (short_range: float32; charges: float64)" in text
    assert "loss (short_range: energy 1.00; charges: energy 1.00, forces 2.00)" in text
    (runs[3].directory / "summary.json").unlink()
    assert "seeds (short_range: 0, 1; charges: 0)" in unequal(runs)


def test_it_stands_first_in_both_reports(tmp_path, monkeypatch):
    monkeypatch.setattr("muse_lr.ablate.report._figure_sections", lambda *_: [])
    runs = study(tmp_path)
    edit(runs[2], work={"steps": 976})
    write_study_report(collect(runs, "short_range"), "", "s", tmp_path)
    for name in ("report.md", "report.html"):
        text = (tmp_path / name).read_text(encoding="utf-8")
        said = text.index("Not equal for all variants: steps (short_range: 35; charges: 976)")
        assert said < text.index("Test set")
        assert "the same for all variants" not in text[: text.index("Test set")]
