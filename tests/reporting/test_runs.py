"""Run directories are read back exactly, and what is broken is named."""

from __future__ import annotations

import json
import re
import runpy
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from ase import Atoms
from ase.io import read, write

from muse_lr.errors import InputError
from muse_lr.reporting.figures import distance_errors, mean_curve, parity_panels, scan_curves
from muse_lr.reporting.plots import Curve
from muse_lr.reporting.predictions import baseline_energy, frame_sums, read_predictions
from muse_lr.reporting.run_report import write_run_report
from muse_lr.reporting.runs import flatten, read_curves, read_summary

FAKE = SimpleNamespace(**runpy.run_path(str(Path(__file__).resolve().parents[1] / "fabricate.py")))


def test_frame_sums_give_the_metrics_of_the_summary(tmp_path):
    run = FAKE.write_run(tmp_path / "run")
    metrics = read_summary(run)["tests"]["far"]
    predictions = read_predictions(run / "predictions-far.extxyz")
    for label in ("energy", "forces", "dipole"):
        absolute, squared, count = frame_sums(predictions, label)
        assert absolute.sum() / count.sum() == pytest.approx(metrics[f"{label}_mae"], rel=1e-5)
        rmse = np.sqrt(squared.sum() / count.sum())
        assert rmse == pytest.approx(metrics[f"{label}_rmse"], rel=1e-5)


def _frame(**info):
    atoms = Atoms("H2", [[0, 0, 0], [0, 0, 1]])
    atoms.info |= info
    return atoms


def test_frames_without_a_label_are_left_out(tmp_path):
    path = tmp_path / "predictions-x.extxyz"
    frames = [
        _frame(REF_energy=1.0, muse_energy=1.5),
        _frame(muse_energy=2.0),
        _frame(REF_energy=3.0, muse_energy=2.0),
    ]
    write(path, frames, format="extxyz")
    predictions = read_predictions(path)
    absolute, _, count = frame_sums(predictions, "energy")
    np.testing.assert_allclose(absolute, [250.0, 0.0, 500.0])
    np.testing.assert_allclose(count, [1, 0, 1])
    assert set(predictions.quantities) == {"energy", "relative_energy"}


def test_keys_of_the_configuration_and_keys_that_ase_moves(tmp_path):
    path = tmp_path / "predictions-x.extxyz"
    write(path, [_frame(dft=1.0, energy=7.0, muse_energy=1.5)], format="extxyz")
    named = read_predictions(path, {"energy": "dft"}).quantities["energy"]
    usual = read_predictions(path).quantities["energy"]
    assert named.reference.tolist() == [1.0]
    assert usual.reference.tolist() == [7.0]


def test_stress_and_virial_are_compared_as_nine_components(tmp_path):
    path = tmp_path / "predictions-x.extxyz"
    full = np.array([[1.0, 6.0, 5.0], [6.0, 2.0, 4.0], [5.0, 4.0, 3.0]])
    frames = [
        _frame(REF_stress=np.arange(1.0, 7.0), muse_stress=full),
        _frame(REF_virial=-8.0 * full, muse_stress=full),
        _frame(REF_stress=full, muse_stress=full),
    ]
    for atoms in frames[:2]:
        atoms.set_cell([2, 2, 2])
        atoms.pbc = True
    write(path, frames, format="extxyz")
    quantity = read_predictions(path).quantities["stress"]
    assert len(quantity.reference) == 18  # the open system has no stress
    np.testing.assert_allclose(quantity.predicted, quantity.reference)


def test_dipoles_of_ions_do_not_depend_on_the_origin(tmp_path):
    path = tmp_path / "predictions-x.extxyz"
    frames = []
    for origin in (0.0, 50.0):
        atoms = _frame(REF_dipole=[0, 0, 0.5 + origin], muse_dipole=[0, 0, 0.4 + 1.1 * origin])
        atoms.info["total_charge"] = 1
        atoms.positions[:, 2] += origin - 0.5
        atoms.arrays["muse_charges"] = np.array([0.5, 0.6])
        frames.append(atoms)
    write(path, frames, format="extxyz")
    absolute, _, _ = frame_sums(read_predictions(path), "dipole")
    np.testing.assert_allclose(absolute, 0.1)


@pytest.mark.parametrize(
    ("guess", "message"), [(np.ones(2), "shape"), (np.array(["a", "b", "c"]), "numbers are needed")]
)
def test_predictions_of_another_shape_name_the_frame(tmp_path, guess, message):
    path = tmp_path / "predictions-x.extxyz"
    write(path, [_frame(REF_dipole=np.ones(3), muse_dipole=guess)], format="extxyz")
    with pytest.raises(InputError, match=f"frame 0: dipole under 'muse_dipole'.*{message}"):
        read_predictions(path)


def test_a_truncated_file_of_predictions_is_one_clear_error(tmp_path):
    run = FAKE.write_run(tmp_path / "run")
    path = run / "predictions-far.extxyz"
    path.write_text(path.read_text()[:-80])
    with pytest.raises(InputError, match="predictions-far"):
        read_predictions(path)


def test_the_baseline_is_the_atomic_part_or_a_fit(tmp_path):
    run = FAKE.write_run(tmp_path / "run")
    with_part = read_predictions(run / "predictions-far.extxyz")
    assert baseline_energy(with_part)[1] == "E0"
    with_part.parts.clear()
    fit, name = baseline_energy(with_part)
    assert name == "composition fit"
    residual = with_part.quantities["energy"].reference - fit
    assert abs(residual.mean()) < 1e-6
    assert np.ptp(residual) < 10.0


def test_parity_energies_are_per_atom_without_the_atomic_part(tmp_path):
    run = FAKE.write_run(tmp_path / "run")
    energy, *others = parity_panels(read_predictions(run / "predictions-far.extxyz"))
    assert energy.unit == "eV/atom"
    assert np.abs(energy.reference).max() < 5.0
    assert [panel.title for panel in others] == ["forces", "dipole"]


def test_scans_are_joined_over_test_sets_and_sorted(tmp_path):
    run = FAKE.write_run(tmp_path / "run")
    tests = [read_predictions(run / f"predictions-{name}.extxyz") for name in ("far", "near")]
    curves = scan_curves(tests)
    assert set(curves) == {"ammonium-formate", "sodium-chloride"}
    lines = curves["sodium-chloride"]
    assert set(lines) == {"reference", "energy", "backbone", "coulomb"}  # e0 does not interact
    assert (np.diff(lines["energy"].x) > 0).all()
    assert len(lines["energy"].x) == 13  # 7 and 7 points that share the one at 7 A


def test_a_model_that_sees_nothing_is_drawn_at_zero(tmp_path):
    path = tmp_path / "predictions-x.extxyz"
    blind = {"scan": "s", "muse_interaction_energy": 0.0, "muse_interaction_backbone": 0.0}
    write(path, [_frame(distance=d, **blind) for d in (8.0, 9.0)], format="extxyz")
    assert set(scan_curves([read_predictions(path)])["s"]) == {"energy"}


def test_mean_curve_keeps_shared_points_and_their_range():
    first = Curve(np.array([1.0, 2.0]), np.array([1.0, 2.0]))
    second = Curve(np.array([2.0, 3.0]), np.array([4.0, 9.0]))
    mean = mean_curve([first, second])
    np.testing.assert_allclose([mean.x, mean.y, mean.low, mean.high], [[2.0], [3.0], [2.0], [4.0]])


def test_distance_errors_are_in_mev(tmp_path):
    path = tmp_path / "predictions-x.extxyz"
    frames = [_frame(REF_energy=1.0, muse_energy=1.5, distance=3.0)]
    frames.append(_frame(REF_energy=1.0, muse_energy=0.0))
    write(path, frames, format="extxyz")
    distance, error = distance_errors(read_predictions(path))
    assert (distance.tolist(), error.tolist()) == ([3.0], [500.0])


def test_a_metrics_line_that_a_kill_cut_off_is_left_out(tmp_path):
    (tmp_path / "metrics.csv").write_text("epoch,valid_loss,x\n1,0.5,\n2,0.")
    curves = read_curves(tmp_path)
    assert curves["valid_loss"].tolist() == [0.5]
    assert np.isnan(curves["x"]).all()


def test_a_metrics_cell_that_is_no_number_is_one_clear_error(tmp_path):
    (tmp_path / "metrics.csv").write_text("epoch,loss\n1,abc\n")
    with pytest.raises(InputError, match=r"metrics\.csv"):
        read_curves(tmp_path)


@pytest.mark.parametrize("text", ["{", "[]"])
def test_a_broken_summary_is_one_clear_error(tmp_path, text):
    (tmp_path / "summary.json").write_text(text)
    with pytest.raises(InputError, match=r"summary\.json"):
        read_summary(tmp_path)


def test_only_a_finished_summary_counts(tmp_path):
    assert read_summary(tmp_path) is None
    (tmp_path / "summary.json").write_text('{"status": "running"}')
    assert read_summary(tmp_path) is None


def test_flatten_keeps_empty_sections_and_nulls():
    assert flatten({"a": {"b": 1, "c": {}}, "d": None}) == {"a.b": 1, "a.c": {}, "d": None}


def test_run_report_of_a_hostile_test_name(tmp_path):
    run = FAKE.write_run(tmp_path / "run")
    hostile = "<script>alert(1)<"
    (run / "predictions-far.extxyz").rename(run / f"predictions-{hostile}.extxyz")
    text = write_run_report(run).read_text(encoding="utf-8")
    assert text.count("<script") == 1  # the one that sorts tables
    assert "&lt;script&gt;alert(1)" in text


def test_run_report_holds_metrics_figures_cost_and_configuration(tmp_path):
    run = FAKE.write_run(tmp_path / "run", seed=3)
    text = write_run_report(run).read_text(encoding="utf-8")
    assert text.count("data:image/png;base64,") == 7
    for expected in (
        "<title>Run</title>",
        "(meV/atom)",
        "51,000",
        "1 min 04 s",
        "seed 3",
        "REF_energy",
    ):
        assert expected in text
    assert {p.name for p in (run / "plots").iterdir()} == {
        "learning-curves.png",
        "parity-near.png",
        "parity-far.png",
        "charges-near.png",
        "charges-far.png",
        "error-distance.png",
        "interaction.png",
    }


def test_run_report_warns_of_offsets_and_of_a_loss_that_still_falls(tmp_path):
    run = FAKE.write_run(tmp_path / "run")
    sound = write_run_report(run).read_text(encoding="utf-8")
    assert "the RMSE is" in sound
    assert "relative energy MAE" in re.sub(r"\s+", " ", sound)
    assert "<wbr>" not in sound.split("</h1>")[1].split("<nav")[0]
    assert 'class="warning"' not in sound
    text = (run / "metrics.csv").read_text().splitlines()
    losses = [row.split(",") for row in text[1:]]
    for i, row in enumerate(losses):
        row[4] = str(1.0 - 0.01 * i)
    (run / "metrics.csv").write_text("\n".join([text[0], *map(",".join, losses)]) + "\n")
    summary = json.loads((run / "summary.json").read_text())
    (run / "summary.json").write_text(json.dumps(summary | {"best_epoch": summary["epochs"]}))
    path = run / "predictions-far.extxyz"
    frames = read(path, ":")
    for atoms in frames:
        atoms.info["muse_energy"] += 5.0 * len(set(atoms.symbols) & {"Na"}) - 1.0
    write(path, frames, format="extxyz")
    page = write_run_report(run).read_text(encoding="utf-8").replace("\u00a0", " ")
    assert "It still fell by 7.79 % in the last fifth of the epochs" in page
    assert "Test set far: Most of the energy error is a constant offset" in page
    assert "Test set near: Most" not in page


def test_run_report_of_an_unfinished_run_says_so(tmp_path):
    run = FAKE.write_run(tmp_path / "run")
    for file in ("summary.json", "metrics.csv", *(p.name for p in run.glob("predictions-*"))):
        (run / file).unlink()
    text = write_run_report(run).read_text(encoding="utf-8")
    assert "not finished" in text
    assert "No epoch was completed" in text


def test_run_report_without_a_run_is_refused(tmp_path):
    with pytest.raises(InputError, match="not a run directory"):
        write_run_report(tmp_path)
