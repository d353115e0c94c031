"""The command line: exit codes, one clear line for bad input, and speed of --help."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import molecule
from ase.io import write

import muse_lr
from helpers import refused, run_cli
from muse_lr.config.yaml import dump_yaml, load_yaml
from training_data import labeled_frames, write_run


@pytest.fixture
def config(tmp_path) -> Path:
    return write_run(tmp_path)


def test_help_is_fast_and_imports_nothing_heavy():
    code = (
        "import sys, muse_lr.cli.main\n"
        "muse_lr.cli.main.build_parser()\n"
        "heavy = {'torch', 'ase', 'numpy', 'matplotlib', 'mace', 'pydantic', 'torch_geometric'}\n"
        "sys.exit(', '.join(heavy & set(sys.modules)) or 0)"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr


@pytest.mark.parametrize(
    "verb", ["init", "data", "train", "evaluate", "study", "ablate", "coarse", "info", "doctor"]
)
def test_every_verb_has_help(verb, capsys):
    assert run_cli(verb, "--help") == 0
    assert "usage: muse-lr" in capsys.readouterr().out


def test_unknown_key(config, capsys):
    data = load_yaml(config)
    data["model"]["backbone"]["cuttof"] = 4
    dump_yaml(data, config)
    error = refused(capsys, "train", config)
    assert "model.backbone.cuttof: unknown key (did you mean 'cutoff'?)" in error
    assert "config.yaml" in error


def test_unknown_key_in_set(config, capsys):
    assert "epoch" in refused(capsys, "train", config, "--set", "training.epoch=3")


def test_a_key_set_twice(config, capsys):
    arguments = ["--set", "training.seed=1", "--set", "training.seed=2"]
    assert "'training.seed' twice" in refused(capsys, "train", config, *arguments)


def test_a_device_that_is_not_here(config, capsys):
    error = refused(capsys, "train", config, "--set", "training.device=nonsense")
    assert "device 'nonsense' cannot be used here" in error


def test_missing_label(config, capsys):
    error = refused(capsys, "train", config, "--set", "data.keys={forces: REF_force}")
    assert "REF_force" in error
    assert "REF_forces" in error  # what is there instead


def frames_with(change) -> list[Atoms]:
    frames = labeled_frames(8)
    change(frames[5])
    return frames


def poison(atoms: Atoms) -> None:
    atoms.positions[2, 1] = np.nan


def coincide(atoms: Atoms) -> None:
    atoms.positions[1] = atoms.positions[0]


def periodic_without_cell(atoms: Atoms) -> None:
    atoms.pbc = True


def poisoned_label(atoms: Atoms) -> None:
    atoms.arrays["REF_forces"][0, 0] = np.inf


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (poison, ["train.xyz", "5", "2"]),
        (coincide, ["train.xyz", "5", "0", "1"]),
        (periodic_without_cell, ["train.xyz", "5", "cell"]),
        (poisoned_label, ["train.xyz", "5", "REF_forces"]),
    ],
)
def test_bad_frames_are_named(config, capsys, change, words):
    write(config.parent / "train.xyz", frames_with(change), format="extxyz")
    error = refused(capsys, "train", config)
    assert all(word in error for word in words), error
    assert run_cli("data", "check", config.parent / "train.xyz") == 2


def test_truncated_file(config, capsys):
    path = config.parent / "train.xyz"
    text = path.read_text()
    path.write_text(text[: len(text) - 60])
    assert "train.xyz" in refused(capsys, "train", config)


def test_element_that_the_model_does_not_know(config, capsys):
    assert "Cl" in refused(capsys, "train", config, "--set", "model.elements=[H, O, Na]")


def test_study_whose_override_names_nothing(config, capsys):
    study = config.parent / "study.yaml"
    dump_yaml(
        {
            "base": "config.yaml",
            "reference": "a",
            "seeds": [0],
            "variants": {"a": {}, "b": {"model.heads.colomb": None}},
        },
        study,
    )
    error = refused(capsys, "ablate", study, "--plan")
    assert "'b'" in error or " b" in error
    assert "colomb" in error


@pytest.mark.parametrize("name", ["../x", "..", "a/b", "<script>"])
def test_hostile_variant_names_write_nothing(config, capsys, name, tmp_path):
    study = config.parent / "study.yaml"
    variants = {"a": {}, name: {"training.epochs": 1}}
    dump_yaml({"base": "config.yaml", "reference": "a", "seeds": [0], "variants": variants}, study)
    before = sorted(tmp_path.rglob("*"))
    refused(capsys, "ablate", study, "--out", tmp_path / "out")
    assert sorted(tmp_path.rglob("*")) == before


def test_hostile_yaml_executes_nothing(config, capsys, tmp_path):
    target = tmp_path / "executed"
    config.write_text(f"data: !!python/object/apply:os.system ['touch {target}']\n")
    refused(capsys, "train", config)
    assert not target.exists()


def test_hostile_file_name_is_escaped_in_the_report(config, tmp_path):
    name = "<script>alert(1)<.xyz"
    shutil.copy(tmp_path / "test.xyz", tmp_path / name)
    data = load_yaml(config)
    data["data"]["test"] = {"odd": name}
    dump_yaml(data, config)
    assert run_cli("train", config) == 0
    html = (tmp_path / "run" / "report.html").read_text()
    assert "<script>alert" not in html
    assert "&lt;script&gt;alert" in html


def test_checkpoint_of_another_version(config, capsys, tmp_path):
    assert run_cli("train", config) == 0
    (tmp_path / "run" / "summary.json").unlink()
    path = tmp_path / "run" / "checkpoint.pt"
    torch.save({**torch.load(path, weights_only=True), "version": 0}, path)
    assert "version 0" in refused(capsys, "train", config, "--resume")


def test_existing_run_is_refused(config, capsys):
    assert run_cli("train", config) == 0
    assert "--resume" in refused(capsys, "train", config)
    assert run_cli("train", config, "--resume") == 0


def test_no_permission_to_write(config, capsys, tmp_path):
    if os.geteuid() == 0:
        # Root may write anywhere: a file in the way refuses root too.
        (tmp_path / "blocked").write_text("")
    else:
        (tmp_path / "blocked").mkdir()
        (tmp_path / "blocked").chmod(stat.S_IRUSR | stat.S_IXUSR)
    directory = tmp_path / "blocked" / "run"
    error = refused(capsys, "train", config, "--set", f"training.directory={directory}")
    assert "cannot write" in error
    assert "blocked" in error


def test_full_disk_while_saving_loses_nothing(config, capsys, tmp_path, monkeypatch):
    """The second checkpoint meets a full disk: the first is whole and the run resumes."""
    real, calls = os.fsync, []

    def full(descriptor: int) -> None:
        calls.append(descriptor)
        if len(calls) == 5:
            raise OSError(28, "No space left on device")
        real(descriptor)

    monkeypatch.setattr(os, "fsync", full)
    error = refused(capsys, "train", config)
    assert "No space left on device" in error
    monkeypatch.setattr(os, "fsync", real)
    checkpoint = torch.load(tmp_path / "run" / "checkpoint.pt", weights_only=True)
    assert checkpoint["progress"]["epoch"] >= 1
    assert not list((tmp_path / "run").glob(".checkpoint*"))
    assert run_cli("train", config, "--resume") == 0


def test_evaluate_and_info(config, tmp_path, capsys):
    assert run_cli("train", config) == 0
    model = tmp_path / "run" / "model.pt"
    assert run_cli("evaluate", model, tmp_path / "test.xyz", "--out", tmp_path / "e") == 0
    names = {path.name for path in (tmp_path / "e").iterdir()}
    assert {"metrics.json", "predictions.extxyz", "parity.png", "report.html"} <= names
    capsys.readouterr()
    assert run_cli("info", model) == 0
    text = capsys.readouterr().out
    assert "receptive field 1 x 4 = 4 A" in text
    assert "conserved" in text
    assert run_cli("info", config) == 0
    assert "elements         H O Na Cl" in capsys.readouterr().out


def test_doctor(capsys):
    assert run_cli("doctor") == 0
    assert f"torch {torch.__version__}" in capsys.readouterr().out


def test_files_that_are_no_models(tmp_path, capsys):
    (tmp_path / "x.pt").write_text("no")
    assert "x.pt" in refused(capsys, "info", tmp_path / "x.pt")
    assert "No such file" in refused(capsys, "info", tmp_path / "none.pt")


def test_the_public_names_are_there():
    for name in muse_lr.__all__:
        assert hasattr(muse_lr, name)
    with pytest.raises(AttributeError):
        _ = muse_lr.nothing
    batch = muse_lr.AtomsBatch.from_ase([molecule("H2O")], cutoff=3.0)
    assert batch.num_graphs == 1
