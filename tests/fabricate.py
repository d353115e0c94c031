"""Fabricates run directories as ``muse-lr train`` leaves them; as a script, it is a fake trainer.

The "models" are a noisy reference: a variant whose name contains ``charges`` keeps the Coulomb
tail, others lose it beyond 6 A.
"""

from __future__ import annotations

import json
import os
import sys
import time
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from ase.io import write
from ruamel.yaml import YAML

COULOMB = 14.4
PAIRS = {"sodium-chloride": (("Na", "Cl"), 1.0), "ammonium-formate": (("N", "O"), 0.8)}


def frames(test: str, count: int = 40) -> list[Atoms]:
    """Reference frames of a test set: scattered distances and two scans."""
    rng = np.random.default_rng(zlib.crc32(test.encode()))
    low, high = (7.0, 15.0) if test == "far" else (2.5, 7.0)
    plans = [(low + (high - low) * rng.random(), "none", i) for i in range(count)]
    plans += [(d, scan, i) for i, scan in enumerate(PAIRS) for d in np.linspace(low, high, 7)]
    out = []
    for distance, scan, i in plans:
        symbols, factor = list(PAIRS.values())[i % 2]
        atoms = Atoms(symbols, [[0, 0, 0], [0, 0, distance]])
        interaction = -factor * COULOMB / distance + 300.0 * np.exp(-2.2 * distance)
        force = factor * COULOMB / distance**2
        e0 = -1000.0 * atoms.numbers.sum()
        atoms.info |= {
            "REF_energy": e0 - 3.0 + interaction,
            "REF_dipole": np.array([0.0, 0.0, -distance]),
            "REF_interaction_energy": interaction,
            "distance": distance,
            "scan": scan,
            "subset": list(PAIRS)[i % 2],
            "size_first": 1,
            "muse_part_e0": e0,
        }
        atoms.arrays["REF_forces"] = np.array([[0, 0, force], [0, 0, -force]])
        out.append(atoms)
    return out


def predict(atoms: Atoms, charges: bool, rng: np.random.Generator) -> None:
    """Add the predictions of a model to a reference frame."""
    info, distance = atoms.info, atoms.info["distance"]
    coulomb = info["REF_interaction_energy"]
    scale = 1.0 if charges else 1.0 / (1.0 + np.exp(2.0 * (distance - 6.0)))
    interaction = coulomb * scale + 0.02 * rng.normal()
    info["muse_energy"] = info["REF_energy"] - coulomb + interaction
    info["muse_part_backbone"] = -3.0
    info["muse_dipole"] = info["REF_dipole"] + 0.05 * rng.normal(size=3)
    info["muse_interaction_energy"] = interaction
    info["muse_interaction_e0"] = 0.0
    info["muse_interaction_backbone"] = interaction - 0.9 * coulomb * charges
    if charges:
        info["muse_interaction_coulomb"] = 0.9 * coulomb
        charge = 0.9 + 0.02 * rng.normal()
        atoms.arrays["muse_charges"] = np.array([charge, -charge])
    atoms.arrays["muse_forces"] = atoms.arrays["REF_forces"] * scale + 0.01 * rng.normal(
        size=(2, 3)
    )


def errors(atoms: list[Atoms]) -> dict[str, float]:
    """The metrics of the summary, computed independently of the package."""
    e = [1e3 * (a.info["muse_energy"] - a.info["REF_energy"]) / len(a) for a in atoms]
    f = [1e3 * (a.arrays["muse_forces"] - a.arrays["REF_forces"]).ravel() for a in atoms]
    d = [(a.info["muse_dipole"] - a.info["REF_dipole"]).ravel() for a in atoms]
    out = {}
    for label, values in (
        ("energy", np.array(e)),
        ("forces", np.concatenate(f)),
        ("dipole", np.concatenate(d)),
    ):
        out[f"{label}_mae"] = float(np.abs(values).mean())
        out[f"{label}_rmse"] = float(np.sqrt((values**2).mean()))
    return out


def write_run(
    directory: Path,
    charges: bool = True,
    seed: int = 0,
    epochs: int = 30,
    tests: tuple[str, ...] = ("near", "far"),
    config: dict[str, Any] | None = None,
) -> Path:
    """Write a finished run directory."""
    rng = np.random.default_rng([seed, int(charges)])
    directory.mkdir(parents=True, exist_ok=True)
    config = config or {
        "model": {"heads": {"coulomb": {"kind": "coulomb"} if charges else None}},
        "data": {"keys": {"energy": "REF_energy", "forces": "REF_forces", "dipole": "REF_dipole"}},
        "training": {"epochs": epochs, "seed": seed, "directory": str(directory)},
    }
    with (directory / "config.yaml").open("w") as handle:
        YAML(typ="safe", pure=True).dump(config, handle)
    with (directory / "metrics.csv").open("w") as handle:
        handle.write(
            "epoch,seconds,learning_rate,train_loss,valid_loss,valid_energy_mae,valid_energy_rmse,valid_forces_mae,valid_forces_rmse\n"
        )
        for epoch in range(1, epochs + 1):
            scale = np.exp(-epoch / 8) + (0.02 if charges else 0.1) + 0.01 * rng.random()
            row = [
                epoch,
                1.5 * epoch,
                1e-3,
                scale,
                1.2 * scale,
                90 * scale,
                130 * scale,
                200 * scale,
                300 * scale,
            ]
            handle.write(",".join(f"{value:.6g}" for value in row) + "\n")
    metrics = {}
    for test in tests:
        atoms = frames(test)
        for frame in atoms:
            predict(frame, charges, rng)
        write(directory / f"predictions-{test}.extxyz", atoms, format="extxyz")
        metrics[test] = errors(atoms)
    summary = {
        "status": "finished", "parameters": 50_000 + 1_000 * charges, "seconds": 61.0 + seed,
        "peak_memory_mb": 812.0, "inference_us_per_atom": 21.0 + charges, "seed": seed,
        "epochs": epochs, "best_epoch": epochs - 2, "tests": metrics, "device": "cpu",
        "processes": 1, "initial_weights": {"backbone": f"0123456789abcde{seed}"},
        "steps": 7 * epochs, "fingerprints": {"training data": "0123456789abcdef"},
        "work": {
            "epochs": epochs, "steps": 7 * epochs, "structures": 50 * epochs,
            "largest_rate": 1e-3, "batches": f"0123456789abcde{seed}", "rates": "0123456789abcdef",
        },
    }  # fmt: skip
    (directory / "summary.json").write_text(json.dumps(summary))
    return directory


def main() -> int:
    """``fabricate.py CONFIG [WORD]``: fails if WORD is in the path, sleeps in a variant "sleep"."""
    path = sys.argv[1]
    config = YAML(typ="safe", pure=True).load(Path(path).read_text())
    directory = Path(config["training"]["directory"])
    if len(sys.argv) > 2 and sys.argv[2] in path:
        print("a line before")
        print("loss is NaN at step 7", file=sys.stderr)
        return 3
    if "/sleep/" in path:
        directory.mkdir(parents=True)
        (directory / "pid").write_text(str(os.getpid()))
        time.sleep(300)
    coulomb = (config["model"].get("heads") or {}).get("coulomb") is not None
    write_run(directory, coulomb, config["training"]["seed"], 5, config=config)
    return 0


if __name__ == "__main__":
    sys.exit(main())
