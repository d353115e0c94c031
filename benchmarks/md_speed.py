"""Time of a step of molecular dynamics: ASE's velocity Verlet beside ``muse-lr md``.

    python -m benchmarks.md_speed

64 water molecules, the architecture of examples/water_nve with random weights, float32, one thread,
velocity Verlet at 100 K. Times are processor times, the median of rounds in which all take turns.
Results go to benchmarks/results.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path

import numpy as np
import torch
from ase import Atoms, units
from ase.md.velocitydistribution import MaxwellBoltzmannDistribution
from ase.md.verlet import VelocityVerlet

import muse_lr
from benchmarks.long_range.water import water_box
from benchmarks.peers.machine import describe_machine
from muse_lr.config.yaml import load_yaml
from muse_lr.simulate.settings import Settings
from muse_lr.simulate.start import prepare
from muse_lr.utils.files import atomic_write

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results" / "md_speed.md"
TEMPERATURE, STEPS, ROUNDS = 100.0, 10, 5


def ase_steps(model: muse_lr.EnergyModel, atoms: Atoms) -> Callable[[], object]:
    """Steps of ASE with the calculator."""
    moving = atoms.copy()
    moving.calc = muse_lr.Calculator(model, dtype="float32")
    rng = np.random.default_rng(0)
    MaxwellBoltzmannDistribution(moving, temperature_K=TEMPERATURE, rng=rng)
    dynamics = VelocityVerlet(moving, 0.5 * units.fs)
    return lambda: dynamics.run(STEPS)


def md_steps(
    model: muse_lr.EnergyModel, atoms: Atoms, copies: int, compiled: bool = False
) -> Callable[[], object]:
    """Steps of the engine of ``muse-lr md``, with its checks."""
    settings = Settings(
        ensemble="nve", temperatures=(TEMPERATURE,), copies=copies, steps=10**6, compile=compiled
    )
    simulation = prepare(deepcopy(model), [atoms], ["water"], settings)

    def run() -> None:
        for step in range(STEPS):
            simulation.integrator.step(simulation.state, simulation.potential, step + 1, False)
        simulation.check.check(simulation.state, simulation.potential)

    return run


def main() -> None:
    """Entry point."""
    argparse.ArgumentParser(description=__doc__).parse_args()
    muse_lr.tune_malloc()
    torch.set_num_threads(1)
    section = load_yaml(ROOT / "examples" / "water_nve" / "config.yaml")["model"]
    torch.manual_seed(0)
    model = muse_lr.build_model({**section, "elements": ["H", "O"]})
    atoms = water_box((4, 4, 4))
    runs = {
        "ASE with `Calculator`, one copy": (1, ase_steps(model, atoms)),
        "`muse-lr md`, one copy": (1, md_steps(model, atoms, 1)),
        "`muse-lr md`, three copies": (3, md_steps(model, atoms, 3)),
        "`muse-lr md --compile`, one copy": (1, md_steps(model, atoms, 1, compiled=True)),
    }
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    for turn in range(ROUNDS + 1):
        for name, (_, run) in runs.items():
            start = time.process_time()
            run()
            if turn:  # the first round warms up
                seconds[name].append((time.process_time() - start) / STEPS)
    first = statistics.median(next(iter(seconds.values())))
    lines = [
        "# A step of molecular dynamics",
        "",
        f"{describe_machine()}. Command: `python -m benchmarks.md_speed`.",
        "",
        f"{len(atoms)} atoms of water, the architecture of `examples/water_nve`, float32, one "
        "thread. Processor time.",
        "",
        "| | ms/step | µs/atom/step | ratio to ASE, per copy |",
        "|:--|--:|--:|--:|",
    ]
    for name, (copies, _) in runs.items():
        median = statistics.median(seconds[name])
        each = median / copies
        lines.append(
            f"| {name} | {1e3 * median:.0f} | {1e6 * each / len(atoms):.0f} | {each / first:.2f} |"
        )
    with atomic_write(RESULTS) as handle:
        handle.write("\n".join(lines) + "\n")
    print("\n".join(lines))


if __name__ == "__main__":
    main()
