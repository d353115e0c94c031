"""Pieces of work that a data set is computed in, GFN labels and molecular dynamics."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from ase import Atoms, units
from ase.calculators.calculator import Calculator
from ase.calculators.singlepoint import SinglePointCalculator
from ase.md.langevin import Langevin
from ase.md.velocitydistribution import MaxwellBoltzmannDistribution, Stationary

#: Accuracy that tblite is asked for: the SCF converges to a tenth of its default thresholds.
SCF_ACCURACY = 0.1


@dataclass(frozen=True)
class Task:
    """One piece of work that gives one or more frames.

    Attributes
    ----------
    name : str
        Also the name of its part file.
    split : str
        File that its frames belong to.
    options : dict
        What the set's ``compute`` needs.
    cost : float
        Expected time beside that of other tasks, for the estimate of the time to go.
    """

    name: str
    split: str
    options: dict[str, Any] = field(default_factory=dict)
    cost: float = 1.0

    def rng(self, seed: int) -> np.random.Generator:
        """Random numbers that depend on the seed and the name only."""
        return np.random.default_rng([seed, *self.name.encode()])


def gfn(method: str, charge: int = 0, accuracy: float = SCF_ACCURACY) -> Calculator:
    """tblite's calculator of GFN1-xTB or GFN2-xTB."""
    from tblite.ase import TBLite

    return TBLite(method=method, charge=charge, accuracy=accuracy, verbosity=0)


def labeled(atoms: Atoms, calculator: Calculator) -> Atoms:
    """Copy of a structure with its energy, forces and, in a crystal, stress as results."""
    moved = atoms.copy()
    moved.calc = calculator
    results = {"energy": moved.get_potential_energy(), "forces": moved.get_forces()}
    if atoms.pbc.all():
        results["stress"] = moved.get_stress()
    copy = atoms.copy()
    # Velocities are of the sampling, not of the reference.
    copy.arrays.pop("momenta", None)
    copy.calc = SinglePointCalculator(copy, **results)
    return copy


def dynamics(
    atoms: Atoms,
    calculator: Calculator,
    rng: np.random.Generator,
    *,
    temperature: float,
    timestep: float,
    burn: int,
    every: int,
    frames: int,
) -> Iterator[Atoms]:
    """Snapshots of Langevin dynamics, labeled by the calculator that drives them.

    Parameters
    ----------
    atoms : ase.Atoms
        Start; moved in place.
    calculator : ase.calculators.calculator.Calculator
    rng : numpy.random.Generator
    temperature : float
        K.
    timestep : float
        fs.
    burn, every, frames : int
        Steps before the first snapshot and between snapshots, and their number.

    Yields
    ------
    ase.Atoms
    """
    atoms.calc = calculator
    MaxwellBoltzmannDistribution(atoms, temperature_K=temperature, rng=rng)
    Stationary(atoms)
    friction = 0.02 / units.fs
    driver = Langevin(
        atoms,
        timestep * units.fs,
        temperature_K=temperature,
        friction=friction,
        fixcm=False,
        rng=rng,
    )
    for index in range(frames):
        driver.run(every if index else burn)
        yield labeled(atoms, calculator)
