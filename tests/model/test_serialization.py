"""Files are whole or not there, and loading one executes nothing."""

from __future__ import annotations

import os
import pickle
from pathlib import Path

import pytest
import torch
from ase.build import molecule

import muse_lr
from helpers import HostilePickle
from muse_lr.errors import InputError
from muse_lr.model.serialization import FORMAT, FORMAT_VERSION, load_model, model_state, save_model
from muse_lr.utils.files import atomic_write, write_json

SMALL = {"elements": ["H", "O"], "backbone": {"channels": 4, "layers": 1}}


def test_saved_models_give_the_same_numbers(tmp_path):
    model = muse_lr.build_model({**SMALL, "e0": {"H": -13.123456789012345, "O": -2041.9}})
    save_model(model, tmp_path / "model.pt")
    again = load_model(tmp_path / "model.pt")
    batch = muse_lr.AtomsBatch.from_ase([molecule("H2O")], cutoff=model.cutoff)
    assert torch.equal(model(batch).energy, again(batch).energy)
    assert again.config == model.config
    double = model.to(torch.float64)
    save_model(double, tmp_path / "double.pt")
    assert load_model(tmp_path / "double.pt").dtype == torch.float64


@pytest.mark.parametrize("writer", ["torch", "pickle"])
def test_a_hostile_model_file_executes_nothing(tmp_path, writer):
    target, path = tmp_path / "executed", tmp_path / "model.pt"
    state = {
        "format": FORMAT,
        "version": FORMAT_VERSION,
        "config": HostilePickle(target),
        "state": {},
    }
    if writer == "torch":
        torch.save(state, path)
    else:
        path.write_bytes(pickle.dumps(state))
    with pytest.raises(InputError, match="executed"):
        load_model(path)
    assert not target.exists()


def test_hostile_content_executes_nothing(tmp_path, monkeypatch):
    """Valid data whose strings try to lead elsewhere."""
    state = model_state(muse_lr.build_model(SMALL))
    state["config"]["backbone"]["kind"] = "os:system"
    torch.save(state, tmp_path / "kind.pt")
    with pytest.raises(InputError, match="backbone os:system"):
        load_model(tmp_path / "kind.pt")
    state = model_state(muse_lr.build_model(SMALL))
    state["config"]["heads"] = {"../../x": {"kind": "coulomb"}}
    torch.save(state, tmp_path / "name.pt")
    with pytest.raises(InputError, match="only letters"):
        load_model(tmp_path / "name.pt")


def test_a_model_file_cannot_point_to_a_pickle(tmp_path):
    """trust: true inside a file would be the word of whoever wrote the file."""
    target = tmp_path / "executed"
    torch.save(HostilePickle(target), tmp_path / "evil.model")
    state = model_state(muse_lr.build_model(SMALL))
    state["config"]["backbone"] = {
        "kind": "mace",
        "file": str(tmp_path / "evil.model"),
        "trust": True,
    }
    torch.save(state, tmp_path / "model.pt")
    with pytest.raises(InputError, match="another file of weights"):
        load_model(tmp_path / "model.pt")
    assert not target.exists()


def test_a_disk_that_fills_while_a_model_is_saved(tmp_path, monkeypatch):
    """The write itself fails, not only the sync."""
    if not Path("/dev/full").exists():
        pytest.skip("this system has no /dev/full")
    save_model(muse_lr.build_model(SMALL), tmp_path / "model.pt")
    before = (tmp_path / "model.pt").read_bytes()
    monkeypatch.setattr(
        "tempfile.mkstemp", lambda dir, prefix: (os.open("/dev/full", os.O_WRONLY), f"{dir}/none")
    )
    with pytest.raises(InputError, match="No space left"):
        save_model(muse_lr.build_model(SMALL), tmp_path / "model.pt")
    assert (tmp_path / "model.pt").read_bytes() == before


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"version": 999}, "has version 999 of the format, this muse_lr reads version 2"),
        ({"format": "something"}, "is no muse_lr model file"),
        ({"state": {}}, "damaged or not a model"),
        ({"config": None}, "input should be a valid"),
    ],
)
def test_files_of_another_kind(tmp_path, change, message):
    torch.save({**model_state(muse_lr.build_model(SMALL)), **change}, tmp_path / "model.pt")
    with pytest.raises(InputError, match=message):
        load_model(tmp_path / "model.pt")


def test_truncated_and_missing_files(tmp_path):
    save_model(muse_lr.build_model(SMALL), tmp_path / "model.pt")
    whole = (tmp_path / "model.pt").read_bytes()
    for length in (0, 10, len(whole) // 2, len(whole) - 1):
        (tmp_path / "cut.pt").write_bytes(whole[:length])
        with pytest.raises(InputError, match=r"cut\.pt"):
            load_model(tmp_path / "cut.pt")
    with pytest.raises(InputError, match="No such file"):
        load_model(tmp_path / "none.pt")


def test_a_failed_write_leaves_the_old_file(tmp_path):
    path = tmp_path / "file.txt"
    path.write_text("old")
    with pytest.raises(RuntimeError), atomic_write(path) as handle:  # noqa: PT012
        handle.write("new, half")
        raise RuntimeError
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["file.txt"]


def test_a_full_disk_loses_nothing(tmp_path):
    """/dev/full answers every write with ENOSPC."""
    if not Path("/dev/full").exists():
        pytest.skip("this system has no /dev/full")
    path = tmp_path / "model.pt"
    path.write_text("old")

    def full(descriptor: int) -> None:
        os.dup2(os.open("/dev/full", os.O_WRONLY), descriptor)

    with pytest.raises(InputError, match="No space left"), atomic_write(path) as handle:  # noqa: PT012
        full(handle.fileno())
        handle.write("x" * 100_000)
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["model.pt"]


def test_a_directory_that_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot write"):
        write_json(tmp_path / "file" / "below.json", {})
