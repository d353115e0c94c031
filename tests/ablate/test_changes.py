"""``muse-lr ablate --set``: changes that reach all variants, are recorded, and do not mislead."""

from __future__ import annotations

import pytest
from ase.io import write

from helpers import run_cli
from muse_lr.ablate.study import load_study, plan
from muse_lr.config.yaml import dump_yaml, load_yaml
from muse_lr.errors import InputError
from training_data import labeled_frames

VARIANTS = {
    "short": {"model.charges": None, "model.heads.coulomb": None},
    "full": {"training.batch": {"graphs": 2}},
}


@pytest.fixture
def study(tmp_path):
    folder = tmp_path / "inner"
    folder.mkdir()
    write(tmp_path / "train.xyz", labeled_frames(12), format="extxyz")
    write(folder / "other.xyz", labeled_frames(6), format="extxyz")
    base = {
        "model": {"backbone": {"kind": "painn", "channels": 4, "layers": 1, "cutoff": 4.0}},
        "data": {"train": "train.xyz", "valid": 0.25, "test": {"again": "train.xyz"}},
        "training": {"epochs": 9, "batch": {"graphs": 4}, "device": "cpu"},
    }
    dump_yaml(base, tmp_path / "base.yaml")
    content = {"base": "../base.yaml", "reference": "short", "seeds": [0], "variants": VARIANTS}
    dump_yaml(content, folder / "study.yaml")
    return folder / "study.yaml"


def planned(study, changes):
    return plan(load_study(study), study, study.parent / "out", changes)


def test_changes_reach_all_variants_before_their_own(study):
    changes = {
        "training.epochs": 2,
        "model.charges.width": 1.5,
        "data.train": ["other.xyz@:4"],
        "data.max_frames": 3,
    }
    short, full = planned(study, changes)
    for run in (short, full):
        assert run.config["training"]["epochs"] == 2
        assert run.config["data"]["max_frames"] == 3
        # Like the paths of variants, relative to the study.
        assert run.config["data"]["train"] == [f"{study.parent}/other.xyz@:4"]
    assert short.config["model"]["charges"] is None
    assert full.config["model"]["charges"]["width"] == 1.5
    assert full.config["training"]["batch"]["graphs"] == 2


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("training.batch", {"graphs": 3}, "variant 'full' sets training.batch itself"),
        ("training.batch.graphs", 3, "variant 'full' sets training.batch itself.*study.yaml"),
        ("model.charges", {}, "variant 'short' sets model.charges itself"),
        ("training.seed", 1, "the study sets this key; use seeds in the study file"),
        ("training.directory", "x", "the study sets this key; use --out"),
        ("training.epoch", 3, r"unknown key \(did you mean 'epochs'"),
        ("training.epochs", 0, "training.epochs: input should be"),
    ],
)
def test_changes_that_would_mislead_are_refused(study, key, value, message):
    with pytest.raises(InputError, match=message) as caught:
        planned(study, {key: value})
    assert key.rpartition(".")[2] in str(caught.value)


def test_the_command_records_the_change(study, capsys, tmp_path):
    out = tmp_path / "out"
    change = ("--set", "training.epochs=1", "--set", "data.max_frames=8")
    assert run_cli("ablate", study, "--out", out, *change, "--plan") == 0
    assert "set for all variants: training.epochs=1, data.max_frames=8" in capsys.readouterr().out
    assert run_cli("ablate", study, "--out", out, *change) == 0
    assert load_yaml(out / "full" / "seed-0.yaml")["training"]["epochs"] == 1
    report = (out / "report.html").read_text()
    assert "# --set training.epochs=1" in report
    assert "# --set data.max_frames=8" in report
    capsys.readouterr()
    # The same command finds the runs finished; another one is refused and names the difference.
    assert run_cli("ablate", study, "--out", out, *change) == 0
    assert "2 of 2 runs are already finished" in capsys.readouterr().err
    assert run_cli("ablate", study, "--out", out) == 2
    error = capsys.readouterr().err
    assert "training.epochs: 1 there, 9 here" in error
    assert "data.max_frames: 8 there, null here" in error
    assert "give the --set options of that run again" in error


def test_the_option_needs_each_key_once(study, capsys):
    assert run_cli("ablate", study, "--set", "training.epochs=1", "--set", "training.epochs=2") == 2
    assert "--set names 'training.epochs' twice" in capsys.readouterr().err
