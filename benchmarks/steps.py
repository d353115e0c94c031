"""Time of an evaluation with and without compilation, and the difference of the forces.

    python -m benchmarks.steps [--only NAME]

Boxes of water, untrained models, float32, one thread, energies and forces, with a neighbor list
that has a skin of 0.5 A. Both take turns in one process, and times are processor times: the
smallest of some rounds. Programs are compiled where the cache does not have them; the time that
this took is listed. Results go to benchmarks/results.
"""

from __future__ import annotations

import argparse
import time
from copy import deepcopy
from pathlib import Path
from typing import Any

import torch

import muse_lr
from benchmarks.long_range.water import water_box
from benchmarks.peers.machine import describe_machine
from muse_lr.model.compilation import cache
from muse_lr.structures.verlet_list import VerletList
from muse_lr.utils.files import atomic_write

RESULTS = Path(__file__).resolve().parent / "results" / "steps.md"
SKIN, ROUNDS = 0.5, 5
PAINN = {"kind": "painn", "cutoff": 5.0, "channels": 64, "layers": 3}
MACE = {"kind": "mace", "cutoff": 5.0, "channels": 64, "layers": 2, "l_max": 1}
#: Backbone, and the molecules along each axis of the boxes.
MODELS: dict[str, tuple[dict[str, Any], list[tuple[int, int, int]]]] = {
    "PaiNN 64 x 3": (PAINN, [(4, 4, 4), (10, 10, 10)]),
    "MACE 64x0e+64x1o": (MACE, [(4, 4, 4), (6, 6, 6)]),
}
HEADER = (
    "| model, all with latent charges and coulomb | atoms | eager, ms | compiled, ms | ratio | "
    "largest force difference, eV/Å | largest force, eV/Å | compiling, s | program, MB |"
)


def rows(name: str) -> list[str]:
    """One line of the table for each box."""
    backbone, boxes = MODELS[name]
    torch.manual_seed(0)
    section: dict[str, Any] = {
        "elements": ["H", "O"],
        "backbone": backbone,
        "charges": {"kind": "latent"},
        "heads": {"coulomb": {"kind": "coulomb"}},
    }
    eager = muse_lr.build_model(section).float().eval().requires_grad_(False)
    compiled = deepcopy(eager)
    muse_lr.compile_model(compiled)
    entry = cache.entries()[0]
    lines = []
    for box in boxes:
        atoms = water_box(box)
        batch = muse_lr.AtomsBatch.from_ase([atoms], cutoff=0.0)
        VerletList(eager.cutoff, SKIN).attach(batch)
        best, forces = [float("inf")] * 2, [torch.empty(0)] * 2
        for _ in range(ROUNDS):
            for place, model in enumerate((eager, compiled)):
                start = time.process_time()
                output = model(batch, "forces", create_graph=False)
                best[place] = min(best[place], time.process_time() - start)
                forces[place] = output.forces.detach()
        difference = float((forces[0] - forces[1]).abs().max())
        lines.append(
            f"| {name} | {len(atoms)} | {1e3 * best[0]:.0f} | {1e3 * best[1]:.0f} | "
            f"{best[0] / best[1]:.2f} | {difference:.1e} | {float(forces[0].abs().max()):.2f} | "
            f"{entry.about['seconds']:.0f} | {entry.megabytes:.1f} |"
        )
        print(lines[-1], flush=True)
    return lines


def main() -> None:
    """Entry point."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", choices=MODELS, help="one model, without writing the results")
    args = parser.parse_args()
    muse_lr.tune_malloc()
    torch.set_num_threads(1)
    print(HEADER)
    lines = [line for name in ([args.only] if args.only else MODELS) for line in rows(name)]
    if args.only:
        return
    head = [
        "# Evaluations with and without compilation",
        "",
        f"{describe_machine()}. Command: `python -m benchmarks.steps`.",
        "",
        "Boxes of water, untrained models, float32, one thread, energies and forces, with a "
        "neighbor list that has a skin of 0.5 Å. Both take turns in one process; times are "
        "processor times, the smallest of five. Compiling is wall time, once on a machine.",
        "",
        HEADER,
        "|:--|--:|--:|--:|--:|--:|--:|--:|--:|",
    ]
    with atomic_write(RESULTS) as handle:
        handle.write("\n".join([*head, *lines]) + "\n")


if __name__ == "__main__":
    main()
