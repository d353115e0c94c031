"""The largest number of training frames: which frames, what is recorded, what resumes."""

from __future__ import annotations

import json

import pytest
from ase.io import read, write

from muse_lr.config.yaml import load_yaml
from muse_lr.data.dataset import limit_frames
from muse_lr.errors import InputError
from muse_lr.train.config import load_config
from muse_lr.train.loop import train
from muse_lr.train.setup import prepare, read_data
from training_data import write_run


def names(frames):
    return [frame.source.rpartition(" ")[2] for frame in frames]


def used(path, **overrides):
    """Frames that are trained and validated on, by index in the file."""
    data = read_data(load_config(path, overrides))
    return sorted(map(int, names([*data.train, *data.valid]))), data


def test_all_seeds_share_the_subset_and_differ_in_the_split(tmp_path):
    path = write_run(tmp_path)
    first, data = used(path, **{"data.max_frames": 8})
    assert len(first) == 8
    assert len(data.valid) == 2  # the fraction of the subset
    second, other = used(path, **{"data.max_frames": 8, "training.seed": 3})
    assert second == first
    assert names(other.valid) != names(data.valid)
    larger, _ = used(path, **{"data.max_frames": 12})
    assert set(first) < set(larger)
    redrawn = [used(path, **{"data.max_frames": 8, "data.subset_seed": s})[0] for s in (1, 2, 3)]
    assert any(indices != first for indices in redrawn)
    assert used(path)[0] == list(range(16))


def test_the_subset_is_in_the_notes_and_in_the_configuration(tmp_path):
    path = write_run(tmp_path)
    setup = prepare(load_config(path, {"data.max_frames": 8}))
    (note,) = [note for note in setup.notes if "max_frames" in note]
    assert note.startswith("8 of the 16 frames of data.train are used")
    assert "data.subset_seed: 0" in note
    assert setup.config.data.max_frames == 8
    note = prepare(load_config(path, {"data.max_frames": 400})).notes[0]
    assert note == "data.max_frames is 400, and all 16 frames are used"


def test_a_run_records_its_subset_and_resumes_with_no_other(tmp_path):
    path = write_run(tmp_path, epochs=1)
    directory = train(load_config(path, {"data.max_frames": 8}))
    summary = json.loads((directory / "summary.json").read_text())
    assert summary["train_frames"] + summary["valid_frames"] == 8
    assert any("8 of the 16 frames" in note for note in summary["notes"])
    assert load_yaml(directory / "config.yaml")["data"]["max_frames"] == 8
    (directory / "summary.json").unlink()
    with pytest.raises(InputError, match=r"data\.max_frames differs"):
        train(load_config(path, {"data.max_frames": 9}), resume=True)
    again = load_config(path, {"data.max_frames": 8, "data.subset_seed": 1})
    with pytest.raises(InputError, match=r"data\.subset_seed differs"):
        train(again, resume=True)


def test_validation_files_and_tests_are_not_reduced(tmp_path):
    path = write_run(tmp_path)
    _, data = used(path, **{"data.max_frames": 5, "data.valid": "test.xyz"})
    assert len(data.train) == 5
    assert len(data.valid) == len(data.test["held_out"]) == 8


def test_isolated_atoms_that_give_the_e0s_are_kept(tmp_path):
    path = write_run(tmp_path)
    frames = read(tmp_path / "train.xyz", ":")
    for symbol in ("H", "O", "Na", "Cl"):
        atom = frames[0][:1].copy()
        atom.symbols[0], atom.info = symbol, {"REF_energy": -1.0}
        frames.append(atom)
    write(tmp_path / "train.xyz", frames, format="extxyz")
    _, data = used(path, **{"data.max_frames": 3, "model.e0": "isolated"})
    assert len(data.isolated) == 4
    assert len(data.train) + len(data.valid) == 3


def test_shared_frames_are_noted(tmp_path):
    path = write_run(tmp_path)
    overrides = {"data.train": "train.xyz@:10", "data.valid": "train.xyz@8:12"}
    _, data = used(path, **overrides, **{"data.test.late": "train.xyz@11:"})
    valid, late = [note for note in data.notes if "frames too" in note]
    assert valid.startswith("validation: 2 of 4 frames are training frames too, such as")
    assert valid.endswith("train.xyz, frame 8")
    assert late.startswith("test set late: 1 of 5 frames are training or validation frames too")
    assert not [note for note in used(path)[1].notes if "frames too" in note]


def test_no_limit_keeps_every_frame():
    assert limit_frames([], None, 0) == ([], [])
