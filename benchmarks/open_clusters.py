"""Memory of the heads and charges that sum over all pairs of an open cluster.

    python -m benchmarks.open_clusters [--quick] [--names scf c6]

Droplets of water, one evaluation each in a process of its own, on one thread: forces through the
calculator, and the gradient of a loss of the forces with respect to the weights. The model is PaiNN
with 8 channels, so that the sums over pairs dominate. The memory is the largest resident size minus
that after the same task for 24 atoms; times are processor times. Results go to benchmarks/results.
"""

from __future__ import annotations

import argparse
import json
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
#: Molecules along each axis: 1029, 1944 and 3993 atoms.
SHAPES = ((7, 7, 7), (9, 9, 8), (11, 11, 11))
#: The same for mbd, which has a dense matrix: 192 and 375 atoms.
SMALL_SHAPES = ((4, 4, 4), (5, 5, 5))
COULOMB = {"coulomb": {"kind": "coulomb"}}
LATENT = {"kind": "latent", "l_max": 1}
#: Charges and heads of each model.
MODELS: dict[str, tuple[dict[str, Any] | None, dict[str, Any]]] = {
    "field_features": ({"kind": "latent"}, {"head": {"kind": "field_features"}}),
    "field_features, exponent 6": (
        {"kind": "latent"},
        {"head": {"kind": "field_features", "exponent": 6}},
    ),
    "scf, l_max 1": ({"kind": "scf", "l_max": 1}, COULOMB),
    "qeq": ({"kind": "qeq"}, COULOMB),
    "coulomb, l_max 1": (LATENT, COULOMB),
    "coulomb": ({"kind": "latent"}, COULOMB),
    "c6": (None, {"head": {"kind": "c6"}}),
    "d3": (None, {"head": {"kind": "d3"}}),
    "mbd": (None, {"head": {"kind": "mbd"}}),
}
TASKS = ("forces", "training")


def model_of(name: str) -> muse_lr.EnergyModel:
    """A small float64 model whose heads are not zero."""
    charges, heads = MODELS[name]
    torch.manual_seed(0)
    backbone = {"kind": "painn", "cutoff": 3.5, "channels": 8, "layers": 2}
    section = {"elements": ["H", "O"], "backbone": backbone, "charges": charges, "heads": heads}
    model = muse_lr.build_model(section).double()
    testing.randomize_weights(model, seed=1, scale=0.1)
    return model


def run(model: muse_lr.EnergyModel, task: str, atoms: Atoms) -> None:
    """Forces through the calculator, or one backward pass of a loss of the forces."""
    if task == "forces":
        atoms.calc = muse_lr.Calculator(model)
        atoms.get_forces()
        return
    batch = muse_lr.AtomsBatch.from_ase([atoms], cutoff=model.cutoff)
    forces = model(batch, ("forces",), create_graph=True).forces
    assert forces is not None
    forces.square().sum().backward()
    model.zero_grad()


def shapes_of(name: str) -> tuple[tuple[int, int, int], ...]:
    """Sizes of the droplets of a model."""
    return SMALL_SHAPES if name == "mbd" else SHAPES


def droplet(shape: tuple[int, int, int]) -> Atoms:
    """A block of water in vacuum."""
    atoms = water_box(shape)
    return Atoms(atoms.symbols, atoms.positions)


def measure(name: str, task: str, shape: tuple[int, int, int]) -> dict[str, float]:
    """Atoms, MB and seconds of one evaluation in this process."""
    torch.set_num_threads(1)
    model = model_of(name)
    run(model, task, droplet((2, 2, 2)))
    before, start = peak_memory("cpu"), time.process_time()
    atoms = droplet(shape)
    run(model, task, atoms)
    taken = time.process_time() - start
    return {"atoms": len(atoms), "megabytes": peak_memory("cpu") - before, "seconds": taken}


def main() -> None:
    """Measure every model, task and size."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="the smallest size only")
    parser.add_argument("--names", nargs="*", default=list(MODELS), help="models to measure")
    parser.add_argument("--one", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        name, task, size = options.one
        print(json.dumps(measure(name, task, shapes_of(name)[int(size)])))
        return
    lines = ["| model | task | atoms | MB | kB/atom | s |", "|:--|:--|--:|--:|--:|--:|"]
    for name in options.names:
        for task in TASKS:
            for size in range(1 if options.quick else len(shapes_of(name))):
                command = [sys.executable, "-m", "benchmarks.open_clusters"]
                command += ["--one", name, task, str(size)]
                row = json.loads(subprocess.check_output(command).splitlines()[-1])
                per_atom = 1000 * row["megabytes"] / row["atoms"]
                lines.append(
                    f"| {name} | {task} | {row['atoms']} | {row['megabytes']:.0f} | "
                    f"{per_atom:.0f} | {row['seconds']:.1f} |"
                )
                print(lines[-1], flush=True)
    head = f"`python -m benchmarks.open_clusters`; {describe_machine()}; one thread."
    text = f"# open_clusters\n\n{head}\n\n{(__doc__ or '').strip()}\n\n" + "\n".join(lines)
    if not options.quick and options.names == list(MODELS):
        (RESULTS / "open_clusters.md").write_text(text + "\n")


if __name__ == "__main__":
    main()
