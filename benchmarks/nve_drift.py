"""Does the hierarchy disturb the conservation of the energy?

    python -m benchmarks.nve_drift --out runs/nve_drift

Trains the models of water and of the electrolyte of :mod:`benchmarks.dynamics` without and with the
default hierarchy, equilibrates each by 1 ps of Langevin dynamics at 300 K and runs 5 ps at constant
energy from there, with the default time step of ``muse-lr md`` and a compiled backbone: the same
initial velocities for both, four copies. The table has the drift of the total energy. An
interrupted benchmark continues where it was. Data from $MUSE_LR_DATA.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
from ase.io import read, write

from benchmarks.dynamics import EPOCHS, RESULTS, run_md, train, write_start
from benchmarks.peers.machine import describe_machine
from muse_lr.utils.files import atomic_write

SYSTEMS = ("water", "electrolyte")
VARIANTS: dict[str, dict[str, Any]] = {
    "without": {},
    "muse": {"model.multiscale": {"kind": "muse"}},
}
EQUILIBRATION, PICOSECONDS, COPIES = 1, 5, 4
COLUMNS = (
    "system",
    "hierarchy",
    "mean drift (meV/atom/ps)",
    "largest drift of a copy",
    "error of a copy",
    "mean temperature (K)",
    "failures",
)


def run(system: str, variant: str, out: Path) -> list[str]:
    """Train, equilibrate and measure; the line of the table."""
    folder = out / variant
    directory = train(system, 0, folder, VARIANTS[variant])
    model, first = directory / "model.pt", write_start(system, directory.parent)
    options = ["--temperature", "300", "--seed", "0", "--ps"]
    warm, nve = directory.parent / "equilibration", directory.parent / "nve"
    run_md(model, first, warm, *options, str(EQUILIBRATION))
    start = warm / "last.xyz"
    with atomic_write(start) as handle:
        write(handle, read(warm / "copy-0.extxyz", -1, format="extxyz"), format="extxyz")
    options = [*options, str(PICOSECONDS), "--ensemble", "nve", "--copies", str(COPIES)]
    run_md(model, start, nve, *options)
    copies = json.loads((nve / "summary.json").read_text(encoding="utf-8"))["copies"]
    drifts = np.array([copy["drift_meV_per_atom_ps"] for copy in copies])
    return [
        system,
        variant,
        f"{drifts.mean():.4f} ± {drifts.std(ddof=1) / np.sqrt(COPIES):.4f}",
        f"{np.abs(drifts).max():.4f}",
        f"{np.mean([copy['drift_meV_per_atom_ps_error'] for copy in copies]):.4f}",
        f"{np.mean([copy['temperature_K'] for copy in copies]):.0f}",
        str(sum(copy["failure"] is not None for copy in copies)),
    ]


def main() -> None:
    """Entry point."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", maxsplit=1)[0])
    parser.add_argument("--out", type=Path, default=Path("runs/nve_drift"))
    parser.add_argument("--only", choices=SYSTEMS, nargs="+", default=list(SYSTEMS))
    args = parser.parse_args()
    lines = [
        "# Drift of the energy with and without the hierarchy",
        "",
        f"{describe_machine()}. Command: `python -m benchmarks.nve_drift`.",
        "",
        f"{EPOCHS} epochs of training, {EQUILIBRATION} ps at 300 K, {PICOSECONDS} ps at constant "
        f"energy, {COPIES} copies with different velocities. ±: standard error over the copies.",
        "",
        "| " + " | ".join(COLUMNS) + " |",
        "|:--|:--|" + "--:|" * (len(COLUMNS) - 2),
    ]
    for system in args.only:
        for variant in VARIANTS:
            lines.append("| " + " | ".join(run(system, variant, args.out)) + " |")
            with atomic_write(RESULTS.with_name("nve_drift.md")) as handle:
                handle.write("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
