"""Trajectories of two liquids of fixed charges by OpenMM: rigid water and a molten salt.

They are the oracles of :mod:`benchmarks.charge_statistics`. Both have a constant volume and three
periodic directions, particle-mesh Ewald sums with a conducting boundary and Langevin dynamics.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.peers.openmm_tools import NM, openmm, unit
from muse_lr.utils.files import atomic_write

Array = NDArray[np.float64]

#: TIP3P: W. L. Jorgensen et al., J. Chem. Phys. 79, 926 (1983). A, e, kJ/mol, degrees.
BOND, ANGLE, CHARGE_H = 0.9572, 104.52, 0.417
SIGMA_O, EPSILON_O = 3.15075, 0.635968
#: Hydrogens that are heavier and oxygens that are lighter allow a longer step. Averages of
#: positions do not depend on masses. Dalton.
MASS_O, MASS_H = 12.0, 3.0
#: Molecules along an edge, and number density, 1/A^3 (0.997 g/cm^3).
EDGE_WATER, DENSITY_WATER = 6, 0.033327
#: Soft ions of charge +-1 e: Lennard-Jones diameter, A, and depth, kJ/mol. Ions along an edge,
#: and number density of all ions, 1/A^3, about that of molten sodium chloride.
SIGMA_ION, EPSILON_ION = 3.3, 0.4
EDGE_SALT, DENSITY_SALT = 6, 0.031
MASS_ION = 23.0


@dataclass(frozen=True)
class Liquid:
    """A liquid and how long it is simulated.

    Attributes
    ----------
    name : str
    temperature : float
        K.
    step : float
        Time step, fs.
    every : int
        Number of steps between frames.
    equilibration : float
        ps, left out.
    build : callable
        Returns the system, start positions in A, and the edge of the cubic cell in A.
    charges : ndarray
        (n,) in e.
    symbols : str
        Elements of a molecule, or of a pair of ions, which repeat.
    """

    name: str
    temperature: float
    step: float
    every: int
    equilibration: float
    build: Callable[[], tuple[Any, Array, float]]
    charges: Array
    symbols: str


def simulate(liquid: Liquid, picoseconds: float, path: Path, seed: int = 0) -> None:
    """Write ``positions`` (frames, n, 3), wrapped into the cell, and ``edge`` in A as npz."""
    system, positions, edge = liquid.build()
    integrator = openmm.LangevinMiddleIntegrator(liquid.temperature, 1.0, liquid.step / 1000)
    integrator.setRandomNumberSeed(seed + 1)
    platform = openmm.Platform.getPlatformByName("CPU")
    context = openmm.Context(system, integrator, platform, {"Threads": "1"})
    context.setPositions(positions * NM)
    openmm.LocalEnergyMinimizer.minimize(context, 10.0, 500)
    context.setVelocitiesToTemperature(liquid.temperature, seed + 2)
    integrator.step(round(1000 * liquid.equilibration / liquid.step))
    frames = []
    for _ in range(round(1000 * picoseconds / (liquid.step * liquid.every))):
        integrator.step(liquid.every)
        state = context.getState(getPositions=True)
        now = state.getPositions(asNumpy=True).value_in_unit(unit.angstrom)
        frames.append(np.mod(now, edge).astype(np.float32))
    with atomic_write(path, "wb") as handle:
        np.savez(handle, positions=np.array(frames), edge=edge)


def _water() -> tuple[Any, Array, float]:
    edge = EDGE_WATER / DENSITY_WATER ** (1 / 3)
    system, force = _system(edge, 9.0)
    half = np.radians(ANGLE / 2)
    water = BOND * np.array(
        [[0, 0, 0], [np.sin(half), np.cos(half), 0], [-np.sin(half), np.cos(half), 0]]
    )
    rng = np.random.default_rng(0)
    positions = []
    for number, site in enumerate(_grid(EDGE_WATER, edge)):
        rotation = np.linalg.qr(rng.normal(size=(3, 3)))[0]
        positions.append(site + water @ rotation)
        for mass, charge, epsilon in (
            (MASS_O, -2 * CHARGE_H, EPSILON_O),
            (MASS_H, CHARGE_H, 0.0),
            (MASS_H, CHARGE_H, 0.0),
        ):
            system.addParticle(mass)
            force.addParticle(charge, SIGMA_O * NM, epsilon)
        first = 3 * number
        sides = ((0, 1, BOND), (0, 2, BOND), (1, 2, 2 * BOND * np.sin(half)))
        for a, b, length in sides:
            system.addConstraint(first + a, first + b, length * NM)
            force.addException(first + a, first + b, 0.0, 1.0, 0.0)
    return system, np.concatenate(positions), edge


def _salt() -> tuple[Any, Array, float]:
    edge = EDGE_SALT / DENSITY_SALT ** (1 / 3)
    system, force = _system(edge, 9.0)
    for charge in SALT.charges:
        system.addParticle(MASS_ION)
        force.addParticle(charge, SIGMA_ION * NM, EPSILON_ION)
    # The lattice of rock salt: neighbors along the axes are of the other kind.
    grid = _grid(EDGE_SALT, edge)
    odd = np.rint(grid * EDGE_SALT / edge - 0.5).sum(1) % 2 == 1
    return system, np.stack([grid[~odd], grid[odd]], axis=1).reshape(-1, 3), edge


def _system(edge: float, cutoff: float) -> tuple[Any, Any]:
    system = openmm.System()
    system.setDefaultPeriodicBoxVectors(*(np.eye(3) * edge * NM))
    force = openmm.NonbondedForce()
    force.setNonbondedMethod(openmm.NonbondedForce.PME)
    force.setCutoffDistance(cutoff * NM)
    system.addForce(force)
    return system, force


def _grid(edge_sites: int, edge: float) -> Array:
    ticks = np.arange(edge_sites)
    grid = np.stack(np.meshgrid(ticks, ticks, ticks, indexing="ij"), -1).reshape(-1, 3)
    return (grid + 0.5) * edge / edge_sites


WATER = Liquid(
    "water",
    300.0,
    4.0,
    25,
    40.0,
    _water,
    np.tile([-2 * CHARGE_H, CHARGE_H, CHARGE_H], EDGE_WATER**3),
    "OHH",
)
SALT = Liquid(
    "molten salt", 1500.0, 2.0, 25, 10.0, _salt, np.tile([1.0, -1.0], EDGE_SALT**3 // 2), "NaCl"
)
