"""Memory and time of energy and forces, each system in a process of its own.

    python -m benchmarks.memory [--quick] [--largest 110000]

Rock salt (NaCl, rattled) and water by a backbone with latent charges and the Coulomb head, in
float32 on one thread. `process` is the peak resident memory of the whole process, interpreter and
libraries included. `kB/atom` is its growth over that of a small system, per atom. `tensors` is the
largest sum of all tensors at one time, without buffers inside of operators. Results go to
benchmarks/results.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time
from pathlib import Path

import torch
from ase import Atoms
from ase.build import bulk

import muse_lr
from benchmarks.long_range.water import water_box
from benchmarks.peers.machine import describe_machine
from muse_lr.utils.files import atomic_write
from muse_lr.utils.tensor_memory import TensorMemory

RESULTS = Path(__file__).resolve().parent / "results"
BACKBONES = {
    "painn": {"kind": "painn", "cutoff": 5.0, "channels": 64, "layers": 3},
    "mace": {"kind": "mace", "cutoff": 5.0},
}
#: Backbone, structure and number of cells along each axis.
SYSTEMS = (
    ("painn", "NaCl", 5),
    ("painn", "NaCl", 8),
    ("painn", "water", 6),
    ("painn", "water", 10),
    ("mace", "NaCl", 5),
    ("mace", "NaCl", 8),
)
#: Largest system whose tensors are followed, which takes twice as long.
FOLLOWED = 10_000


def structure(kind: str, cells: int) -> Atoms:
    """A cube with this number of cells along each axis."""
    if kind == "water":
        return water_box((cells,) * 3)
    box = bulk("NaCl", "rocksalt", 5.64, cubic=True).repeat(cells)
    box.rattle(0.1, seed=0)
    return box


def resident() -> float:
    """Peak resident memory of this process, kB."""
    return float(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)


def measure(backbone: str, kind: str, cells: int) -> dict[str, float]:
    """Memory and time of one system, in this process."""
    torch.set_num_threads(1)
    muse_lr.tune_malloc()
    torch.manual_seed(0)
    small, box = structure(kind, 2), structure(kind, cells)
    model = muse_lr.build_model(
        {
            "elements": sorted(set(box.symbols)),
            "backbone": BACKBONES[backbone],
            "charges": {"kind": "latent"},
            "heads": {"coulomb": {"kind": "coulomb"}},
        }
    ).eval()
    model(muse_lr.AtomsBatch.from_ase([small], cutoff=model.cutoff), compute=("forces",))
    before = resident()
    batch = muse_lr.AtomsBatch.from_ase([box], cutoff=model.cutoff)
    start = time.process_time()
    model(batch, compute=("forces",))
    seconds, peak = time.process_time() - start, resident()
    tensors = float("nan")
    if len(box) <= FOLLOWED:
        with TensorMemory() as memory:
            model(batch, compute=("forces",))
        tensors = memory.peak / len(box) / 1e3
    return {
        "atoms": len(box),
        "edges": batch.edge_index.shape[1] / len(box),
        "process": peak / 1e6,
        "resident": (peak - before) / len(box),
        "tensors": tensors,
        "ms": seconds / len(box) * 1e3,
    }


def row(backbone: str, kind: str, cells: int) -> str:
    """Row of the table, measured in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.memory", "--one", backbone, kind, str(cells)]
    found = subprocess.run(command, capture_output=True, text=True, check=True)
    values = json.loads(found.stdout.splitlines()[-1])
    tensors = f"{values['tensors']:.0f}" if values["tensors"] > 0 else ""
    return (
        f"| {backbone} | {kind} | {values['atoms']} | {values['edges']:.0f} | "
        f"{values['process']:.2f} | {values['resident']:.0f} | {tensors} | {values['ms']:.2f} |"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="small systems, nothing is written")
    parser.add_argument("--largest", type=int, default=110_000, help="atoms of the largest NaCl")
    parser.add_argument("--one", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        backbone, kind, cells = options.one
        print(json.dumps(measure(backbone, kind, int(cells))))
        return
    largest = ("painn", "NaCl", round((options.largest / 8) ** (1 / 3)))
    systems = [("painn", "NaCl", 3)] if options.quick else [*SYSTEMS, largest]
    lines = [
        "| backbone | system | atoms | edges/atom | process (GB) | kB/atom | tensors (kB/atom) "
        "| ms/atom |",
        "|:--|:--|--:|--:|--:|--:|--:|--:|",
    ]
    for system in systems:
        lines.append(row(*system))
        print(lines[-1], flush=True)
    text = [
        "# memory",
        "",
        f"`python -m benchmarks.memory`; {describe_machine('vesin')}; one thread; float32; a "
        "process for each row.",
        "",
        "Energy and forces with latent charges and the Coulomb head. PaiNN has 64 channels and 3 "
        "layers, MACE its defaults, both a cutoff of 5 A. kB/atom is the growth of the resident "
        "memory of the process over that of a small system; tensors is the largest sum of all "
        "tensors at one time:",
        "",
        *lines,
        "",
    ]
    if not options.quick:
        with atomic_write(RESULTS / "memory.md") as handle:
            handle.write("\n".join(text))


if __name__ == "__main__":
    main()
