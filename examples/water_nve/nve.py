"""Constant-energy dynamics of a trained model: how far does the total energy drift?

    muse-lr train examples/water_nve/config.yaml
    python examples/water_nve/nve.py runs/water/model.pt DATA/water_rpbed3_bec/bec100.xyz.xz

Prints the drift (slope of a straight line through the total energy, times the length of the run)
with its standard error (from the scatter of the means of ten pieces about a line), the largest
deviation from the start, the fluctuation about the line, and the steps of the total energy where
the neighbor list was rebuilt beside those where it was kept; writes the curve as CSV and PNG and
the trajectory for ASE.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np
from ase import units
from ase.io import Trajectory
from ase.md.velocitydistribution import MaxwellBoltzmannDistribution, Stationary
from ase.md.verlet import VelocityVerlet
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

import muse_lr
from muse_lr.data.reading import read_atoms
from muse_lr.utils.files import atomic_write, write_json

#: Steps between two frames of the trajectory.
SAVE_EVERY = 20
#: Pieces of the run whose means say how well its slope is known.
PIECES = 10


def run(args: argparse.Namespace) -> dict[str, np.ndarray]:
    """Velocity Verlet from the chosen frame; total energy, temperature and rebuilds by step."""
    atoms = read_atoms(args.structure)[args.frame]
    atoms.calc = muse_lr.Calculator(args.model, dtype=args.dtype)
    rng = np.random.default_rng(args.seed)
    MaxwellBoltzmannDistribution(atoms, temperature_K=args.temperature, rng=rng)
    Stationary(atoms)
    energy, temperature, rebuilt = [], [], []
    lists: list[object] = []
    start = time.monotonic()

    def observe() -> None:
        energy.append(atoms.get_total_energy() / len(atoms))
        temperature.append(atoms.get_temperature())
        current = atoms.calc.neighbor_list
        rebuilt.append(bool(lists) and current is not lists[-1])
        lists[:] = [current]
        if len(energy) % 500 == 0:
            left = (time.monotonic() - start) / len(energy) * (args.steps + 1 - len(energy))
            print(f"step {len(energy)}, {temperature[-1]:.0f} K, {left:.0f} s to go", flush=True)

    dynamics = VelocityVerlet(atoms, args.time_step * units.fs)
    dynamics.attach(observe)
    args.out.mkdir(parents=True, exist_ok=True)
    with Trajectory(args.out / "nve.traj", "w", atoms) as trajectory:
        dynamics.attach(trajectory, interval=SAVE_EVERY)
        dynamics.run(args.steps)
    return {
        "time_fs": np.arange(len(energy)) * args.time_step,
        "energy_meV": 1000 * (np.array(energy) - energy[0]),
        "temperature_K": np.array(temperature),
        "rebuilt": np.array(rebuilt),
    }


def slope_error(time_fs: np.ndarray, energy: np.ndarray) -> float:
    """Standard error of the slope: fast fluctuations average out in the pieces' means."""
    times, means = (
        np.array([part.mean() for part in np.array_split(values, PIECES)])
        for values in (time_fs, energy)
    )
    residuals = means - np.polyval(np.polyfit(times, means, 1), times)
    spread = ((times - times.mean()) ** 2).sum()
    return float(np.sqrt((residuals**2).sum() / (PIECES - 2) / spread))


def summarize(curve: dict[str, np.ndarray]) -> dict[str, float]:
    """Drift, fluctuation and steps at rebuilds, meV/atom."""
    time_fs, energy = curve["time_fs"], curve["energy_meV"]
    slope, offset = np.polyfit(time_fs, energy, 1)
    jumps = np.abs(np.diff(energy))
    rebuilt = curve["rebuilt"][1:]
    return {
        "steps": len(energy) - 1,
        "picoseconds": float(time_fs[-1] / 1000),
        "drift_meV_per_atom": float(slope * time_fs[-1]),
        "drift_error_meV_per_atom": slope_error(time_fs, energy) * float(time_fs[-1]),
        "largest_deviation_meV_per_atom": float(np.abs(energy).max()),
        "fluctuation_meV_per_atom": float(np.std(energy - slope * time_fs - offset)),
        "mean_temperature_K": float(curve["temperature_K"].mean()),
        "rebuilds": int(rebuilt.sum()),
        "mean_step_at_rebuild_meV_per_atom": float(jumps[rebuilt].mean()) if rebuilt.any() else 0.0,
        "mean_step_elsewhere_meV_per_atom": float(jumps[~rebuilt].mean()),
    }


def plot(curve: dict[str, np.ndarray], path: Path) -> None:
    """The total energy along the run."""
    figure = Figure(figsize=(6, 3), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    axes.plot(curve["time_fs"] / 1000, curve["energy_meV"], linewidth=0.6)
    axes.set_xlabel("time (ps)")
    axes.set_ylabel("total energy − start (meV/atom)")
    with atomic_write(path, "wb") as handle:
        figure.savefig(handle, format="png", dpi=150)


def main() -> None:
    """Run, print and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model")
    parser.add_argument("structure", help="a file; --frame says which frame")
    parser.add_argument("--frame", type=int, default=0)
    parser.add_argument("--steps", type=int, default=10_000)
    parser.add_argument("--time-step", type=float, default=0.5, help="fs")
    parser.add_argument("--temperature", type=float, default=300.0, help="K, of the velocities")
    parser.add_argument("--dtype", default="float64")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("runs/water_nve"))
    args = parser.parse_args()
    muse_lr.tune_malloc()
    curve = run(args)
    found = summarize(curve)
    with atomic_write(args.out / "nve.csv") as handle:
        handle.write(",".join(curve) + "\n")
        handle.writelines(
            f"{t:g},{e:.9g},{k:.6g},{int(r)}\n" for t, e, k, r in zip(*curve.values(), strict=True)
        )
    write_json(args.out / "nve.json", found)
    plot(curve, args.out / "nve.png")
    for name, value in found.items():
        print(f"{name:>36}  {value:.4g}")


if __name__ == "__main__":
    main()
