"""Dispersion of bulk methane from Hirshfeld volumes: mbd, c6 and a short-range model.

    python -m benchmarks.bulk_methane [--fit 8] [--epochs 10] [--models c6 mbd painn]

Labels are the many-body dispersion energies of the set bulk_methane_mbd, to be found in
$MUSE_LR_DATA. The heads take the volumes of the set; one parameter, the scale of the damping
radius, and one energy per molecule are fitted to a few training structures. PaiNN with a cutoff
of 5 A learns the same energies from all of them. The table has errors on the published
out-of-sample structures, whose densities are not those of the training set, in meV per molecule.
"""

from __future__ import annotations

import argparse
import lzma
import tempfile
from pathlib import Path

import numpy as np
import torch
from ase import Atoms
from ase.io import read
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar

import muse_lr
from benchmarks.peers.machine import describe_machine
from muse_lr.config.paths import reference_data
from muse_lr.structures.geometry import strained_geometry
from muse_lr.train.config import resolve
from muse_lr.train.loop import train
from muse_lr.utils.files import atomic_write

RESULTS = Path(__file__).resolve().parent / "results"
LABEL, VOLUMES, MOLECULES = "REF_mbd_energy", "hirshfeld_rel_volume", 27
#: The parameter that is fitted, and where it is sought.
SCALES = {"c6": ("radius_scale", (0.7, 1.4)), "mbd": ("beta", (0.75, 1.0))}
#: Tolerance of the fitted parameter.
STEP = 0.005


def load(name: str) -> list[Atoms]:
    """One file of the set."""
    folder = reference_data() / "bulk_methane_mbd"
    with lzma.open(folder / f"{name}.xyz.xz", "rt") as handle:
        return read(handle, ":", format="extxyz")


def labels(structures: list[Atoms]) -> NDArray[np.float64]:
    """meV per molecule."""
    return np.array([atoms.info[LABEL] for atoms in structures]) * 1000 / MOLECULES


def head_energies(kind: str, scale: float, structures: list[Atoms]) -> NDArray[np.float64]:
    """meV per molecule of a head with the volumes of the structures."""
    section = {"kind": kind, SCALES[kind][0]: scale}
    model = muse_lr.build_model(
        {"elements": ["C", "H"], "backbone": None, "charges": None, "heads": {"head": section}}
    ).double()
    head, energies = model.heads["head"], []
    for atoms in structures:
        batch = muse_lr.AtomsBatch.from_ase([atoms], head.cutoff)
        geometry = strained_geometry(batch, batch.positions, None)
        composition = torch.tensor([[s == e for e in model.elements] for s in atoms.symbols])
        ratios = torch.from_numpy(atoms.arrays[VOLUMES]).double()
        with torch.no_grad():
            energies.append(float(head.energy(geometry, composition.double(), ratios)))
    return np.array(energies) * 1000 / MOLECULES


def fit_head(kind: str, structures: list[Atoms]) -> tuple[float, float]:
    """Scale of the damping radius, and energy per molecule in meV, by least squares."""
    target = labels(structures)

    def spread(scale: float) -> float:
        return float(np.std(target - head_energies(kind, scale, structures)))

    bounds = SCALES[kind][1]
    found = minimize_scalar(spread, bounds=bounds, method="bounded", options={"xatol": STEP})
    offset = np.mean(target - head_energies(kind, found.x, structures))
    return float(found.x), float(offset)


def short_range_energies(structures: list[Atoms], epochs: int) -> NDArray[np.float64]:
    """meV per molecule of a PaiNN that was trained on all training structures."""
    folder = reference_data() / "bulk_methane_mbd"
    with tempfile.TemporaryDirectory() as directory:
        raw = {
            "model": {
                "backbone": {"kind": "painn", "cutoff": 5.0, "channels": 32, "layers": 2},
                "charges": None,
                "heads": {},
            },
            "data": {
                "train": str(folder / "train_mbd.xyz.xz"),
                "valid": [str(folder / "val_mbd.xyz.xz")],
                "keys": {"energy": LABEL},
            },
            "training": {
                "directory": str(Path(directory) / "run"),
                "epochs": epochs,
                "loss": {"energy": 1.0},
                "batch": {"graphs": 4},
            },
        }
        run = train(resolve(raw, "bulk_methane", folder, "bulk_methane"), report=print)
        model = muse_lr.load_model(run / "model.pt")
    energies = []
    for atoms in structures:
        with torch.no_grad():
            output = model(muse_lr.AtomsBatch.from_ase([atoms], model.cutoff))
        energies.append(float(output.energy))
    return np.array(energies) * 1000 / MOLECULES


def row(name: str, fitted: str, found: NDArray[np.float64], target: NDArray[np.float64]) -> str:
    """A line of the table."""
    error = found - target
    slope = np.polyfit(target, found, 1)[0]
    return (
        f"| {name} | {fitted} | {np.abs(error).mean():.2f} | {np.sqrt((error**2).mean()):.2f} | "
        f"{error.mean():+.2f} | {slope:.3f} |"
    )


def main() -> None:
    """Fit, print and write the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--fit", type=int, default=8, help="training structures for the heads")
    parser.add_argument("--epochs", type=int, default=10, help="of the short-range model")
    parser.add_argument("--models", nargs="+", default=["c6", "mbd", "painn"])
    args = parser.parse_args()
    torch.set_num_threads(1)
    training, test = load("train_mbd"), load("test_oos")
    target, known = labels(test), labels(training)
    rows = [row("mean of the training set", "1", np.full(len(test), known.mean()), target)]
    print(rows[-1], flush=True)
    for name in args.models:
        if name == "painn":
            found, fitted = short_range_energies(test, args.epochs), f"{args.epochs} epochs"
        else:
            scale, offset = fit_head(name, training[:: len(training) // args.fit])
            found = head_energies(name, scale, test) + offset
            fitted = f"{SCALES[name][0]} {scale:.3f}, {offset:+.1f} meV"
        rows.append(row(name, fitted, found, target))
        print(rows[-1], flush=True)
    columns = "| model | fitted | MAE | RMSE | mean error | slope |\n|:--|:--|--:|--:|--:|--:|\n"
    note = (
        f"meV per molecule; {len(test)} structures of {target.min():.0f} to {target.max():.0f}, "
        f"the training set {known.min():.0f} to {known.max():.0f}. {describe_machine()}\n\n"
        f"`python -m benchmarks.bulk_methane --fit {args.fit} --epochs {args.epochs}`\n"
    )
    RESULTS.mkdir(exist_ok=True)
    with atomic_write(RESULTS / "bulk_methane.md") as handle:
        handle.write("# Dispersion of bulk methane\n\n" + columns + "\n".join(rows) + "\n\n" + note)


if __name__ == "__main__":
    main()
