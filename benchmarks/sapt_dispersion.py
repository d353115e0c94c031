"""Interaction energies of the dispersion heads beside SAPT's dispersion, by distance.

    python -m benchmarks.sapt_dispersion [--structures 995]

The dimers of sapt10k_dimers (test file), to be found in $MUSE_LR_DATA. Nothing is fitted: volumes
are those of free atoms. SAPT's dispersion is not damped as the heads are, whose damping leaves to a
functional what it describes itself, so near dimers differ; far ones compare the tails. The table
goes to benchmarks/results.
"""

from __future__ import annotations

import argparse
import lzma
from pathlib import Path

import numpy as np
import torch
from ase import Atoms
from ase.io import read
from numpy.typing import NDArray

import muse_lr
from benchmarks.peers.machine import describe_machine
from muse_lr.config.paths import reference_data
from muse_lr.utils.files import atomic_write

RESULTS = Path(__file__).resolve().parent / "results"
HEADS: dict[str, dict[str, object]] = {
    "c6": {"kind": "c6"},
    "mbd": {"kind": "mbd"},
    "d3, PBE": {"kind": "d3", "functional": "pbe"},
}
#: Closest distances between the monomers from which on dimers are counted, A.
DISTANCES = (0.0, 3.0, 4.0)
MEV = 1000.0


def load(count: int) -> list[Atoms]:
    """The first dimers of the test file."""
    path = reference_data() / "sapt10k_dimers" / "test.xyz.xz"
    with lzma.open(path, "rt") as handle:
        return read(handle, f":{count}", format="extxyz")


def gap(dimer: Atoms) -> float:
    """Closest distance between the monomers, A."""
    size = int(dimer.info["n_a"])
    return float(dimer.get_all_distances()[:size, size:].min())


def interaction(section: dict[str, object], dimers: list[Atoms]) -> NDArray[np.float64]:
    """E(AB) - E(A) - E(B) in meV."""
    elements = sorted({symbol for dimer in dimers for symbol in dimer.symbols})
    model = muse_lr.build_model(
        {"elements": elements, "backbone": None, "charges": None, "heads": {"head": section}}
    ).double()
    energies = []
    for dimer in dimers:
        size = int(dimer.info["n_a"])
        bare = Atoms(dimer.symbols, dimer.positions)
        batch = muse_lr.AtomsBatch.from_ase([bare, bare[:size], bare[size:]], model.cutoff)
        with torch.no_grad():
            both, first, second = model(batch).energy.tolist()
        energies.append(both - first - second)
    return np.array(energies) * MEV


def row(name: str, found: NDArray[np.float64], target: NDArray[np.float64]) -> str:
    """A line of the table."""
    ratio = float(np.median(found / target))
    correlation = float(np.corrcoef(found, target)[0, 1])
    error = np.abs(found - target).mean()
    return f"| {name} | {len(target)} | {error:.1f} | {correlation:.3f} | {ratio:.2f} |"


def main() -> None:
    """Print and write the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--structures", type=int, default=995)
    args = parser.parse_args()
    torch.set_num_threads(1)
    dimers = load(args.structures)
    target = np.array([dimer.info["E_disp"] for dimer in dimers]) * MEV
    gaps = np.array([gap(dimer) for dimer in dimers])
    rows = []
    for head, section in HEADS.items():
        found = interaction(section, dimers)
        for distance in DISTANCES:
            chosen = gaps > distance
            rows.append(row(f"{head} | {distance:g}", found[chosen], target[chosen]))
            print(rows[-1], flush=True)
    columns = "| head | beyond (A) | dimers | MAE (meV) | correlation | median ratio |\n"
    columns += "|:--|:--|--:|--:|--:|--:|\n"
    note = f"{describe_machine()}\n\n`python -m benchmarks.sapt_dispersion`\n"
    RESULTS.mkdir(exist_ok=True)
    with atomic_write(RESULTS / "sapt_dispersion.md") as handle:
        handle.write("# Dispersion heads and SAPT\n\n" + columns + "\n".join(rows) + "\n\n" + note)


if __name__ == "__main__":
    main()
