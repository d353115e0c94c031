"""Metrics of the models of a study: stability."""

from __future__ import annotations

import csv
import json
import re
from pathlib import Path

import pytest
from ase.build import molecule
from ase.io import write

from muse_lr.ablate import train_and_measure
from muse_lr.ablate.aggregate import collect, write_results
from muse_lr.ablate.execute import check_existing, is_finished
from muse_lr.ablate.model_metrics import MODEL_METRICS
from muse_lr.ablate.report.page import write_study_report
from muse_lr.ablate.study import load_study, plan
from muse_lr.config.yaml import dump_yaml
from muse_lr.errors import InputError
from training_data import write_run


def study_of(path: Path, **section) -> Path:
    """A study with one variant and the metric stability."""
    write_run(path, epochs=1)
    water = molecule("H2O")
    write(path / "water.xyz", [water, water])
    content = {
        "base": "config.yaml",
        "reference": "plain",
        "seeds": [3],
        "variants": {"plain": {"model.charges": None, "model.heads.coulomb": None}},
        "stability": {"file": "water.xyz@1", "temperatures": [200, 400], "ps": 0.002, **section},
    }
    dump_yaml(content, path / "study.yaml")
    return path / "study.yaml"


def planned(file: Path, out: Path):
    return plan(load_study(file), file, out)


def test_a_run_is_finished_once_its_metrics_are(tmp_path):
    file = study_of(tmp_path)
    (run,) = planned(file, tmp_path / "out")
    run.directory.parent.mkdir(parents=True)
    dump_yaml(run.config, run.config_path)
    run.metrics_path.write_text(json.dumps({}))
    arguments = [str(run.config_path), str(run.metrics_path)]
    assert train_and_measure.main(arguments) == 0
    assert (run.directory / "summary.json").exists()
    assert not is_finished(run)
    assert check_existing([run]) == []

    run.metrics_path.write_text(json.dumps(run.metrics))
    assert train_and_measure.main(arguments) == 0
    assert check_existing([run]) == [run]
    results = collect([run], "plain")
    write_results(results, tmp_path / "results.csv")
    with (tmp_path / "results.csv").open() as handle:
        rows = {(r["test"], r["metric"]): float(r["value"]) for r in csv.DictReader(handle)}
    assert rows["stability", "time_to_failure_ps"] == pytest.approx(0.002)
    assert rows["stability", "time_to_failure_400K_ps"] == pytest.approx(0.002)
    assert rows["stability", "failed_share"] == 0
    assert ("held_out", "forces_mae") in rows
    report = write_study_report(results, "", "title", tmp_path)
    text = report.read_text()
    assert "Stability" in text
    assert re.search(r"400 K\s*\(ps\)", re.sub(r"<[^>]+>", "", text))
    assert (tmp_path / "plots" / "stability.png").exists()
    settings = json.loads((run.directory / "stability" / "settings.json").read_text())
    assert settings["seed"] == 3

    (changed,) = planned(study_of(tmp_path, ps=0.003), tmp_path / "out")
    with pytest.raises(InputError, match="measured with another section 'stability'"):
        check_existing([changed])


@pytest.mark.parametrize(
    ("section", "message"),
    [
        ({"file": "absent.xyz"}, "absent.xyz"),
        ({"temperatures": []}, "stability.temperatures"),
        ({"picoseconds": 3}, "stability.picoseconds: unknown key"),
        ({"failure": {"every": 0}}, "stability.failure.every"),
    ],
)
def test_a_wrong_section_is_refused_before_training(tmp_path, section, message):
    file = study_of(tmp_path, **section)
    with pytest.raises(InputError, match=message):
        planned(file, tmp_path / "out")


def test_elements_that_the_model_does_not_have(tmp_path):
    file = study_of(tmp_path)
    write(tmp_path / "water.xyz", molecule("CH4"))
    metric = MODEL_METRICS["stability"]
    section = load_study(file).stability.model_copy(update={"file": "water.xyz"})
    with pytest.raises(InputError, match="has the element C, which the model does not have"):
        metric.check(section, tmp_path, ["H", "O"])
