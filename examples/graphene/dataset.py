"""Benzene, NaCl and water on flakes of graphene: GFN2-xTB.

    pip install '.[datasets]'
    python -m examples.graphene.dataset --out build/graphene --jobs 2

A height is the distance of the lowest atom of the molecule from the plane of the flake, before both
are rattled. Training frames have heights of 2.6 to 5 A above C24H12 and C54H18, at random places
near the center, benzene tilted by up to 40 degrees, NaCl and water in any orientation; and flakes
and molecules alone.

- ``train.xyz``, ``valid.xyz``, ``test_near.xyz``: frames of this kind;
- ``test_far.xyz``: heights of 5 to 10 A above the same flakes;
- ``test_large.xyz``: C96H24, which training never saw;
- ``height_scans.xyz``: relaxed flakes and molecules, not rattled, from 2.6 to 15 A above a hexagon;
- ``lateral_scans.xyz``: the same at one height, along a line over the bond to the next hexagon and
  on to the one after it.

Tests and scans have ``REF_interaction_energy``, the energy minus those of the flake and of the
molecule alone, and ``size_first``, the number of atoms of the flake. Scans also have ``scan``,
``height`` and ``lateral`` (A), and ``REF_charge_transfer``, the Mulliken charge of the molecule.

Between these molecules and a flake, no charge stays on the wrong side when they are separated:
``REF_charge_transfer`` vanishes with the height. This is not true of strong electron acceptors,
such as tetracyanoethylene, whose complexes do not dissociate in GFN2-xTB: they do not belong here.

A run that was killed goes on where it was. About a quarter of an hour of one core. ``data/`` has
the result, compressed.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np
from ase import Atoms
from ase.io import read
from ase.optimize import BFGS

from benchmarks.datasets.geometries import random_rotation
from benchmarks.datasets.parts import as_written, command, run_tasks, save, write_splits
from benchmarks.first_hour.tasks import Task, gfn, labeled
from examples.graphene.flakes import ADSORBATES, RINGS, above, adsorbate, flake, tilted

SEED = 20261206
#: Frames of each molecule above each flake.
COUNTS = {
    "train": {"C24H12": 200, "C54H18": 120},
    "valid": {"C24H12": 20, "C54H18": 20},
    "test_near": {"C24H12": 40, "C54H18": 20},
    "test_far": {"C24H12": 40, "C54H18": 20},
    "test_large": {"C96H24": 20},
}
#: Frames of each flake and molecule alone.
ALONE = {"train": 40, "valid": 20}
CHUNK = 20
NEAR, FAR = (2.6, 5.0), (5.0, 10.0)  # A
#: Degrees, and largest distance of the molecule from the middle of the flake (A).
MOST_TILT, RADII = 40.0, {"C24H12": 1.5, "C54H18": 3.5, "C96H24": 5.5}
#: A, standard deviations of each coordinate; each frame has one of them.
RATTLES = (0.01, 0.02, 0.03)
HEIGHTS = np.concatenate(
    [np.arange(2.6, 3.95, 0.1), np.arange(4.0, 6.1, 0.25), np.arange(6.5, 9.1, 0.5), [10, 12, 15]]
)
#: A; heights of the lateral scans, and their points.
SCANNED = {"benzene": 3.2, "NaCl": 3.0, "water": 2.6}
LATERAL, LATERAL_FLAKES = np.linspace(0.0, 4.92, 25), ("C54H18", "C96H24")


def size(name: str) -> float:
    """Expected time of one frame beside that of C24H12."""
    return (len(flake(name)) / 36) ** 3 if name in RINGS else 0.01


def relaxation_tasks() -> list[Task]:
    """The relaxation of each flake and of each molecule."""
    names = (*RINGS, *ADSORBATES)
    return [Task(f"relaxed-{name}", "", {"name": name}, 10 * size(name)) for name in names]


def frame_tasks() -> list[Task]:
    """Rattled frames, in pieces."""
    tasks = []
    for split, counts in COUNTS.items():
        for name, count in counts.items():
            for upper in ADSORBATES:
                for i in range(count // CHUNK):
                    options = {"flake": name, "adsorbate": upper}
                    cost = CHUNK * size(name) * (2 if split.startswith("test") else 1)
                    tasks.append(Task(f"{split}-{upper}-{name}-{i:02d}", split, options, cost))
    for split, count in ALONE.items():
        for name in (*COUNTS["train"], *ADSORBATES):
            for i in range(count // CHUNK):
                options = {"alone": name}
                task = Task(f"{split}-{name}-{i:02d}", split, options, CHUNK * size(name))
                tasks.append(task)
    return tasks


def scan_tasks() -> list[Task]:
    """Scans of the height above all flakes, and along two of them."""
    tasks = []
    for kind, flakes in (("height", tuple(RINGS)), ("lateral", LATERAL_FLAKES)):
        for name in flakes:
            for upper in ADSORBATES:
                options = {"flake": name, "adsorbate": upper, "kind": kind}
                cost = size(name) * len(HEIGHTS if kind == "height" else LATERAL)
                tasks.append(Task(f"{kind}-{upper}-{name}", f"{kind}_scans", options, cost))
    return tasks


def compute_relaxed(task: Task, path: Path) -> None:
    """A relaxed flake, flat, or a relaxed molecule."""
    name = task.options["name"]
    atoms = flake(name) if name in RINGS else adsorbate(name)
    atoms.calc = gfn("GFN2-xTB")
    if not BFGS(atoms, logfile=None).run(fmax=5e-3, steps=200):
        raise RuntimeError(f"the relaxation of {name} did not converge")
    save(path, [Atoms(atoms.numbers, atoms.positions)])


def rattled(atoms: Atoms, amplitude: float, rng: np.random.Generator) -> Atoms:
    """Atoms moved at random, and all of them turned."""
    moved = atoms.copy()
    moved.positions += amplitude * rng.standard_normal(atoms.positions.shape)
    moved.positions = moved.positions @ random_rotation(rng).T
    moved.info["amplitude"] = amplitude
    return moved


def with_labels(atoms: Atoms, apart: float | None = None) -> Atoms:
    """Energy and forces, and the interaction energy if the sum of the energies apart is given."""
    frame = as_written(labeled(atoms, gfn("GFN2-xTB")), "reference")
    if apart is not None:
        frame.info["REF_interaction_energy"] = frame.info["REF_energy"] - apart
    return frame


def energy_apart(atoms: Atoms) -> float:
    """Energy of the flake plus that of the molecule, as they are in a frame."""
    n = atoms.info["size_first"]
    parts = (atoms[:n], atoms[n:])
    return sum(labeled(part, gfn("GFN2-xTB")).get_potential_energy() for part in parts)


def dimers(task: Task, lower: Atoms, upper: Atoms) -> list[Atoms]:
    """Rattled frames of one molecule above one flake."""
    rng, frames, options = task.rng(SEED), [], task.options
    bounds = FAR if task.split == "test_far" else NEAR
    for _ in range(CHUNK):
        angle, radius = rng.uniform(0, 2 * np.pi), RADII[options["flake"]] * rng.random() ** 0.5
        lateral = radius * np.array([np.cos(angle), np.sin(angle)])
        height = float(rng.uniform(*bounds))
        turned = tilted(upper, options["adsorbate"], MOST_TILT, rng)
        atoms = rattled(above(lower, turned, height, lateral), rng.choice(RATTLES), rng)
        atoms.info.update(flake=options["flake"], adsorbate=options["adsorbate"], height=height)
        apart = energy_apart(atoms) if task.split.startswith("test") else None
        frames.append(with_labels(atoms, apart))
    return frames


def scanned(task: Task, lower: Atoms, upper: Atoms) -> list[Atoms]:
    """One scan of relaxed fragments."""
    options, frames, apart = task.options, [], None
    fixed, kind = SCANNED[options["adsorbate"]], options["kind"]
    for value in HEIGHTS if kind == "height" else LATERAL:
        height, lateral = (value, 0.0) if kind == "height" else (fixed, value)
        atoms = above(lower, upper, height, np.array([lateral, 0.0]))
        apart = energy_apart(atoms) if apart is None else apart
        calculator = gfn("GFN2-xTB")
        frame = as_written(labeled(atoms, calculator), "reference")
        frame.info.update(
            REF_interaction_energy=frame.info["REF_energy"] - apart,
            flake=options["flake"],
            adsorbate=options["adsorbate"],
            scan=f"{options['adsorbate']}-{options['flake']}",
            height=round(float(height), 4),
            lateral=round(float(lateral), 4),
            REF_charge_transfer=float(calculator.results["charges"][len(lower) :].sum()),
        )
        frame.info["distance"] = frame.info[kind]
        frames.append(frame)
    return frames


def compute(parts: Path, task: Task, path: Path) -> None:
    """The frames of a task; flakes and molecules are relaxed already."""
    options = task.options

    def relaxed(name: str) -> Atoms:
        return read(parts / f"relaxed-{name}.xyz", format="extxyz")

    if "alone" in options:
        rng, atoms = task.rng(SEED), relaxed(options["alone"])
        drawn = [rattled(atoms, rng.choice(RATTLES), rng) for _ in range(CHUNK)]
        save(path, [with_labels(each) for each in drawn])
        return
    make = scanned if "kind" in options else dimers
    save(path, make(task, relaxed(options["flake"]), relaxed(options["adsorbate"])))


def run(out: Path, jobs: int, tasks: list[Task]) -> None:
    """Compute what is missing of these tasks, then write the files."""
    folder = out / "parts"
    before = {folder / f"{task.name}.xyz": task for task in relaxation_tasks()}
    needed = {task.options.get(key) for task in tasks for key in ("flake", "adsorbate", "alone")}
    before = {path: task for path, task in before.items() if task.options["name"] in needed}
    parts = {folder / f"{task.name}.xyz": task for task in tasks}
    spent = run_tasks("relaxations", before, compute_relaxed, jobs)
    spent += run_tasks("frames", parts, partial(compute, folder), jobs)
    print(f"{spent:.0f} s of processor time", flush=True)
    write_splits(out, parts)


def main() -> None:
    command(
        __doc__,
        lambda out, jobs: run(out, jobs, [*frame_tasks(), *scan_tasks()]),
        Path("build/graphene"),
    )


if __name__ == "__main__":
    main()
