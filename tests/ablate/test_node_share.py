"""The share of nodes kept: in the predictions, the summary and every report."""

from __future__ import annotations

import csv
import json
import runpy
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from ase.io import read

import muse_lr
from muse_lr.ablate.aggregate import collect, write_runs
from muse_lr.ablate.report.page import write_study_report
from muse_lr.ablate.report.tables import node_table
from muse_lr.ablate.study import Run
from muse_lr.cli.main import main
from muse_lr.config.yaml import dump_yaml, load_yaml
from muse_lr.reporting.html import text_table
from muse_lr.reporting.run_report import write_run_report
from muse_lr.train.config import load_config
from muse_lr.train.loop import train
from training_data import write_run

FAKE = SimpleNamespace(**runpy.run_path(str(Path(__file__).resolve().parents[1] / "fabricate.py")))


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> Path:
    """A run of a model with two levels."""
    config = write_run(tmp_path_factory.mktemp("finished"), epochs=1)
    raw = load_yaml(config)
    raw["model"]["multiscale"] = {"kind": "muse", "levels": 2, "radius": 3.0, "cutoff": 6.0}
    dump_yaml(raw, config)
    return train(load_config(config))


def test_a_run_says_how_many_atoms_carry_nodes(finished):
    model = muse_lr.load_model(finished / "model.pt")
    structures = read(finished.parent / "test.xyz", ":")
    kept = np.zeros((len(structures), 2))
    for row, atoms in enumerate(structures):
        levels = model(muse_lr.AtomsBatch.from_ase([atoms], cutoff=model.cutoff)).levels
        kept[row] = [len(nodes.atoms) for nodes, _ in levels]
    assert 0 < kept[:, 1].sum() < kept[:, 0].sum() < 4 * len(structures)
    summary = json.loads((finished / "summary.json").read_text())
    expected = kept.sum(0) / sum(map(len, structures))
    assert summary["node_share"] == {"held_out": pytest.approx(expected)}
    frames = read(finished / "predictions-held_out.extxyz", ":")
    np.testing.assert_allclose([a.info["muse_node_share"] for a in frames], kept / 4, atol=1e-8)
    text = (finished / "report.html").read_text()
    assert "Coarse nodes" in text
    assert "A coarse node is a site of the hierarchy" in text
    assert f"{100 * expected[0]:.1f}" in text


def test_evaluate_says_it_too(finished, tmp_path, capsys):
    data = finished.parent / "test.xyz"
    assert main(["evaluate", str(finished / "model.pt"), str(data), "--out", str(tmp_path)]) == 0
    metrics = json.loads((tmp_path / "metrics.json").read_text())
    summary = json.loads((finished / "summary.json").read_text())
    for level, share in enumerate(summary["node_share"]["held_out"], 1):
        assert metrics[f"node_share_level{level}"] == pytest.approx(share)
    text = capsys.readouterr().out
    share = 100 * summary["node_share"]["held_out"][1]
    assert f"level 2: {share:.3g} % of the atoms carry a coarse node" in text
    assert "A coarse node is a site of the hierarchy" in text


def fabricated(out, shares):
    """A study of the variants none and muse with two seeds, ``shares`` in the summaries of muse."""
    runs = []
    for variant in ("none", "muse"):
        for seed in (0, 1):
            directory = out / variant / f"seed-{seed}"
            config = {"model": {}, "data": {"keys": {}}, "training": {"seed": seed}}
            FAKE.write_run(directory, False, seed, 5, config=config)
            if variant == "muse":
                path = directory / "summary.json"
                path.write_text(json.dumps(json.loads(path.read_text()) | shares[seed]))
            runs.append(Run(variant, seed, directory, config))
    return collect(runs, "none")


def test_a_study_says_it_for_each_run_and_variant(tmp_path):
    shares = [{"node_share": {"near": [0.10, 0.02], "far": [0.2, 0.0123]}} for _ in range(2)]
    shares[1]["node_share"]["near"] = [0.12, 0.02]
    results = fabricated(tmp_path, shares)
    write_runs(results, tmp_path / "runs.csv")
    rows = list(csv.DictReader((tmp_path / "runs.csv").open()))
    assert [row["node_share_near_level1"] for row in rows] == ["", "", "0.1", "0.12"]
    assert [row["node_share_far_level2"] for row in rows] == ["", "", "0.0123", "0.0123"]
    lines = text_table(node_table(results)).splitlines()
    assert lines[0].split("  ")[-1].strip() == "near: level 2 (%)"
    assert lines[-1].split() == ["muse", "20.0", "1.23", "11.0", "2.00"]
    assert len(lines) == 3  # heading, rule, muse: a variant without nodes has no row
    text = write_study_report(results, "study", "nodes", tmp_path).read_text()
    assert "Coarse nodes" in text
    assert "11.0" in text
    assert "A coarse node is a site of the hierarchy" in text


def test_nothing_is_said_where_there_are_no_nodes(tmp_path):
    results = fabricated(tmp_path, [{}, {"node_share": {}}])
    assert node_table(results) is None
    write_runs(results, tmp_path / "runs.csv")
    assert "node_share" not in (tmp_path / "runs.csv").read_text()
    for path in (
        write_study_report(results, "study", "nodes", tmp_path),
        write_run_report(tmp_path / "muse" / "seed-1"),
    ):
        assert "Coarse nodes" not in path.read_text()
