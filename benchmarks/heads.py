"""What each head costs over the backbone alone.

    python -m benchmarks.heads [--quick] [--seconds 60]

One process, one thread; times are processor times of energy and forces of water by PaiNN, in turn
with the backbone alone; ratios are medians over rounds. Every head of the registry with its default
keys is timed, and variants of some; the largest box is timed once. Results go to
benchmarks/results.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch
from ase import Atoms
from numpy.typing import NDArray

import muse_lr
from benchmarks.long_range.timing import Task, seconds_of, take_turns
from benchmarks.long_range.water import water_box
from benchmarks.peers.machine import describe_machine
from muse_lr.config.registry import HEADS, lookup

RESULTS = Path(__file__).resolve().parent / "results"
BACKBONE = {"kind": "painn", "cutoff": 5.0, "channels": 64, "layers": 3}
#: Boxes of more atoms are timed in so many rounds: the smaller ones have warmed everything up.
LARGE, LARGE_ROUNDS = 5000, 1
#: Name -> sections of the configuration beside the backbone.
Sections = dict[str, object]


def variants() -> dict[str, Sections]:
    """Models to time, the backbone alone first."""
    latent = {"kind": "latent"}
    found: dict[str, Sections] = {
        "backbone alone": {"charges": None, "heads": {}},
        "charges, no head": {"charges": latent, "heads": {}},
    }
    for kind in HEADS:
        charges = latent if lookup("head", kind).needs_density else None
        found[kind] = {"charges": charges, "heads": {"head": {"kind": kind}}}
    for l_max, key in ((1, "coulomb, dipoles"), (0, "coulomb, damping_width 1.5")):
        options = {"damping_width": 1.5} if l_max == 0 else {}
        found[key] = {
            "charges": {"kind": "latent", "l_max": l_max},
            "heads": {"head": {"kind": "coulomb", **options}},
        }
    for options in ({"l_max": 0}, {"widths": [3.0]}, {"exponent": 6}):
        key = ", ".join(f"{name} {value}" for name, value in options.items())
        section = {"kind": "field_features", **options}
        found[f"field_features, {key}"] = {"charges": latent, "heads": {"head": section}}
    return found


def evaluation(sections: Sections, box: Atoms) -> Task:
    """Energy and forces of a model with these parts.

    Raises
    ------
    InputError
        If its head does not describe the box.
    """
    torch.manual_seed(0)
    model = muse_lr.build_model({"elements": ["H", "O"], "backbone": BACKBONE, **sections}).eval()
    batch = muse_lr.AtomsBatch.from_ase([box], cutoff=model.cutoff)
    model.check(batch)
    return lambda: model(batch, compute=("forces",))


def table(shapes: list[tuple[int, int, int]], seconds: float) -> list[str]:
    """Rows of costs for boxes of these numbers of molecules."""
    lines = ["| head | atoms | ms | over the backbone |", "|:--|--:|--:|--:|"]
    for shape in shapes:
        box = water_box(shape)
        tasks, refused, first = {}, {}, len(lines)
        for name, sections in variants().items():
            try:
                tasks[name] = evaluation(sections, box)
            except muse_lr.InputError as error:
                refused[name] = f"refused: {error}"
        times = few_rounds(tasks) if len(box) > LARGE else take_turns(tasks, seconds, "cpu")
        alone = times["backbone alone"]
        for name, values in times.items():
            ratio = np.median(values / alone)
            lines.append(f"| {name} | {len(box)} | {np.median(values) * 1e3:.0f} | {ratio:.2f} |")
        lines += [f"| {name} | {len(box)} | {why} | |" for name, why in refused.items()]
        print("\n".join(lines[first:]), flush=True)
    return lines


def few_rounds(tasks: dict[str, Task]) -> dict[str, NDArray[np.float64]]:
    """(n_rounds,) seconds of each task, after one call of it."""
    for task in tasks.values():
        task()
    rounds = [
        {name: seconds_of(task, "cpu") for name, task in tasks.items()} for _ in range(LARGE_ROUNDS)
    ]
    return {name: np.array([times[name] for times in rounds]) for name in tasks}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="small boxes, nothing is written")
    parser.add_argument("--seconds", type=float, default=60.0, help="for each box")
    options = parser.parse_args()
    torch.set_num_threads(1)
    muse_lr.tune_malloc()
    shapes = [(2, 2, 2), (3, 3, 3)] if options.quick else [(4, 4, 4), (8, 8, 4), (15, 15, 15)]
    rows = table(shapes, options.seconds)
    text = [
        "# heads",
        "",
        f"`python -m benchmarks.heads --seconds {options.seconds:g}`; {describe_machine('vesin')}; "
        "one thread; processor times.",
        "",
        "Energy and forces of periodic water by PaiNN (64 channels, 3 layers, 5 A), float32, "
        "`latent` charges of width 1 A where a head reads them; median over rounds, the largest "
        "box once:",
        "",
        *rows,
        "",
    ]
    if not options.quick:
        (RESULTS / "heads.md").write_text("\n".join(text))


if __name__ == "__main__":
    main()
