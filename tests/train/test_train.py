"""Training: runs that resume bit by bit, refuse what they cannot use, and write everything down."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from ase.io import read, write

from muse_lr import InputError, load_model
from muse_lr.data.dataset import Dataset, divide, epoch_order, sizes_of, split_frames
from muse_lr.data.reading import read_frames
from muse_lr.train.config import ScheduleConfig, TrainingConfig, load_config
from muse_lr.train.loop import train
from muse_lr.train.losses import penalty
from muse_lr.train.schedule import Schedule
from training_data import labeled_frames, write_run


def rows_of(directory: Path) -> list[dict[str, str]]:
    with (directory / "metrics.csv").open() as handle:
        rows = list(csv.DictReader(handle))
    for row in rows:
        row.pop("seconds")
    return rows


def weights_of(directory: Path) -> dict[str, torch.Tensor]:
    return load_model(directory / "model.pt").state_dict()


def assert_same_run(first: Path, second: Path) -> None:
    assert rows_of(first) == rows_of(second)
    left, right = weights_of(first), weights_of(second)
    assert left.keys() == right.keys()
    assert all(torch.equal(left[name], right[name]) for name in left)
    summaries = [json.loads((d / "summary.json").read_text()) for d in (first, second)]
    for key in ("tests", "work", "fingerprints"):
        assert summaries[0][key] == summaries[1][key]


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> Path:
    config = write_run(tmp_path_factory.mktemp("finished"), loss={"energy": 1, "forces": 10})
    return train(load_config(config))


def test_a_run_writes_everything_down(finished):
    summary = json.loads((finished / "summary.json").read_text())
    assert summary["status"] == "finished"
    assert summary["epochs"] == 3
    assert summary["steps"] == 9
    assert summary["parameters"] > 0
    assert summary["processes"] == 1
    assert set(summary["initial_weights"]) == {"backbone", "charges"}
    assert set(summary["tests"]["held_out"]) >= {"energy_mae", "forces_rmse", "dipole_mae"}
    assert len(rows_of(finished)) == 3
    assert (finished / "report.html").read_text().startswith("<!DOCTYPE html>")
    frames = read(finished / "predictions-held_out.extxyz", ":")
    errors = [abs(a.info["muse_energy"] - a.info["REF_energy"]) / len(a) for a in frames]
    assert summary["tests"]["held_out"]["energy_mae"] == pytest.approx(1000 * np.mean(errors))
    parts = [v for k, v in frames[0].info.items() if k.startswith("muse_part_")]
    assert sum(parts) == pytest.approx(frames[0].info["muse_energy"], abs=1e-6)


def test_training_learns(tmp_path):
    config = write_run(tmp_path, epochs=60, learning_rate=5e-3)
    rows = rows_of(train(load_config(config)))
    first, last = (float(rows[i]["valid_loss"]) for i in (0, -1))
    assert last < 0.3 * first


def test_the_same_seed_is_the_same_run_and_another_is_not(finished, tmp_path):
    config = write_run(tmp_path / "same", loss={"energy": 1, "forces": 10})
    assert_same_run(finished, train(load_config(config)))
    other = train(load_config(write_run(tmp_path / "other"), {"training.seed": 1}))
    assert rows_of(finished) != rows_of(other)


@pytest.mark.parametrize("schedule", ["cosine", "plateau"])
def test_a_killed_run_resumes_to_the_same_result(tmp_path, schedule):
    """kill -9 in the middle of an epoch; the rest is done by --resume."""
    training = {"epochs": 25, "schedule": {"kind": schedule, "patience": 1}}
    straight = train(load_config(write_run(tmp_path / "straight", **training)))
    config = write_run(tmp_path / "killed", **training)
    command = [sys.executable, "-m", "muse_lr", "train", str(config)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    metrics = tmp_path / "killed" / "run" / "metrics.csv"
    deadline = time.monotonic() + 300
    while not metrics.exists() or len(metrics.read_text().splitlines()) < 4:
        assert process.poll() is None, "the run ended before it could be killed"
        assert time.monotonic() < deadline
        time.sleep(0.005)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert not (tmp_path / "killed" / "run" / "summary.json").exists()
    with pytest.raises(InputError, match="--resume"):
        train(load_config(config))
    resumed = train(load_config(config), resume=True)
    assert_same_run(straight, resumed)


def test_resuming_a_finished_run_changes_nothing(finished):
    before = {p: p.stat().st_mtime_ns for p in finished.iterdir()}
    train(load_config(finished.parent / "config.yaml"), resume=True)
    assert {p: p.stat().st_mtime_ns for p in finished.iterdir()} == before


def test_resume_refuses_another_configuration(tmp_path):
    config = write_run(tmp_path)
    directory = train(load_config(config))
    (directory / "summary.json").unlink()
    with pytest.raises(InputError, match=r"training\.learning_rate differs"):
        train(load_config(config, {"training.learning_rate": 1e-4}), resume=True)
    checkpoint = torch.load(directory / "checkpoint.pt", weights_only=True)
    torch.save({**checkpoint, "version": 99}, directory / "checkpoint.pt")
    with pytest.raises(InputError, match="version 99"):
        train(load_config(config), resume=True)


@pytest.mark.parametrize("changed", ["train", "valid"])
def test_resume_refuses_other_data(tmp_path, changed):
    """The files of a run change after its first epochs: the rest is not trained on other data."""
    config = write_run(tmp_path)
    overrides = {"data.valid": ["test.xyz"], "data.test": {}, "model.e0": "zero"}
    directory = train(load_config(config, overrides))
    (directory / "summary.json").unlink()
    path = tmp_path / {"train": "train.xyz", "valid": "test.xyz"}[changed]
    frames = read(path, ":")
    frames[3].info["total_charge"] *= -1
    write(path, frames, format="extxyz")
    name = {"train": r"training data \(data\.train\)", "valid": r"validation data \(data\.valid\)"}
    with pytest.raises(InputError, match=rf"with other {name[changed]}; .*restore them, or train"):
        train(load_config(config, overrides), resume=True)
    assert not (directory / "summary.json").exists()


def test_other_data_are_named_before_the_e0s_fitted_to_them(tmp_path):
    config = write_run(tmp_path)
    directory = train(load_config(config))
    (directory / "summary.json").unlink()
    frames = read(tmp_path / "train.xyz", ":")
    for atoms in frames:
        atoms.info["REF_energy"] += len(atoms)
    write(tmp_path / "train.xyz", frames, format="extxyz")
    with pytest.raises(InputError, match=r"training data .* and validation data"):
        train(load_config(config), resume=True)


def test_a_warm_up_longer_than_the_run_is_noted(tmp_path):
    for steps, noted in ((9, True), (8, False)):  # 3 epochs of 3 steps
        lines: list[str] = []
        config = write_run(tmp_path / str(steps), schedule={"warmup_steps": steps})
        directory = train(load_config(config), report=lines.append)
        notes = [line for line in lines if "warmup_steps: 9) takes the whole run" in line]
        assert bool(notes) == noted
        summary = json.loads((directory / "summary.json").read_text())
        assert any("warmup_steps" in note for note in summary["notes"]) == noted


def test_early_stopping_and_averages(tmp_path):
    config = write_run(tmp_path, epochs=50, early_stopping=2, learning_rate=1e-9, ema=None)
    summary_path = train(load_config(config)) / "summary.json"
    assert json.loads(summary_path.read_text())["epochs"] < 50


def test_a_part_that_nobody_reads_is_noted(tmp_path, capsys):
    lines: list[str] = []
    config = load_config(write_run(tmp_path), {"model.heads": {}})
    train(config, report=lines.append)
    assert any("no head and no loss reads the charges" in line for line in lines)


def test_all_losses_train(tmp_path):
    weights = {"energy": 1, "forces": 1, "dipole": 1}
    directory = train(load_config(write_run(tmp_path, loss=weights, loss_function="mse")))
    assert "valid_dipole_rmse" in rows_of(directory)[0]


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"data.keys": {"energy": "REF_enrgy"}}, "REF_enrgy"),
        ({"training.loss": {"stress": 1.0}}, "stress"),
        ({"model.charges": None}, "needs charges"),
        (
            {"training.batch": {"graphs": 4, "edges": 9}},
            r"training\.micro_batch\.edges'; .* training\.batch\.atoms limits a step",
        ),
        ({"model.elements": ["H", "O", "Na"]}, "Cl"),
        ({"training.loss": {"dipole": 1.0}, "model.charges": None, "model.heads": {}}, "dipole"),
        ({"model.backbone": None, "model.charges": None, "model.heads": {}}, "no parameters"),
        ({"data.train": ["none.xyz"]}, "none.xyz"),
        ({"data.valid": 0.01}, None),
    ],
)
def test_what_cannot_be_trained_is_refused_before_anything_is_written(tmp_path, overrides, message):
    config = write_run(tmp_path)
    if message is None:
        train(load_config(config, overrides))
        return
    with pytest.raises(InputError, match=message):
        train(load_config(config, overrides))
    assert not (tmp_path / "run").exists()


def test_partial_labels_train_and_are_tested(tmp_path):
    """Dipoles on a quarter of the frames: whole batches lack them."""
    config = write_run(tmp_path, batch={"graphs": 2}, loss={"energy": 1, "dipole": 1})
    for name in ("train.xyz", "test.xyz"):
        frames = read(tmp_path / name, ":")
        for i, atoms in enumerate(frames):
            atoms.info["REF_energy"] = atoms.info.get("REF_energy", 0.0)
            if i % 4:
                atoms.info.pop("REF_dipole")
        write(tmp_path / name, frames, format="extxyz")
    overrides = {"data.partial": ["dipole"], "data.valid": ["test.xyz"]}
    directory = train(load_config(config, overrides))
    summary = json.loads((directory / "summary.json").read_text())
    assert summary["tests"]["held_out"]["dipole_mae"] > 0
    overrides = {
        "data.partial": ["dipole"],
        "data.valid": ["bare.xyz"],
        "training.directory": str(tmp_path / "again"),
    }
    write(tmp_path / "bare.xyz", [a for a in frames if "REF_dipole" not in a.info])
    with pytest.raises(InputError, match=r"bare\.xyz.*dipole|no validation frame"):
        train(load_config(config, overrides))


def test_labels_of_ases_own_keys_stay_in_the_predictions(tmp_path):
    config = write_run(tmp_path)
    for name in ("train.xyz", "test.xyz"):
        text = (tmp_path / name).read_text()
        (tmp_path / name).write_text(text.replace("REF_", ""))
    directory = train(load_config(config))
    from muse_lr.reporting.predictions import read_predictions

    found = read_predictions(directory / "predictions-held_out.extxyz")
    assert {"energy", "forces"} <= set(found.quantities)


def test_resume_does_not_take_over_a_directory(tmp_path):
    config = write_run(tmp_path)
    before = config.read_text()
    here = {"training.directory": str(tmp_path)}
    with pytest.raises(InputError, match="holds no run of this configuration"):
        train(load_config(config, here), resume=True)
    assert config.read_text() == before


@pytest.mark.slow
def test_two_ranks_and_micro_batches_give_the_run_of_one(tmp_path):
    single = train(load_config(write_run(tmp_path / "one", dtype="float64")))
    config = write_run(tmp_path / "two", dtype="float64", micro_batch={"edges": 12})
    command = ["-m", "torch.distributed.run", "--nproc-per-node=2", "--master-port=29611"]
    subprocess.run(
        [sys.executable, *command, "-m", "muse_lr", "train", str(config)],
        check=True,
        capture_output=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    summaries = [
        json.loads((tmp_path / name / "run" / "summary.json").read_text())
        for name in ("one", "two")
    ]
    assert summaries[0]["work"] == summaries[1]["work"]
    assert [summary["processes"] for summary in summaries] == [1, 2]
    left, right = weights_of(single), weights_of(tmp_path / "two" / "run")
    for name in left:
        torch.testing.assert_close(left[name], right[name], rtol=1e-9, atol=1e-11)


def test_batches_keep_their_limits():
    frames = labeled_frames(10)
    from muse_lr.data.reading import Frame

    data = Dataset.from_frames([Frame(a, {}, str(i)) for i, a in enumerate(frames)], 20.0)
    order = epoch_order(10, 0, 1)
    assert order.tolist() != epoch_order(10, 0, 2).tolist()
    assert sorted(order) == list(range(10))
    sizes = sizes_of(data.frames)
    batches = divide(order, sizes, 3, None)
    assert [len(b) for b in batches] == [3, 3, 3, 1]
    assert [i for b in batches for i in b] == order.tolist()
    assert all(len(b) == 2 for b in divide(order, sizes, 8, 2 * 4))
    assert all(len(b) == 2 for b in data.micro_batches(order, 8, 2 * 12))


def test_split_is_by_seed(tmp_path):
    write(tmp_path / "a.xyz", labeled_frames(10), format="extxyz")
    frames = read_frames([tmp_path / "a.xyz"])
    rest, valid = split_frames(frames, 0.3, 5)
    assert (len(rest), len(valid)) == (7, 3)
    assert [f.source for f in valid] == [f.source for f in split_frames(frames, 0.3, 5)[1]]
    assert not {f.source for f in rest} & {f.source for f in valid}


def test_schedules():
    cosine = Schedule(ScheduleConfig(warmup_steps=10, final=0.1), 1.0, 110)
    assert cosine.rate(0) == pytest.approx(0.1)
    assert cosine.rate(9) == pytest.approx(1.0)
    assert cosine.rate(60) == pytest.approx(0.55)
    assert cosine.rate(110) == pytest.approx(0.1)
    plateau = Schedule(ScheduleConfig(kind="plateau", warmup_steps=0, patience=2), 1.0, 0)
    for loss in (3.0, 2.0, 2.0, 2.0):
        plateau.end_epoch(loss)
    assert plateau.rate(0) == 0.5


def test_huber_is_the_square_near_zero_and_linear_far_out():
    config = TrainingConfig(huber_delta=0.1)
    errors = torch.tensor([0.05, 1.0], dtype=torch.float64)
    near, far = penalty(errors, config).tolist()
    assert near == pytest.approx(0.05**2)
    assert far == pytest.approx(2 * 0.1 * (1.0 - 0.05))
