"""Na+, Cl- or both with water: GFN1-xTB of open clusters of total charge +1, -1 or 0.

Structures come from dynamics of ClayFF's flexible SPC water and its ions. The test has larger
clusters, and clusters whose ion was moved away. GFN2-xTB does not serve: it gives a distant Na+ a
charge of 0.8 e, or its SCF does not converge.
"""

from __future__ import annotations

from itertools import product

import numpy as np
from ase import Atoms
from ase.calculators.calculator import CalculationFailed
from ase.optimize import FIRE

from benchmarks.first_hour.ionic import IonicCalculator
from benchmarks.first_hour.tasks import Task, dynamics, gfn, labeled
from benchmarks.first_hour.water import force_field, molecule

STYLE = "reference"
SEED = 20261204
CHARGES = {"Na": 1, "Cl": -1}
#: Ions, and the number of frames of each size in the training file.
SOLUTES = {"Na": 12, "Cl": 12, "": 6, "NaCl": 8}
TRAIN_SIZES, TEST_SIZES = range(1, 9), (10, 12)
#: Frames of each solute and size in the test, and sizes and distances of far ions, A.
TEST_FRAMES, FAR_SIZES, FAR = 6, range(1, 5), (6.0, 7.5, 9.0, 12.0)
#: K, fs and steps of the sampling.
TEMPERATURE, TIMESTEP, RELAX, BURN, EVERY = 300, 0.5, 80, 120, 25
#: Smallest distance of atoms of different molecules at the start, A.
CONTACT = 1.8


def plan() -> list[Task]:
    """A task for each solute and size."""
    tasks = []
    for solute, size in product(SOLUTES, TRAIN_SIZES):
        options = {"solute": solute, "waters": size, "frames": SOLUTES[solute]}
        tasks.append(Task(f"train-{solute or 'water'}-{size:02d}", "train", options))
    for solute, size in product(SOLUTES, TEST_SIZES):
        options = {"solute": solute, "waters": size, "frames": TEST_FRAMES}
        tasks.append(Task(f"test-{solute or 'water'}-{size:02d}", "test", options))
    for solute, size in product(CHARGES, FAR_SIZES):
        options = {"solute": solute, "waters": size, "frames": len(FAR), "far": FAR}
        tasks.append(Task(f"test-far-{solute}-{size:02d}", "test", options))
    return tasks


def cluster(solute: str, waters: int, rng: np.random.Generator) -> Atoms:
    """Ions near the origin and molecules around them, placed at random without contacts."""
    atoms = Atoms(solute, [[2.6 * i, 0, 0] for i in range(len(Atoms(solute)))])
    radius = 3.0 + 1.4 * waters ** (1 / 3)
    while len(atoms) < len(Atoms(solute)) + 3 * waters:
        center = rng.standard_normal(3)
        center *= radius * rng.random() ** (1 / 3) / np.linalg.norm(center)
        trial = atoms + molecule(center, rng)
        distances = trial.get_all_distances()[: len(atoms), len(atoms) :]
        if not distances.size or distances.min() > CONTACT:
            atoms = trial
    return atoms


def moved_away(atoms: Atoms, distance: float) -> Atoms:
    """The first atom at a distance from the nearest of the others, away from their center."""
    moved = atoms.copy()
    others = moved.positions[1:]
    outward = moved.positions[0] - others.mean(0)
    outward /= np.linalg.norm(outward)
    low, high = 0.0, 100.0
    while high - low > 1e-6:
        middle = (low + high) / 2
        place = others.mean(0) + middle * outward
        near = np.linalg.norm(others - place, axis=1).min() < distance
        low, high = (middle, high) if near else (low, middle)
    moved.positions[0] = others.mean(0) + high * outward
    return moved


def compute(task: Task) -> list[Atoms]:
    """Snapshots of one solute and size, labeled with GFN1-xTB."""
    rng, options = task.rng(SEED), task.options
    atoms = cluster(options["solute"], options["waters"], rng)
    calculator = IonicCalculator(force_field(atoms))
    atoms.calc = calculator
    FIRE(atoms, logfile=None, maxstep=0.1).run(fmax=0.5, steps=RELAX)
    snapshots = dynamics(
        atoms,
        calculator,
        rng,
        temperature=TEMPERATURE,
        timestep=TIMESTEP,
        burn=BURN,
        every=EVERY,
        frames=options["frames"],
    )
    charge = sum(CHARGES[symbol] for symbol in Atoms(options["solute"]).symbols)
    frames = []
    for index, snapshot in enumerate(snapshots):
        bare = Atoms(snapshot.numbers, snapshot.positions)
        if "far" in options:
            bare = moved_away(bare, options["far"][index])
        try:
            frame = labeled(bare, gfn("GFN1-xTB", charge))
        except CalculationFailed as error:
            raise RuntimeError(f"{task.name}, frame {index}: {error}") from error
        distance = options["far"][index] if "far" in options else 0.0
        frame.info |= {"charge": charge, "waters": options["waters"], "moved": distance}
        frames.append(frame)
    return frames
