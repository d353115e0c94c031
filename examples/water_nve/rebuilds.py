"""Steps of the total energy where the neighbor list is built anew, in dynamics at constant energy.

    muse-lr md MODEL.pt FILE --ensemble nve --ps 5 --log-every 1 --out runs/water_nve
    python examples/water_nve/rebuilds.py runs/water_nve

Prints the drift over the whole run, the largest deviation from the start, the fluctuation about a
straight line, and the mean step of the energy where the list was built anew beside the mean step
elsewhere. The log must have a line for every step.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from ase.io import iread

from muse_lr.analysis.averages import slope
from muse_lr.errors import InputError
from muse_lr.simulate.results import read_log


def summarize(time_ps: np.ndarray, energy: np.ndarray, lists: np.ndarray) -> dict[str, float]:
    """Drift, fluctuation and steps at rebuilds of the energy of one copy, meV/atom."""
    if not (np.diff(time_ps) > 0).all() or len(set(np.round(np.diff(time_ps), 9))) > 1:
        raise InputError("the log must have a line for every step: run muse-lr md --log-every 1")
    drift, length = slope(time_ps, energy), float(time_ps[-1])
    line = np.polyval(np.polyfit(time_ps, energy, 1), time_ps)
    jumps, rebuilt = np.abs(np.diff(energy)), np.diff(lists) > 0
    return {
        "picoseconds": length,
        "drift_meV_per_atom": drift.value * length,
        "drift_error_meV_per_atom": drift.error * length,
        "largest_deviation_meV_per_atom": float(np.abs(energy - energy[0]).max()),
        "fluctuation_meV_per_atom": float(np.std(energy - line)),
        "rebuilds": int(rebuilt.sum()),
        "mean_step_at_rebuild_meV_per_atom": float(jumps[rebuilt].mean()) if rebuilt.any() else 0.0,
        "mean_step_elsewhere_meV_per_atom": float(jumps[~rebuilt].mean()),
    }


def main() -> None:
    """Print the numbers of each copy."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("directory", type=Path, help="output of muse-lr md --ensemble nve")
    args = parser.parse_args()
    for copy, log in read_log(args.directory).items():
        trajectory = next(args.directory.glob(f"copy-{copy}.*"))
        atoms = len(next(iter(iread(trajectory, 0))))
        energy = 1000 * (log["total_eV"] - log["total_eV"][0]) / atoms
        print(f"copy {copy}")
        for name, value in summarize(log["time_ps"], energy, log["neighbor_lists"]).items():
            print(f"{name:>36}  {value:.4g}")


if __name__ == "__main__":
    main()
