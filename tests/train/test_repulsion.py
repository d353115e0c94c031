"""The repulsion that a training adds: zero for its data, strong below, and recorded."""

from __future__ import annotations

import json
from itertools import combinations

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.io import write

import muse_lr
from muse_lr.config.yaml import dump_yaml
from muse_lr.train.config import load_config
from muse_lr.train.loop import train
from muse_lr.train.setup import prepare

BACKBONE = {"kind": "painn", "channels": 4, "layers": 1, "cutoff": 4.0}


def waters(count: int = 8) -> list[Atoms]:
    """Distorted water molecules with labels."""
    rng = np.random.default_rng(1)
    frames = []
    for _ in range(count):
        atoms = Atoms("OH2", [[0, 0, 0], [0.96, 0, 0], [-0.24, 0.93, 0]])
        atoms.positions += rng.uniform(-0.05, 0.05, (3, 3))
        atoms.info["REF_energy"] = float(rng.normal())
        atoms.arrays["REF_forces"] = rng.normal(size=(3, 3))
        frames.append(atoms)
    return frames


def written(tmp_path, frames, model=None, **training):
    write(tmp_path / "a.xyz", frames, format="extxyz")
    config = {
        "model": {"backbone": BACKBONE, **(model or {})},
        "data": {"train": "a.xyz", "valid": 0.25},
        "training": {"epochs": 1, "directory": "run", "device": "cpu", **training},
    }
    dump_yaml(config, tmp_path / "config.yaml")
    return load_config(tmp_path / "config.yaml")


def test_the_repulsion_is_zero_for_the_data_and_strong_below(tmp_path):
    frames = waters()
    directory = train(written(tmp_path, frames))
    model = muse_lr.load_model(directory / "model.pt").double()
    assert list(model.heads) == ["coulomb", "repulsion"]
    batch = muse_lr.AtomsBatch.from_ase(frames, cutoff=model.cutoff)
    assert bool((model(batch).energy_parts["repulsion"] == 0).all())
    shortest = {
        pair: min(
            atoms.get_distance(i, j)
            for atoms in frames
            for i, j in combinations(range(3), 2)
            if {atoms.symbols[i], atoms.symbols[j]} == set(pair.split("-"))
        )
        for pair in ("H-H", "H-O")
    }
    assert model.config.heads["repulsion"].wall == 500
    recorded = model.config.heads["repulsion"].distances
    assert recorded == pytest.approx({p: 0.95 * d for p, d in shortest.items()}, abs=1e-4)
    closed = frames[0].copy()
    closed.set_angle(1, 0, 2, 40.0, mask=[0, 0, 1])  # hydrogen atoms 0.66 A apart
    parts = model(muse_lr.AtomsBatch.from_ase([closed], cutoff=model.cutoff)).energy_parts
    assert float(parts["repulsion"]) > 1.0
    notes = json.loads((directory / "summary.json").read_text())["notes"]
    assert any("a repulsion acts below 0.95" in note for note in notes)


def test_validation_frames_count_so_that_seeds_share_the_repulsion(tmp_path):
    heads = [
        prepare(written(tmp_path, waters(), seed=seed)).config.model.heads["repulsion"]
        for seed in (0, 1)
    ]
    assert heads[0] == heads[1]


def test_a_repulsion_of_the_user_is_completed_or_kept(tmp_path):
    own = {"heads": {"core": {"kind": "zbl"}}}
    heads = prepare(written(tmp_path, waters(), own)).config.model.heads
    assert list(heads) == ["core"]
    assert heads["core"].distances.keys() == {"H-H", "H-O"}
    given = {"heads": {"core": {"kind": "zbl", "distances": {"H-H": 0.5}}}}
    assert prepare(written(tmp_path, waters(), given)).config.model.heads["core"].distances == {
        "H-H": 0.5
    }


@pytest.mark.parametrize(
    ("model", "training"),
    [
        ({"heads": {"coulomb": {}, "repulsion": None}}, {}),
        ({"heads": {"coulomb": {}, "repulsion": {"kind": "c6"}}}, {}),
        ({}, {"loss": {"dipole": 1.0}}),
    ],
    ids=["null", "another kind", "loss of charges"],
)
def test_what_gets_no_repulsion(tmp_path, model, training):
    frames = waters()
    for atoms in frames:
        atoms.info["REF_dipole"] = np.array([0.1, 0.2, 0.3])
    config = written(tmp_path, frames, model, **training)
    heads = prepare(config).model.heads
    assert not any(type(head).__name__ == "ZBLHead" for head in heads.values())


def test_forces_agree_with_differences_inside_the_switch(tmp_path):
    zbl = {"kind": "zbl", "distances": {"H-H": 1.6, "H-O": 1.0}}
    section = {"elements": ["H", "O"], "backbone": None, "charges": None, "heads": {"zbl": zbl}}
    model = muse_lr.build_model(section).double()
    frame = waters(1)[0]
    batch = muse_lr.AtomsBatch.from_ase([frame], cutoff=model.cutoff)
    forces = model(batch, ("forces",)).forces
    moved = []
    for sign in (1, -1):
        copy = frame.copy()
        copy.positions[1, 0] += sign * 1e-4
        moved.append(copy)
    energies = model(muse_lr.AtomsBatch.from_ase(moved, cutoff=model.cutoff)).energy
    slope = -(energies[0] - energies[1]) / 2e-4
    torch.testing.assert_close(forces[1, 0], slope, rtol=1e-5, atol=1e-6)
