"""How much the hierarchy thins, and what it costs beside its backbone.

Prints and writes, for liquid water (with MUSE_LR_DATA), rattled NaCl, a rattled metal and a gas,
the share of atoms that carry a coarse node, the pairs of atoms and nodes, and the time of energy
and forces with the hierarchy over that without it, alternately in one process on one thread.

    python benchmarks/coarse_nodes.py [--backbones painn mace] [--atoms 768] [--repeats 5]
"""

from __future__ import annotations

import argparse
import os
import time
from pathlib import Path

import numpy as np
import torch
from ase import Atoms
from ase.build import bulk
from ase.io import read

import muse_lr
from muse_lr.io import atomic_write

RESULTS = Path(__file__).resolve().parent / "results"
WATER = "water_rpbed3_bec/bec100.xyz.xz"
#: Those of the accuracy studies and of the published cost figures.
SETTINGS = {
    "painn": {"kind": "painn", "cutoff": 5.0, "channels": 64, "layers": 3},
    "mace": {"kind": "mace", "cutoff": 5.0, "channels": 64, "layers": 2, "max_l": 1},
}


def systems(atoms: int) -> dict[str, Atoms]:
    """Structures of about as many atoms."""
    rng = np.random.default_rng(0)
    salt = bulk("NaCl", "rocksalt", a=5.64, cubic=True)
    copies = round((atoms / 8) ** (1 / 3))
    salt = salt.repeat((copies, copies, max(round(atoms / 8 / copies**2), 1)))
    salt.rattle(0.12, seed=0)
    metal = bulk("Al", "fcc", a=4.05, cubic=True)
    copies = round((atoms / 4) ** (1 / 3))
    metal = metal.repeat((copies, copies, copies))
    metal.rattle(0.12, seed=0)
    side = (atoms / 0.02) ** (1 / 3)
    gas = Atoms(f"Ar{atoms}", rng.uniform(0, side, (atoms, 3)), cell=[side] * 3, pbc=True)
    found = {"NaCl, rattled 0.12 A": salt, "Al, rattled 0.12 A": metal, "random gas": gas}
    data = os.environ.get("MUSE_LR_DATA")
    if data and (Path(data) / WATER).exists():
        water = read(Path(data) / WATER, "0")
        copies = max(round(atoms / len(water)), 1)
        shape = (2, 2, 1) if copies == 4 else (copies, 1, 1)
        found = {"water, 300 K": water.repeat(shape), **found}
    else:
        print("water is left out: set MUSE_LR_DATA")
    return found


def model(backbone: str, elements: list[str], multiscale: bool) -> muse_lr.EnergyModel:
    """An untrained model; the nodes do not depend on weights."""
    torch.manual_seed(0)
    configuration = {
        "elements": elements,
        "backbone": SETTINGS[backbone],
        "multiscale": {"kind": "muse"} if multiscale else None,
        "charges": None,
        "heads": {},
    }
    return muse_lr.build_model(configuration).eval()


def row(name: str, atoms: Atoms, backbone: str, repeats: int) -> list[str]:
    """The measured line of a structure."""
    elements = sorted(set(atoms.symbols))
    pair = [model(backbone, elements, multiscale) for multiscale in (False, True)]
    batches = [muse_lr.AtomsBatch.from_ase([atoms], cutoff=m.cutoff) for m in pair]
    seconds: list[list[float]] = [[], []]
    for _ in range(repeats + 1):
        for times, one, batch in zip(seconds, pair, batches, strict=True):
            start = time.process_time()
            output = one(batch, ("forces",))
            times.append(time.process_time() - start)
    nodes, assignment = output.levels[0]
    local, both = (min(times[1:]) for times in seconds)
    return [
        name,
        str(len(atoms)),
        backbone,
        f"{len(nodes.atoms) / len(atoms):.3f}",
        f"{float(nodes.mass.sum()) / len(atoms):.3f}",
        f"{len(assignment.atom) / len(atoms):.1f}",
        f"{1e3 * local:.0f}",
        f"{both / local:.2f}",
    ]


def main() -> None:
    """Print and write the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--backbones", nargs="+", choices=list(SETTINGS), default=["painn"])
    parser.add_argument("--atoms", type=int, default=768)
    parser.add_argument("--repeats", type=int, default=5)
    args = parser.parse_args()
    muse_lr.tune_malloc()
    torch.set_num_threads(1)
    columns = ["system", "atoms", "backbone", "nodes/atom", "mass/atom", "pairs/atom"]
    columns += ["local E+F (ms)", "with muse / local"]
    lines = ["| " + " | ".join(columns) + " |", "|:--|" + "--:|" * (len(columns) - 1)]
    for backbone in args.backbones:
        for name, atoms in systems(args.atoms).items():
            lines.append("| " + " | ".join(row(name, atoms, backbone, args.repeats)) + " |")
            print(lines[-1], flush=True)
    note = (
        "CPU time of one thread, float32, least of the repeats, both models alternately in one "
        f"process; torch {torch.__version__}.\n\n"
        f"`python benchmarks/coarse_nodes.py --backbones {' '.join(args.backbones)} "
        f"--atoms {args.atoms} --repeats {args.repeats}`\n"
    )
    RESULTS.mkdir(exist_ok=True)
    with atomic_write(RESULTS / "coarse_nodes.md") as handle:
        handle.write("# Coarse nodes and their cost\n\n" + "\n".join(lines) + "\n\n" + note)


if __name__ == "__main__":
    main()
