"""Memory and time of the Hessian of about 200 atoms with MACE, the hierarchy and charges.

Prints and writes, for a long alkane and for periodic water, the peak memory of a process that
builds the model and computes the Hessian, how many rows were computed at once, and the processor
time of a row; with fewer rows than the whole matrix has, the time of all rows follows from it. The
largest difference to differences of forces is that of one row.

    nice -n 10 python -m benchmarks.hessian [--rows N] [--memory GB] [--only NAME ...]
"""

from __future__ import annotations

import argparse
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import torch
from ase import Atoms

import muse_lr
from benchmarks.long_range.water import water_box
from muse_lr.model import hessian as hessians
from muse_lr.reporting.wording import duration
from muse_lr.train.finish import peak_memory_mb
from muse_lr.utils.files import atomic_write

RESULTS = Path(__file__).resolve().parent / "results"
#: The backbone has 64x0e + 64x1o features.
MODEL = {
    "elements": ["H", "C", "O"],
    "backbone": {"kind": "mace", "cutoff": 5.0, "channels": 64, "layers": 2, "l_max": 1},
    "multiscale": {"kind": "muse"},
    "charges": {"kind": "conserved"},
    "heads": {"coulomb": {"kind": "coulomb"}},
}
STEP = 1e-4  # A
COLUMNS = (
    *("structure", "atoms", "edges", "rows at once", "peak memory (GB)", "time of a row (s)"),
    *("time of all rows", "largest difference to forces (eV/A^2)"),
)


def alkane(carbons: int = 66) -> Atoms:
    """An all-trans chain with 3 n + 2 atoms, slightly rattled."""
    atoms = Atoms()
    for i in range(carbons):
        side = 1 if i % 2 else -1
        center = np.array([1.27 * i, 0.43 * side, 0.0])
        atoms += Atoms("C", [center])
        atoms += Atoms("H2", center + np.array([[0, 0.63 * side, z] for z in (-0.89, 0.89)]))
    ends = (atoms.positions[0] - [1.0, -0.4, 0], atoms.positions[-3] + [1.0, 0.4, 0])
    atoms += Atoms("H2", ends)
    atoms.rattle(0.03, seed=0)
    return atoms


STRUCTURES = {"alkane": alkane, "water": lambda: water_box((4, 4, 4))}


def differences(model: muse_lr.EnergyModel, atoms: Atoms, coordinate: int) -> np.ndarray:
    """A row of the Hessian by differences of forces, to the fourth order."""
    total = np.zeros(3 * len(atoms))
    for steps, weight in ((-2, 1), (-1, -8), (1, 8), (2, -1)):
        moved = atoms.copy()
        moved.positions[coordinate // 3, coordinate % 3] += steps * STEP
        batch = muse_lr.AtomsBatch.from_ase([moved], cutoff=model.cutoff)
        forces = model(batch, ("forces",), create_graph=False).forces
        total -= weight * forces.detach().numpy().ravel() / (12 * STEP)
    return total


def measured(name: str, rows: int | None, memory: float) -> list[str]:
    """The line of one structure, from a process of its own."""
    muse_lr.tune_malloc()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    atoms = STRUCTURES[name]()
    model = hessians.exact_copy(muse_lr.build_model(MODEL))
    edges = muse_lr.AtomsBatch.from_ase([atoms], cutoff=5.0).edge_index.shape[1]
    counts = [1]
    make = hessians._Copies.__init__

    def counted(self, model, data, count):
        counts.append(count)
        make(self, model, data, count)

    hessians._Copies.__init__ = counted
    chosen = np.arange(len(atoms))[: None if rows is None else max(rows // 3, 1)]
    start = time.process_time()
    found = hessians.hessian(model, atoms, chosen, memory)
    seconds = (time.process_time() - start) / len(found)
    peak = peak_memory_mb(torch.device("cpu")) / 1e3
    error = np.abs(found[0] - differences(model, atoms, 0)).max()
    return [
        *(name, str(len(atoms)), str(edges), str(max(counts)), f"{peak:.2f}", f"{seconds:.2f}"),
        *(duration(3 * len(atoms) * seconds), f"{error:.1e}"),
    ]


def main() -> None:
    """Print and write the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--rows", type=int, help="rows of each matrix (default: all)")
    parser.add_argument("--memory", type=float, default=hessians.MEMORY, help="bound, GB")
    parser.add_argument("--only", nargs="+", choices=list(STRUCTURES), default=list(STRUCTURES))
    args = parser.parse_args()
    lines = [f"| {' | '.join(COLUMNS)} |", f"|:--|{'--:|' * (len(COLUMNS) - 1)}"]
    for name in args.only:
        with ProcessPoolExecutor(1, get_context("spawn")) as pool:
            cells = pool.submit(measured, name, args.rows, args.memory).result()
        lines.append(f"| {' | '.join(cells)} |")
        print(lines[-1], flush=True)
    rows, measured_rows = "", "All rows were computed."
    if args.rows is not None:
        rows = f" --rows {args.rows}"
        measured_rows = f"{args.rows} rows were computed; the time of all rows follows from them."
    text = [
        "# Hessians of about 200 atoms",
        "",
        *lines,
        "",
        "MACE with 64x0e + 64x1o features, 2 layers of 5 A, `muse`, `conserved` charges and their "
        "Coulomb energy; float64, one thread, processor times. The peak memory is that of the "
        f"whole process, {args.memory:g} GB are the bound of the tensors; torch "
        f"{torch.__version__}. {measured_rows}",
        "",
        f"`python -m benchmarks.hessian{rows} --memory {args.memory:g}`",
        "",
    ]
    with atomic_write(RESULTS / "hessian.md") as handle:
        handle.write("\n".join(text))


if __name__ == "__main__":
    main()
