"""Small labeled data sets and configurations for the tests of training."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from ase import Atoms
from ase.build import molecule
from ase.io import write

import muse_lr
from muse_lr.config.yaml import dump_yaml


def labeled_frames(count: int, seed: int = 0) -> list[Atoms]:
    """Pairs of Na+ or Cl- with water, labeled by a random model with charges."""
    torch.manual_seed(7)
    teacher = muse_lr.build_model(
        {"elements": ["H", "O", "Na", "Cl"], "backbone": {"channels": 8, "layers": 1}}
    ).to(torch.float64)
    rng = np.random.default_rng(seed)
    frames = []
    for i in range(count):
        atoms = molecule("H2O")
        atoms.positions += 0.05 * rng.normal(size=(3, 3))
        distance = rng.uniform(2.5, 7)
        atoms += Atoms("Na" if i % 2 else "Cl", [[0, 0, distance]])
        atoms.info["total_charge"] = 1 if i % 2 else -1
        atoms.info["distance"] = distance
        batch = muse_lr.AtomsBatch.from_ase([atoms], cutoff=teacher.cutoff)
        out = teacher(batch, ("forces", "dipole"))
        atoms.info["REF_energy"] = float(out.energy[0].detach()) + 3.0
        atoms.info["REF_dipole"] = out.dipole[0].detach().numpy()
        atoms.arrays["REF_forces"] = out.forces.detach().numpy()
        frames.append(atoms)
    return frames


def write_run(directory: Path, **training) -> Path:
    """A configuration file with data beside it; its path."""
    frames = labeled_frames(24)
    directory.mkdir(parents=True, exist_ok=True)
    write(directory / "train.xyz", frames[:16], format="extxyz")
    write(directory / "test.xyz", frames[16:], format="extxyz")
    config = {
        "model": {"backbone": {"kind": "painn", "channels": 8, "layers": 1, "cutoff": 4.0}},
        "data": {"train": "train.xyz", "valid": 0.25, "test": {"held_out": "test.xyz"}},
        "training": {
            "directory": "run",
            "epochs": 3,
            "batch": {"graphs": 4},
            "device": "cpu",
            **training,
        },
    }
    dump_yaml(config, directory / "config.yaml")
    return directory / "config.yaml"
