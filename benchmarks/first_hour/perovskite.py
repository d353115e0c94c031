"""CsPbBr3: GFN1-xTB of 2x2x2 cells with octahedral tilts, Langevin dynamics at 300 to 600 K."""

from __future__ import annotations

import numpy as np
from ase import Atoms

from benchmarks.first_hour.tasks import Task, dynamics, gfn

STYLE = "results"
SEED = 20261201
#: The minimum of GFN1-xTB in the cubic 2x2x2 cell, A; experiment has 5.87 at 400 K.
LATTICE_CONSTANT = 5.80
#: Largest tilt about each axis, degrees; strains of each axis, fractions.
MAX_TILT, MAX_STRAIN = 12.0, 0.015
TRAIN_TEMPERATURES, TEST_TEMPERATURE = (300, 400, 500), 600
TRAJECTORIES = {"train": 30, "test": 8}
FRAMES = 4
#: fs; the fastest mode of these heavy atoms has a period of about 200 fs.
TIMESTEP = 10.0
BURN, EVERY = 2, 1


def plan() -> list[Task]:
    """Trajectories of training, and hotter ones of the test."""
    tasks = []
    for split, count in TRAJECTORIES.items():
        for i in range(count):
            hot = split == "test"
            kelvin = TEST_TEMPERATURE if hot else TRAIN_TEMPERATURES[i % len(TRAIN_TEMPERATURES)]
            tasks.append(Task(f"{split}-{i:02d}", split, {"temperature": kelvin}))
    return tasks


def cubic(lattice_constant: float) -> Atoms:
    """The ideal 2x2x2 cell, 40 atoms."""
    sites = [[0.5, 0.5, 0.5], [0, 0, 0], [0.5, 0, 0], [0, 0.5, 0], [0, 0, 0.5]]
    cell = Atoms("CsPbBr3", scaled_positions=sites, cell=[lattice_constant] * 3, pbc=True)
    return cell.repeat(2)


def tilted(atoms: Atoms, tilts: np.ndarray) -> Atoms:
    """Octahedra tilted by small angles (degrees) about x, y and z.

    Neighbors that share a bromine turn in opposite senses; along the axis of the turn the sense
    alternates too (Glazer's a-b-c-).
    """
    turned = atoms.copy()
    step = atoms.cell.array[0, 0] / 4  # half of the distance of two Pb
    sites = np.rint(atoms.positions / step).astype(int)  # Pb have even sites
    for i in np.flatnonzero(atoms.numbers == 35):
        bond = np.flatnonzero(sites[i] % 2)[0]
        lead = (sites[i] - np.eye(3, dtype=int)[bond]) // 2
        angles = np.radians(tilts) * (-1) ** int(lead.sum())
        turned.positions[i] += np.cross(angles, step * np.eye(3)[bond])
    return turned


def start(task: Task, rng: np.random.Generator) -> Atoms:
    """A strained cell with random tilts and rattled atoms."""
    atoms = tilted(cubic(LATTICE_CONSTANT), rng.uniform(-MAX_TILT, MAX_TILT, 3))
    strain = np.diag(1 + rng.uniform(-MAX_STRAIN, MAX_STRAIN, 3))
    atoms.set_cell(atoms.cell @ strain, scale_atoms=True)
    # Thermal displacements grow with the root of the temperature.
    size = 0.1 * np.sqrt(task.options["temperature"] / 300)
    atoms.positions += size * rng.standard_normal(atoms.positions.shape)
    return atoms


def compute(task: Task) -> list[Atoms]:
    """The snapshots of one trajectory."""
    rng = task.rng(SEED)
    temperature = task.options["temperature"]
    frames = list(
        dynamics(
            start(task, rng),
            gfn("GFN1-xTB"),
            rng,
            temperature=temperature,
            timestep=TIMESTEP,
            burn=BURN,
            every=EVERY,
            frames=FRAMES,
        )
    )
    for atoms in frames:
        atoms.info["temperature"] = temperature
    return frames
