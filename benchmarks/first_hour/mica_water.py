"""Mica in water: a muscovite layer with its K+ ions under three layers of water, ClayFF, TTF.

One layer of KAl2(AlSi3O10)(OH)2, cleaved on both sides: half of the K+ of an interlayer stays on
each face. GFN1-xTB puts no positive charge on these ions, and its energy depends on the vacuum
(README.md), so that the labels are those of a classical force field with the exact Coulomb sum of
a slab.
"""

from __future__ import annotations

import numpy as np
from ase import Atoms
from ase.optimize import FIRE
from ase.spacegroup import crystal

from benchmarks.first_hour.ionic import IonicCalculator
from benchmarks.first_hour.tasks import Task, dynamics
from benchmarks.first_hour.water import force_field, molecule

STYLE = "results"
SEED = 20261202
#: Muscovite 2M1, C2/c: R. Rothbauer, Neues Jahrb. Mineral. Monatsh. 1971, 143.
CELL = (5.1918, 9.0153, 20.0457, 90.0, 95.735, 90.0)
SITES = (
    ("K", (0.0, 0.0983, 0.25)),
    ("Al", (0.2502, 0.0835, 0.0)),
    ("Si", (0.4646, 0.9291, 0.1355)),
    ("Si", (0.4516, 0.2582, 0.1355)),
    ("O", (0.4180, 0.0927, 0.1683)),
    ("O", (0.2510, 0.8106, 0.1578)),
    ("O", (0.2513, 0.3707, 0.1689)),
    ("O", (0.4615, 0.9434, 0.0535)),
    ("O", (0.3861, 0.2518, 0.0536)),
    ("O", (0.4569, 0.5627, 0.0501)),
    ("H", (0.3726, 0.6506, 0.0598)),
)
#: Cells along a and b, length of the third cell vector, A, and the lower face above its end.
REPEAT, HEIGHT, BOTTOM = (2, 1), 36.0, 4.0
#: Molecules and K of each trajectory; the test has a thicker film and is hotter. Training has
#: several numbers of molecules, so that the energy of one more is determined.
TRAJECTORIES = {"train": ((26, 300), (28, 300), (30, 300)), "test": ((36, 400),)}
FRAMES = 20
#: fs, steps.
TIMESTEP, RELAX, BURN, EVERY = 0.5, 150, 400, 40
#: Tetrahedra that share an oxygen have centers nearer than this, A.
NEIGHBORS = 3.6
#: Smallest distance of atoms of different molecules at the start, A, and height of a layer, A.
CONTACT, LAYER = 1.9, 3.1


def plan() -> list[Task]:
    """Trajectories, each with its own water and its own places of K+ and tetrahedral Al."""
    tasks = []
    for split, states in TRAJECTORIES.items():
        for i, (waters, kelvin) in enumerate(states):
            options = {"waters": waters, "temperature": kelvin}
            tasks.append(Task(f"{split}-{i}", split, options))
    return tasks


def layer(rng: np.random.Generator) -> Atoms:
    """A neutral muscovite layer, periodic along a and b, with random K+ and tetrahedral Al."""
    symbols, sites = zip(*SITES, strict=True)
    bulk = crystal(symbols, sites, spacegroup=15, cellpar=CELL)
    # One of the two layers of the cell: heights from -1/4 to 1/4, K+ on both ends.
    fractions = bulk.get_scaled_positions()
    fractions[:, 2] = (fractions[:, 2] + 0.26) % 1 - 0.26
    kept = fractions[:, 2] < 0.255
    slab = Atoms(bulk.numbers[kept], fractions[kept] @ bulk.cell.array, cell=bulk.cell, pbc=True)
    slab = slab.repeat((*REPEAT, 1))
    slab.cell[2] = [0, 0, HEIGHT]
    slab.pbc = [True, True, False]
    removed = []
    for face in (1, -1):
        on_face = np.sign(slab.positions[:, 2]) == face
        silicon = np.flatnonzero(on_face & (slab.numbers == 14))
        potassium = np.flatnonzero(on_face & (slab.numbers == 19))
        slab.numbers[_separate(slab, rng, silicon)] = 13
        removed += rng.permutation(potassium)[: len(potassium) // 2].tolist()
    del slab[removed]
    slab.positions[:, 2] += BOTTOM - slab.positions[:, 2].min()
    return _joined(slab)


def _separate(slab: Atoms, rng: np.random.Generator, silicon: np.ndarray) -> np.ndarray:
    """A random quarter of the sites, no two at one oxygen (Loewenstein's rule)."""
    between = slab.get_all_distances(mic=True)
    while True:
        chosen = rng.permutation(silicon)[: len(silicon) // 4]
        distances = between[np.ix_(chosen, chosen)][np.triu_indices(len(chosen), 1)]
        if (distances > NEIGHBORS).all():
            return chosen


def _joined(slab: Atoms) -> Atoms:
    """Move each hydrogen to the image that is next to its oxygen."""
    oxygens = np.flatnonzero(slab.numbers == 8)
    for i in np.flatnonzero(slab.numbers == 1):
        distances = slab.get_distances(i, oxygens, mic=True)
        nearest = oxygens[distances.argmin()]
        slab.positions[i] = slab.positions[nearest] - slab.get_distance(
            i, nearest, mic=True, vector=True
        )
    return slab


def wetted(slab: Atoms, waters: int, rng: np.random.Generator) -> Atoms:
    """The slab with molecules on its upper face, placed at random without contacts."""
    surface = slab.positions[:, 2].max()
    wet = slab.copy()
    # A little more room than the density of water; it closes in the relaxation.
    depth = LAYER * np.ceil(waters / 9) + 1.0
    while len(wet) < len(slab) + 3 * waters:
        planar = rng.random(2) @ slab.cell.array[:2]
        added = molecule(planar + np.array([0, 0, surface + rng.uniform(0.5, depth)]), rng)
        trial = wet + added
        others = range(len(wet))
        new = range(len(wet), len(trial))
        closest = min(trial.get_distances(i, others, mic=True).min() for i in new)
        if closest > CONTACT:
            wet = trial
    return wet


def compute(task: Task) -> list[Atoms]:
    """The snapshots of one trajectory."""
    rng = task.rng(SEED)
    temperature = task.options["temperature"]
    atoms = wetted(layer(rng), task.options["waters"], rng)
    calculator = IonicCalculator(force_field(atoms))
    atoms.calc = calculator
    FIRE(atoms, logfile=None, maxstep=0.1).run(fmax=0.5, steps=RELAX)
    frames = dynamics(
        atoms,
        calculator,
        rng,
        temperature=temperature,
        timestep=TIMESTEP,
        burn=BURN,
        every=EVERY,
        frames=FRAMES,
    )
    snapshots = list(frames)
    for snapshot in snapshots:
        snapshot.info["temperature"] = temperature
    return snapshots
