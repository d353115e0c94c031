"""How abruptly coarse nodes change hands along a trajectory.

    python examples/water_nve/nodes.py MODEL.pt TRAJECTORY.traj [--fs 0.25]

From frames of a trajectory with velocities (muse-lr md --trajectory traj writes one) every atom
moves on along a straight line. Prints which share of the nodes' mass moves within a time, and then
narrows down on the fastest of these events: where the energy is twice differentiable and the
intervals are short enough to see it, its differences fall with the interval and its second
differences with the square.
"""

from __future__ import annotations

import argparse

import numpy as np
import torch
from ase import Atoms, units
from ase.io import Trajectory

import muse_lr

FRAMES, PIECES, ROUNDS = 50, 20, 6


def along(
    model: muse_lr.EnergyModel, atoms: Atoms, times: np.ndarray
) -> tuple[np.ndarray, torch.Tensor]:
    """(t,) energies in eV and (t, n) masses of the nodes at times in fs after a frame."""
    moved = []
    for time in times:
        frame = atoms.copy()
        frame.positions = atoms.positions + atoms.get_velocities() * time * units.fs
        moved.append(frame)
    energies, masses = [], []
    for frame in moved:
        with torch.no_grad():
            output = model(muse_lr.AtomsBatch.from_ase([frame], cutoff=model.cutoff))
        nodes = output.levels[0][0]
        masses.append(torch.zeros(len(atoms)).double().index_add(0, nodes.atoms, nodes.mass))
        energies.append(float(output.energy))
    return np.array(energies), torch.stack(masses)


def shares(masses: torch.Tensor) -> np.ndarray:
    """(t - 1,) share of the mass that moved from one time to the next."""
    return ((masses[1:] - masses[:-1]).abs().sum(1) / masses[:-1].sum(1)).numpy()


def narrow(model: muse_lr.EnergyModel, atoms: Atoms, start: float, stop: float) -> None:
    """Print the differences of the energy on ever shorter intervals around the fastest change."""
    print("| interval (fs) | mass moved | largest difference (meV) | of second differences (meV) |")
    print("|--:|--:|--:|--:|")
    for _ in range(ROUNDS):
        times = np.linspace(start, stop, PIECES + 1)
        energies, masses = along(model, atoms, times)
        moved, steps = shares(masses), 1e3 * np.diff(energies)
        second = np.abs(np.diff(steps)).max()
        step = (stop - start) / PIECES
        print(f"| {step:.1e} | {moved.max():.1e} | {np.abs(steps).max():.2e} | {second:.2e} |")
        fastest = int(moved.argmax())
        start, stop = times[max(fastest - 1, 0)], times[min(fastest + 2, PIECES)]


def main() -> None:
    """Entry point."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model")
    parser.add_argument("trajectory")
    parser.add_argument("--fs", type=float, default=0.25, help="time of a change, fs")
    args = parser.parse_args()
    model = muse_lr.load_model(args.model).double().eval()
    frames = Trajectory(args.trajectory)
    chosen = np.linspace(1, len(frames) - 1, min(FRAMES, len(frames) - 1)).astype(int)
    found = []
    kept = []
    for index in chosen.tolist():
        times = np.arange(6) * args.fs
        _, masses = along(model, frames[index], times)
        kept.append(float((masses > 0).double().mean()))
        found += [(share, index, times[i]) for i, share in enumerate(shares(masses))]
    moved = np.array([share for share, _, _ in found])
    print(
        f"{np.mean(kept):.1%} of the atoms carry a node; in {args.fs} fs moves {moved.mean():.1%} "
        f"of the mass on average, 99 % of the times less than {np.quantile(moved, 0.99):.1%}, "
        f"{moved.max():.1%} at most"
    )
    _, index, start = max(found)
    narrow(model, frames[index], float(start), float(start) + args.fs)


if __name__ == "__main__":
    main()
