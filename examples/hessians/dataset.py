"""Hessians of molecules whose parts feel each other over long distances, and of some that do not.

    pip install '.[datasets]'
    python -m examples.hessians.dataset --out build/hessians --jobs 2

The labels are of GFN2-xTB. Push-pull chains and polyynes carry a perturbation along their
conjugated bonds; an alkane and a folded fatty acid, which are declared negatives, do not
(``molecules.py``). GFN2-xTB exaggerates the charge transfer along the bonds of long chains: its
blocks of the Hessian between the ends hardly decay. ``verify.py`` compares the ends of one chain
with a range-separated functional.

Training frames are classical samples of the harmonic vibrations at 50 to 150 K, where local forces
do not hide those from far away, in random orientations:

- ``train.xyz``, ``valid.xyz``, ``test.xyz``: chains of 4 to 8 units, and the negatives;
- ``test_held_out.xyz``: chains of 9 and 10 units, which training never saw.

Hessians are central differences of the forces, in the minima and in two displaced geometries of
each molecule: ``hessians_positive.xyz``, ``hessians_negative.xyz`` and ``hessians_held_out.xyz``,
each with an archive of its matrices (:mod:`muse_lr.data.hessians`). The difference to their
transpose is their noise; ``info["asymmetry"]`` is its largest 3 x 3 block beyond 4 A (Frobenius
norm, eV/A^2).

Frames have ``family``, ``molecule`` and ``temperature`` (K, 0 for a minimum). A run that was killed
goes on where it was. About 50 minutes of one core. ``data/`` has the result, compressed.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np
from ase import Atoms, units
from ase.optimize import BFGS

from benchmarks.datasets.geometries import (
    hessian_by_differences,
    random_rotation,
    thermal_modes,
)
from benchmarks.datasets.parts import as_written, command, run_tasks, save, write_splits
from benchmarks.first_hour.tasks import Task, gfn, labeled
from examples.hessians.molecules import Molecule
from muse_lr.data.hessians import read_hessians, write_hessians

SEED = 20261205
TRAINED, HELD_OUT = range(4, 9), (9, 10)
NEGATIVES = (Molecule("alkane", 16), Molecule("fatty_acid", 22))
#: Frames of each molecule.
COUNTS = {"train": 200, "valid": 20, "test": 40}
HELD_OUT_COUNT, CHUNK = 40, 20
#: K; each sample has its own temperature.
TEMPERATURES = (50.0, 150.0)
#: Largest energy of a sample above the minimum, in units of that of harmonic vibrations.
MOST_ENERGY = 2.0
#: Number of displaced geometries with a Hessian of each molecule, and their temperature (K).
DISPLACED, DISPLACED_TEMPERATURE = 2, 100.0
#: Accuracy of the SCF and displacement (A): the noise between the ends is below 1e-3 eV/A^2.
ACCURACY, STEP = 1e-3, 2.5e-3
#: A; the guess is distorted, so that the relaxation leaves saddle points.
DISTORTION = 0.02
FAR = 4.0  # A, where the noise is measured


def calculator():
    """GFN2-xTB with a tightly converged SCF."""
    return gfn("GFN2-xTB", accuracy=ACCURACY)


def molecules() -> list[Molecule]:
    """Chains of all lengths, and the negatives."""
    lengths = (*TRAINED, *HELD_OUT)
    chains = [Molecule(family, n) for family in ("push_pull", "polyyne") for n in lengths]
    return [*chains, *NEGATIVES]


def group(molecule: Molecule) -> str:
    """Which file of Hessians a molecule belongs to."""
    if molecule in NEGATIVES:
        return "negative"
    return "held_out" if molecule.units in HELD_OUT else "positive"


def minimum_task(molecule: Molecule) -> Task:
    """The relaxation and the Hessian of a minimum."""
    size = len(molecule.guess())
    return Task(f"minimum-{molecule.name}", group(molecule), {"molecule": molecule}, size**3)


def displaced_tasks(molecule: Molecule) -> list[Task]:
    """One Hessian away from the minimum each."""
    size = len(molecule.guess())
    return [
        Task(f"displaced-{molecule.name}-{i}", group(molecule), {"molecule": molecule}, size**3)
        for i in range(DISPLACED)
    ]


def sample_tasks(molecule: Molecule) -> list[Task]:
    """Frames of a molecule in pieces."""
    held_out = group(molecule) == "held_out"
    counts = {"test_held_out": HELD_OUT_COUNT} if held_out else COUNTS
    cost = CHUNK * len(molecule.guess()) ** 2 / 6
    return [
        Task(f"{split}-{molecule.name}-{i:02d}", split, {"molecule": molecule}, cost)
        for split, count in counts.items()
        for i in range(count // CHUNK)
    ]


def relaxed(molecule: Molecule, rng: np.random.Generator) -> Atoms:
    """The minimum next to the guess."""
    atoms = molecule.guess()
    if molecule.family != "polyyne":  # a linear molecule stays exactly linear
        atoms.positions += DISTORTION * rng.standard_normal(atoms.positions.shape)
    atoms.calc = calculator()
    if not BFGS(atoms, logfile=None).run(fmax=1e-3, steps=2000):
        raise RuntimeError(f"the relaxation of {molecule.name} did not converge")
    return atoms


def asymmetry(atoms: Atoms, hessian: np.ndarray) -> float:
    """Largest block of the Hessian minus its transpose between distant atoms, eV/A^2."""
    n = len(atoms)
    blocks = np.linalg.norm((hessian - hessian.T).reshape(n, 3, n, 3), axis=(1, 3))
    return float(blocks[atoms.get_all_distances() > FAR].max())


def described(atoms: Atoms, molecule: Molecule, temperature: float) -> Atoms:
    """The same structure with its description."""
    described = Atoms(atoms.numbers, atoms.positions)
    described.info.update(
        family=molecule.family,
        molecule=molecule.name,
        units=molecule.units,
        temperature=temperature,
        total_charge=0,
    )
    return described


def write_hessian(path: Path, frame: Atoms) -> None:
    """Compute the Hessian of a labeled frame, and write both."""
    atoms = frame.copy()
    atoms.calc = calculator()
    hessian = hessian_by_differences(atoms, STEP)
    frame.info["asymmetry"] = asymmetry(atoms, hessian)
    frame.info["hess_id"] = path.stem
    write_hessians(path, [frame], [hessian])


def sampled(minimum: Path, molecule: Molecule, temperature: float, rng) -> Atoms:
    """A labeled thermal displacement of a minimum that was computed before.

    Modes are straight, but atoms turn about bonds: a large displacement stretches them. What has
    too much energy is drawn again.
    """
    (frame,) = read_hessians(minimum)
    modes = thermal_modes(frame.atoms, frame.hessian, temperature, molecule.zero_modes)
    most = frame.atoms.info["REF_energy"] + MOST_ENERGY * len(modes) * units.kB * temperature / 2
    while True:
        atoms = described(frame.atoms, molecule, temperature)
        atoms.positions += np.einsum("m,mia->ia", rng.standard_normal(len(modes)), modes)
        found = labeled(atoms, calculator())
        if found.get_potential_energy() < most:
            return as_written(found, "reference")


def compute_minimum(task: Task, path: Path) -> None:
    """A minimum and its Hessian."""
    molecule = task.options["molecule"]
    minimum = described(relaxed(molecule, task.rng(SEED)), molecule, 0.0)
    write_hessian(path, as_written(labeled(minimum, calculator()), "reference"))


def compute(parts: Path, task: Task, path: Path) -> None:
    """A displaced geometry and its Hessian, or sampled frames; the minimum is there."""
    molecule, rng = task.options["molecule"], task.rng(SEED)
    minimum = parts / f"minimum-{molecule.name}.xyz"
    if task.name.startswith("displaced"):
        write_hessian(path, sampled(minimum, molecule, DISPLACED_TEMPERATURE, rng))
        return
    frames = []
    for _ in range(CHUNK):
        atoms = sampled(minimum, molecule, float(rng.uniform(*TEMPERATURES)), rng)
        rotation = random_rotation(rng)
        atoms.positions = atoms.positions @ rotation.T
        atoms.arrays["REF_forces"] = atoms.arrays["REF_forces"] @ rotation.T
        frames.append(atoms)
    save(path, frames)


def run(out: Path, jobs: int, chosen: list[Molecule]) -> None:
    """Compute what is missing of these molecules, then write the files."""
    folder = out / "parts"

    def files(tasks: list[Task]) -> dict[Path, Task]:
        return {folder / f"{task.name}.xyz": task for task in tasks}

    minima = files([minimum_task(molecule) for molecule in chosen])
    others = files([task for m in chosen for task in (*displaced_tasks(m), *sample_tasks(m))])
    spent = run_tasks("minima", minima, compute_minimum, jobs)
    spent += run_tasks("displaced geometries", others, partial(compute, folder), jobs)
    print(f"{spent:.0f} s of processor time", flush=True)
    of_hessians: dict[str, list[Path]] = {}
    of_frames: dict[Path, Task] = {}
    for path, task in (minima | others).items():
        if task.split in (*COUNTS, "test_held_out"):
            of_frames[path] = task
        else:
            of_hessians.setdefault(task.split, []).append(path)
    for split, paths in of_hessians.items():
        found = [frame for path in paths for frame in read_hessians(path)]
        file = out / f"hessians_{split}.xyz"
        write_hessians(file, [f.atoms for f in found], [f.hessian for f in found])
        print(f"{file}: {len(found)} Hessians", flush=True)
    write_splits(out, of_frames)


def main() -> None:
    command(__doc__, lambda out, jobs: run(out, jobs, molecules()), Path("build/hessians"))


if __name__ == "__main__":
    main()
