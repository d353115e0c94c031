"""Time and memory of whole models by boundary, for forces and for training.

    python -m benchmarks.boundaries [--quick] [--names painn "painn, conserved"]

Water as a crystal (TTT), a slab (TTF) and a droplet (FFF), one evaluation in a process of its own,
on one thread, float32: energy and forces, and the gradient of a loss of the forces with respect to
the weights. The memory is the largest resident size minus that after the same task for 24 atoms;
times are processor times of the second of two evaluations. Results go to benchmarks/results.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import torch
from ase import Atoms

import muse_lr
from benchmarks.long_range.scaling import peak_memory
from benchmarks.long_range.water import water_box
from benchmarks.peers.machine import describe_machine
from muse_lr import testing

RESULTS = Path(__file__).resolve().parent / "results"
PAINN = {"kind": "painn", "cutoff": 5.0, "channels": 64, "layers": 3}
MACE = {"kind": "mace", "cutoff": 5.0, "channels": 64, "layers": 2, "l_max": 1}
NOTHING: dict[str, Any] = {"charges": None, "heads": {}}
CHARGES = {"charges": {"kind": "conserved"}, "heads": {"coulomb": {"kind": "coulomb"}}}
#: Sections of each model.
MODELS: dict[str, dict[str, Any]] = {
    "painn": {"backbone": PAINN, **NOTHING},
    "painn, conserved": {"backbone": PAINN, **CHARGES},
    "painn, muse": {"backbone": PAINN, "multiscale": {"kind": "muse"}, **NOTHING},
    "mace": {"backbone": MACE, **NOTHING},
}
#: Boundaries of each model: charges depend on them, a backbone does not.
BOUNDARIES = {"painn, conserved": ("TTT", "TTF", "FFF")}
#: Molecules along each axis: 192, 1029 and 3000 atoms.
SHAPES = ((4, 4, 4), (7, 7, 7), (10, 10, 10))
#: Number of these sizes for each task; MACE needs more memory.
SIZES = {"forces": 3, "training": 3}
MACE_SIZES = {"forces": 2, "training": 1}
#: Vacuum of a slab, A.
VACUUM = 20.0


def structure(boundary: str, shape: tuple[int, int, int]) -> Atoms:
    """Water in this boundary."""
    atoms = water_box(shape)
    if boundary == "FFF":
        return Atoms(atoms.symbols, atoms.positions)
    if boundary == "TTF":
        atoms.center(vacuum=VACUUM / 2, axis=2)
        atoms.pbc = (True, True, False)
    return atoms


def run(model: muse_lr.EnergyModel, task: str, atoms: Atoms) -> muse_lr.AtomsBatch:
    """Energy and forces, or one backward pass of a loss of the forces."""
    batch = muse_lr.AtomsBatch.from_ase([atoms], cutoff=model.cutoff)
    evaluate(model, task, batch)
    return batch


def evaluate(model: muse_lr.EnergyModel, task: str, batch: muse_lr.AtomsBatch) -> None:
    """The task, for a batch with neighbor lists."""
    forces = model(batch, "forces", create_graph=task == "training").forces
    assert forces is not None
    if task == "training":
        forces.square().sum().backward()
        model.zero_grad()


def measure(name: str, boundary: str, task: str, size: int) -> dict[str, float]:
    """Atoms, edges, MB and seconds of one evaluation in this process."""
    torch.set_num_threads(1)
    muse_lr.tune_malloc()
    torch.manual_seed(0)
    model = muse_lr.build_model({"elements": ["H", "O"], **MODELS[name]})
    testing.randomize_weights(model, seed=1, scale=0.1)
    run(model, task, structure(boundary, (2, 2, 2)))
    before = peak_memory("cpu")
    atoms = structure(boundary, SHAPES[size])
    batch = run(model, task, atoms)
    megabytes = peak_memory("cpu") - before
    start = time.process_time()
    evaluate(model, task, batch)
    return {
        "atoms": len(atoms),
        "edges": batch.edge_index.shape[1],
        "megabytes": megabytes,
        "seconds": time.process_time() - start,
    }


def cases(names: list[str], quick: bool) -> list[tuple[str, str, str, int]]:
    """Model, boundary, task and size of each measurement."""
    return [
        (name, boundary, task, size)
        for name in names
        for boundary in BOUNDARIES.get(name, ("TTT",))
        for task, sizes in (MACE_SIZES if name == "mace" else SIZES).items()
        for size in range(1 if quick else sizes)
    ]


def row_of(name: str, boundary: str, task: str, size: int) -> str:
    """Row of the table, from a process of its own."""
    command = [sys.executable, "-m", "benchmarks.boundaries", "--one", name, boundary, task]
    row = json.loads(subprocess.check_output([*command, str(size)]).splitlines()[-1])
    atoms = row["atoms"]
    return (
        f"| {name} | {boundary} | {task} | {atoms} | {row['edges'] / atoms:.0f} | "
        f"{1e6 * row['seconds'] / atoms:.0f} | {1000 * row['megabytes'] / atoms:.0f} | "
        f"{row['megabytes']:.0f} |"
    )


def main() -> None:
    """Measure every model, boundary, task and size."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="the smallest size only")
    parser.add_argument("--names", nargs="*", default=list(MODELS), help="models to measure")
    parser.add_argument("--one", nargs=4, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        name, boundary, task, size = options.one
        print(json.dumps(measure(name, boundary, task, int(size))))
        return
    lines = [
        "| model | boundary | task | atoms | edges/atom | µs/atom | kB/atom | MB |",
        "|:--|:--|:--|--:|--:|--:|--:|--:|",
    ]
    for case in cases(options.names, options.quick):
        lines.append(row_of(*case))
        print(lines[-1], flush=True)
    head = f"`python -m benchmarks.boundaries`; {describe_machine('vesin', 'mace-torch')}; "
    head += f"load average {os.getloadavg()[0]:.1f} at the end."
    text = f"# boundaries\n\n{head}\n\n{(__doc__ or '').strip()}\n\n" + "\n".join(lines)
    if not options.quick and options.names == list(MODELS):
        (RESULTS / "boundaries.md").write_text(text + "\n")


if __name__ == "__main__":
    main()
