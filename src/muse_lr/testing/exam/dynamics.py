"""Conservation of energy in short dynamics."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import numpy as np
from ase import Atoms, units
from numpy.typing import NDArray

from muse_lr.testing.exam.bench import Bench
from muse_lr.testing.exam.check import Case, Check, Finding, Plot, each
from muse_lr.testing.potentials import Potential

Array = NDArray[np.float64]
#: Temperature of the velocities (K), and steps of the descent before the dynamics.
TEMPERATURE, DESCENT = 300.0, 40
#: Largest move of an atom in a step of the descent, A.
LONGEST_MOVE = 0.1
#: Time step of an atom of mass 1 u, fs; it grows with the square root of the lightest mass.
TIME_STEP = 0.2


class EnergyDrift(Check):
    """Dynamics at constant energy conserves the energy."""

    name = "energy_drift"
    equation = "|4 ΔE(dt/2) - ΔE(dt)| / 3 ≤ 1e-4 eV/atom; ΔE(t) = E_tot(t) - E_tot(0)"
    tolerance, unit = 1e-4, "eV/atom"
    reason = (
        "the error of velocity Verlet, c dt², cancels in the combination; 1e-4 eV is 0.4 % of kT "
        "at 300 K"
    )
    meaning = "Long dynamics heats up or freezes, whatever the time step."
    remedy = "Look at forces, smoothness and curvature: their checks name the cause."
    needs = ("forces",)
    cost = 4.0

    def cases(self, bench: Bench) -> Iterator[Case]:
        """Molecules and crystals near a minimum."""
        found = bench.named("molecules")[:2] + bench.named("molecules", "crystals")[-1:]
        steps = 24 if bench.quick else 48
        return each(found, partial(drift, bench.potential, self.tolerance, steps))


def drift(potential: Potential, tolerance: float, steps: int, atoms: Atoms) -> Finding:
    r"""Measure the drift of the total energy that does not vanish with the time step.

    Velocity Verlet has :math:`\Delta E(t; dt) = c(t)\, dt^2 + O(dt^4)` for the gradient of a smooth
    energy, so that :math:`(4 \Delta E(t; dt/2) - \Delta E(t; dt)) / 3` is the drift.

    Parameters
    ----------
    potential : Potential
    tolerance : float
        eV per atom.
    steps : int
        Number of steps dt.
    atoms : ase.Atoms
        Starting structure; a short descent removes its largest forces.

    Returns
    -------
    Finding
        The largest size over the times, per atom; its plot has the drift of both time steps.
    """
    start = descended(potential, atoms)
    time_step = TIME_STEP * float(np.sqrt(start.get_masses().min()))
    coarse = _total_energies(potential, start, time_step, steps)
    fine = _total_energies(potential, start, time_step / 2, 2 * steps)[::2]
    changes = [(energies - energies[0]) / len(atoms) for energies in (coarse, fine)]
    extrapolated = (4 * changes[1] - changes[0]) / 3
    times: Array = time_step * np.arange(steps + 1, dtype=np.float64)
    curves = {
        f"{time_step:.2g} fs": (times, changes[0]),
        f"{time_step / 2:.2g} fs": (times, changes[1]),
        "extrapolated": (times, extrapolated),
    }
    plot = Plot("time (fs)", "change of the total energy (eV/atom)", curves)
    what = f"largest drift in {times[-1]:.3g} fs, extrapolated to a time step of zero"
    value = float(np.abs(extrapolated).max())
    return Finding("energy_drift", value, tolerance, "eV/atom", what, plot=plot)


def descended(potential: Potential, atoms: Atoms, steps: int = DESCENT) -> Atoms:
    """Copy after steepest descent in steps of limited length, while no atoms collide."""
    found, length, before = atoms.copy(), 0.02, np.inf
    closest = 0.9 * _closest(atoms)
    for _ in range(steps):
        out = potential.evaluate([found], ("forces",))
        energy, forces = float(out.energy[0]), out.get("forces")
        length *= 1.2 if energy < before else 0.5
        before = energy
        largest = max(float(np.linalg.norm(forces, axis=1).max()), 1e-9)
        moved = found.copy()
        moved.positions += forces * min(length, LONGEST_MOVE / largest)
        if not _closest(moved) > closest:
            break
        found = moved
    return found


def _closest(atoms: Atoms) -> float:
    """Smallest distance of two atoms, A."""
    distances = atoms.get_all_distances(mic=bool(atoms.pbc.any()))
    return float(distances[np.triu_indices(len(atoms), 1)].min(initial=np.inf))


def _total_energies(potential: Potential, atoms: Atoms, time_step: float, steps: int) -> Array:
    """Total energies of a trajectory with velocity Verlet, (steps + 1,) in eV."""
    dt, masses = time_step * units.fs, atoms.get_masses()[:, None]
    moving = atoms.copy()
    scale = np.sqrt(units.kB * TEMPERATURE / masses)
    velocities = np.random.default_rng(0).normal(size=(len(atoms), 3)) * scale
    velocities -= (masses * velocities).sum(0) / masses.sum()

    def evaluated() -> tuple[float, Array]:
        out = potential.evaluate([moving], ("forces",))
        return float(out.energy[0]), out.get("forces")

    energy, forces = evaluated()
    totals = [energy + 0.5 * float((masses * velocities**2).sum())]
    for _ in range(steps):
        velocities = velocities + 0.5 * dt * forces / masses
        moving.positions += dt * velocities
        energy, forces = evaluated()
        velocities = velocities + 0.5 * dt * forces / masses
        totals.append(energy + 0.5 * float((masses * velocities**2).sum()))
    return np.array(totals)
