"""Do trained models survive molecular dynamics above the temperature of their data?

    python -m benchmarks.dynamics --out runs/dynamics

Trains the water model of examples/water_nve, the same with 20 radial functions, and a model of an
electrolyte (nacl_water_revpbe0d3, read from $MUSE_LR_DATA), with three seeds each and a schedule of
25 epochs. Each model then runs 20 ps of Langevin dynamics at 300, 400 and 600 K with the default
settings of ``muse-lr md`` and a compiled model, from a box of 18 randomly oriented molecules.
The table counts failures and dissociated molecules: oxygen atoms without exactly two hydrogen atoms
within 1.3 A. An interrupted benchmark continues where it was.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from ase.io import iread, write
from ase.neighborlist import neighbor_list

from benchmarks.long_range.water import water_box
from benchmarks.peers.machine import describe_machine
from muse_lr.config.overrides import apply_override
from muse_lr.config.yaml import dump_yaml, load_yaml
from muse_lr.utils.files import atomic_write

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results" / "dynamics.md"
CONFIG = ROOT / "examples" / "water_nve" / "config.yaml"
EPOCHS, SEEDS, TEMPERATURES, PICOSECONDS = 25, (0, 1, 2), (300, 400, 600), 20
#: Molecules along each axis.
SHAPE = (3, 3, 2)
#: Bond length up to which a hydrogen atom belongs to an oxygen atom, A.
BOND = 1.3
NACL = "${MUSE_LR_DATA}/nacl_water_revpbe0d3"
SYSTEMS: dict[str, dict[str, Any]] = {
    "water": {},
    "water, 20 radial functions": {"model.backbone.num_radial": 20},
    "electrolyte": {
        "data.train": [f"{NACL}/train.xyz.xz"],
        "data.max_frames": 150,
        "data.partial": [],
        "model.charges.kind": "split",
    },
}


def liquid(ions: tuple[str, ...] = ()) -> Atoms:
    """Randomly oriented molecules at the density of water; the first ones are replaced by ions."""
    atoms = water_box(SHAPE)
    places = atoms.positions[: 3 * len(ions) : 3]  # of the oxygen atoms
    solutes = Atoms(list(ions), places)
    del atoms[: 3 * len(ions)]
    return atoms + solutes


def write_start(name: str, directory: Path) -> Path:
    """Write the structure from which the dynamics of a system start."""
    start = directory / "start.xyz"
    with atomic_write(start) as handle:
        write(handle, liquid(("Na", "Cl") if name == "electrolyte" else ()), format="extxyz")
    return start


def dissociated(trajectory: Path) -> tuple[float, float]:
    """Mean and largest share of oxygen atoms without exactly two hydrogen atoms, second half."""
    shares = []
    for frame in iread(trajectory, ":", format="extxyz"):
        first, second = neighbor_list("ij", frame, BOND)
        bonds = (frame.numbers[first] == 8) & (frame.numbers[second] == 1)
        count = np.bincount(first[bonds], minlength=len(frame))[frame.numbers == 8]
        shares.append(float(np.mean(count != 2)))
    half = shares[len(shares) // 2 :]
    return float(np.mean(half)), float(np.max(half))


def train(name: str, seed: int, out: Path, changes: Mapping[str, Any] | None = None) -> Path:
    """Train the model of a system, unless it is there; ``changes`` are of its configuration."""
    directory = out / name.replace(", ", "-").replace(" ", "-") / f"seed-{seed}"
    config = load_yaml(CONFIG)
    settings = {
        **SYSTEMS[name],
        "training.epochs": EPOCHS,
        "training.seed": seed,
        "training.directory": str(directory.resolve()),
        **(changes or {}),
    }
    for key, value in settings.items():
        config = apply_override(config, key, value)
    path = directory.with_suffix(".yaml")
    dump_yaml(config, path)
    command("train", str(path), "--resume")
    return directory


def simulate(name: str, seed: int, directory: Path) -> Path:
    """Run molecular dynamics of a model, unless it is done."""
    start = write_start(name, directory.parent)
    out = directory.parent / f"md-{seed}"
    temperatures = [str(value) for value in TEMPERATURES]
    options = ["--temperature", *temperatures, "--ps", str(PICOSECONDS), "--seed", str(seed)]
    run_md(directory / "model.pt", start, out, *options)
    return out


def run_md(model: Path, start: Path, out: Path, *options: str) -> None:
    """Run ``muse-lr md`` with a compiled model, unless it is done; continue if it is not."""
    if (out / "summary.json").exists():
        return
    resume = ["--resume"] if (out / "settings.json").exists() else []
    command("md", str(model), str(start), "--out", str(out), "--compile", *options, *resume)


def command(*arguments: str) -> None:
    """Run ``muse-lr``; a copy that failed is a result."""
    print("muse-lr", *arguments, flush=True)
    done = subprocess.run([sys.executable, "-m", "muse_lr", *arguments], check=False)
    if done.returncode not in (0, 1):
        raise SystemExit(done.returncode)


def rows(name: str, out: Path) -> list[str]:
    """Lines of the table for one system, for the seeds that are finished."""
    folder = out / name.replace(", ", "-").replace(" ", "-")
    lines = []
    for index, temperature in enumerate(TEMPERATURES):
        ran, failed, errors, means, peaks = [], 0, [], [], []
        for seed in SEEDS:
            path = folder / f"md-{seed}" / "summary.json"
            if not path.exists():
                continue
            summary = json.loads(path.read_text(encoding="utf-8"))
            copy = summary["copies"][index]
            ran.append(copy["time_ps"])
            failed += copy["failure"] is not None
            errors.append(copy["temperature_K"])
            mean, peak = dissociated(path.parent / f"copy-{index}.extxyz")
            means.append(mean)
            peaks.append(peak)
        if ran:
            times = ", ".join(f"{value:g}" for value in ran)
            lines.append(
                f"| {name} | {temperature} | {len(ran)} | {failed} | {times} | "
                f"{np.mean(errors):.0f} | {np.mean(means):.2%} | {np.max(peaks):.0%} |"
            )
    return lines


def report(out: Path) -> str:
    """The page of results."""
    head = [
        "# Molecular dynamics of trained models",
        "",
        f"{describe_machine()}. Command: `python -m benchmarks.dynamics --out runs/dynamics`.",
        "",
        f"{np.prod(SHAPE)} water molecules, of which an ion pair replaces two in the electrolyte; "
        f"{PICOSECONDS} ps of Langevin dynamics with the default settings of `muse-lr md` and "
        "`--compile`. Dissociated: oxygen atoms without exactly two hydrogen atoms within "
        f"{BOND} Å, in the second half of the run. The training data are at about 300 K.",
        "",
        "| system | target (K) | seeds | failures | ran (ps) | mean temperature (K) | dissociated, "
        "mean | dissociated, largest |",
        "|:--|--:|--:|--:|--:|--:|--:|--:|",
    ]
    return "\n".join([*head, *(line for name in SYSTEMS for line in rows(name, out))]) + "\n"


def main() -> None:
    """Entry point."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("runs/dynamics"))
    parser.add_argument("--only", choices=SYSTEMS, nargs="+", default=list(SYSTEMS))
    parser.add_argument("--seeds", type=int, nargs="+", default=list(SEEDS))
    args = parser.parse_args()
    for seed in args.seeds:
        for name in args.only:
            simulate(name, seed, train(name, seed, args.out))
            with atomic_write(RESULTS) as handle:
                handle.write(report(args.out))


if __name__ == "__main__":
    main()
