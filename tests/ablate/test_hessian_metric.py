"""Hessians as a metric of studies: rows of results.csv, report, refusals before the training."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from ase.build import molecule

from helpers import painn_section, random_model
from muse_lr.ablate import train_and_measure
from muse_lr.ablate.aggregate import collect, write_results
from muse_lr.ablate.execute import check_existing
from muse_lr.ablate.hessian import hessian_blocks
from muse_lr.ablate.model_metrics import MODEL_METRICS
from muse_lr.ablate.report.page import write_study_report
from muse_lr.ablate.study import load_study, plan
from muse_lr.config.yaml import dump_yaml
from muse_lr.data.hessians import write_hessians
from muse_lr.errors import InputError
from training_data import labeled_frames, write_run


def study_of(path: Path, **section) -> Path:
    """A study with one variant whose backbone reaches 8 A, and two files of references."""
    write_run(path, epochs=1)
    for name in ("near", "far"):
        frames = labeled_frames(2)
        for atoms in frames:
            atoms.positions[-1, 2] = 3.0 if name == "near" else 9.0
            size = 3 * len(atoms)
        matrices = [np.eye(size) + 0.1 * np.ones((size, size))] * 2
        write_hessians(path / f"{name}.xyz", frames, matrices)
    references = {name: f"{name}.xyz" for name in ("near", "far")}
    content = {
        "base": "config.yaml",
        "reference": "plain",
        "seeds": [3],
        "variants": {"plain": {"model.charges": None, "model.heads.coulomb": None}},
        "hessian": {"references": references, "bins": [0, 4, 8], **section},
    }
    dump_yaml(content, path / "study.yaml")
    return path / "study.yaml"


def planned(file: Path, out: Path):
    return plan(load_study(file), file, out)


def measured_study(tmp_path: Path, **section):
    """Train and measure the only run of the study."""
    (run,) = planned(study_of(tmp_path, **section), tmp_path / "out")
    run.directory.parent.mkdir(parents=True, exist_ok=True)
    dump_yaml(run.config, run.config_path)
    run.metrics_path.write_text(json.dumps(run.metrics))
    assert train_and_measure.main([str(run.config_path), str(run.metrics_path)]) == 0
    return run


def test_rows_and_report(tmp_path):
    run = measured_study(tmp_path)
    assert check_existing([run]) == [run]
    results = collect([run], "plain")
    write_results(results, tmp_path / "results.csv")
    with (tmp_path / "results.csv").open() as handle:
        rows = {
            row["metric"]: float(row["value"])
            for row in csv.DictReader(handle)
            if row["test"] == "hessian"
        }
    assert rows["reach_A"] == rows["beyond_A"] == 8.0
    # Blocks of 0.1 everywhere; beyond the reach the model has none.
    assert rows["far/norm_beyond"] == pytest.approx(0.3)
    assert rows["far/error_beyond"] == pytest.approx(0.3)
    assert "near/norm_beyond" not in rows
    assert rows["near/norm_0_4A"] == pytest.approx(0.3)
    assert rows["near/error_within"] > 0
    assert rows["frequencies_modes"] == 4 * 6
    for name in ("report.html", "hessian.json", "hessian.csv", "hessians/0003.npz"):
        assert (run.directory / "hessian" / name).exists()
    page = write_study_report(results, "", "title", tmp_path).read_text()
    assert "Hessians" in page
    assert "beyond: zero model" in page
    assert (tmp_path / "plots" / "hessian.png").exists()
    (changed,) = planned(study_of(tmp_path, beyond=3.0), tmp_path / "out")
    with pytest.raises(InputError, match="measured with another section 'hessian'"):
        check_existing([changed])


def test_a_distance_for_all_variants_and_its_continuation(tmp_path):
    """An interrupted measurement does not compute a Hessian again."""
    study_of(tmp_path)
    metric = MODEL_METRICS["hessian"]
    section = load_study(tmp_path / "study.yaml").hessian.model_copy(update={"beyond": 2.0})
    section = metric.check(section, tmp_path, None)
    section_model = painn_section(["H", "O", "Na", "Cl"], 4.0, charges=None, heads={})
    model = random_model(section_model)
    values = metric.measure(model, section, 0, tmp_path / "m", lambda line: None)
    assert (values["reach_A"], values["beyond_A"]) == (8.0, 2.0)
    assert values["near/norm_beyond"] == pytest.approx(0.3)
    times = {path: path.stat().st_mtime_ns for path in (tmp_path / "m" / "hessians").iterdir()}
    assert len(times) == 4
    assert metric.measure(model, section, 0, tmp_path / "m", lambda line: None) == values
    assert times == {path: path.stat().st_mtime_ns for path in times}


def test_the_report_of_several_variants_and_seeds(tmp_path):
    def seed(cosine: float) -> dict[str, float]:
        ranges = {
            f"{measure}_{span}A": value
            for span in ("0_4", "4_10")
            for measure, value in (("norm", 2.0), ("error", 1.0), ("cosine", cosine))
        }
        return {
            "reach_A": 8.0,
            "beyond_A": 8.0,
            "norm_beyond": 2.0,
            "cosine_beyond": cosine,
        } | ranges

    table, image, _ = hessian_blocks(
        {"muse": [seed(0.8), seed(0.9)], "short": [seed(0.1)]}, tmp_path
    )
    cells = [[cell.text for cell in row] for row in table.rows]
    assert [row[:3] for row in cells] == [["muse", "all", "2"], ["short", "all", "1"]]
    column = table.columns.index("beyond: cosine")
    assert cells[0][column].startswith("0.850 ± ")
    assert cells[1][column] == "0.100"
    assert cells[1][table.columns.index("beyond: error")] == "–"
    assert image.path.exists()


@pytest.mark.parametrize(
    ("section", "message"),
    [
        ({"references": {"a": "absent.xyz"}}, "absent.xyz"),
        ({"references": {"a": "train.xyz"}}, "no frame has a Hessian"),
        ({"bins": [1]}, "hessian.bins"),
        ({"distance": 3}, "hessian.distance: unknown key"),
    ],
)
def test_a_wrong_section_is_refused_before_training(tmp_path, section, message):
    file = study_of(tmp_path, **section)
    with pytest.raises(InputError, match=message):
        planned(file, tmp_path / "out")


def test_elements_that_the_model_does_not_have(tmp_path):
    file = study_of(tmp_path)
    write_hessians(tmp_path / "near.xyz", [molecule("CH4")], [np.zeros((15, 15))])
    section = load_study(file).hessian
    with pytest.raises(InputError, match=r"hessian\.references\.near: .*frame 0: .*C"):
        MODEL_METRICS["hessian"].check(section, tmp_path, ["H", "O", "Na", "Cl"])
