"""Conformations of Ac-Ala_n-NHMe and the formation of its helix: GFN2-xTB.

    pip install '.[datasets]'
    python -m examples.folding.dataset --out build/folding --jobs 2

The peptides are built from their backbone dihedrals with standard bond lengths and angles
(``peptides.py``), without relaxation. Conformations are helices, extended chains, turns between two
extended arms, helices in a part of the chain, and residues drawn at random from the usual basins;
dihedrals vary by 10 degrees, and all atoms are rattled and turned at random.

- ``train.xyz``, ``valid.xyz``, ``test.xyz``: n = 1 to 6;
- ``test_long.xyz``: n = 8 to 15, which training never saw;
- ``lengths.xyz``: the helix and the extended chain of n = 1 to 15, not rattled;
- ``paths.xyz``: from the extended chain to the helix, not rattled, at n = 6 and 12: residue by
  residue from the acetyl end (``scan`` sequential-12), and all residues together (concerted-12).
  ``helical`` is the number of helical residues along the path.

The molecules are isolated, without a solvent that would screen the dipoles of the peptide bonds. A
helix gains energy with its length more than linearly: what a model with short range cannot have is
of the size of the interaction of these dipoles, a few meV for each residue.

A run that was killed goes on where it was. Some minutes of one core. ``data/`` has the result,
compressed.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from ase import Atoms

from benchmarks.datasets.geometries import random_rotation
from benchmarks.datasets.parts import as_written, command, run_tasks, save, write_splits
from benchmarks.first_hour.tasks import Task, gfn, labeled
from examples.folding.peptides import has_clash, peptide

SEED = 20261207
TRAINED, LONG = range(1, 7), range(8, 16)
#: Frames of each length.
COUNTS = {"train": 240, "valid": 20, "test": 40}
LONG_COUNT, CHUNK = 20, 20
#: phi and psi, degrees.
HELIX, EXTENDED = (-63.0, -42.0), (-120.0, 130.0)
BASINS = (HELIX, (-49.0, -26.0), EXTENDED, (-75.0, 145.0), (-83.0, 73.0), (57.0, 47.0))
WEIGHTS = (0.25, 0.1, 0.25, 0.25, 0.1, 0.05)
TURNS = (
    ((-60.0, -30.0), (-90.0, 0.0)),
    ((-60.0, 120.0), (80.0, 0.0)),
    ((-60.0, -30.0), (-60.0, -30.0)),
)
SPREAD = 10.0  # degrees
#: A, standard deviations of each coordinate; each frame has one of them.
RATTLES = (0.01, 0.02, 0.03)
#: Length of a path -> steps for each residue.
PATHS = {6: 4, 12: 4}
#: Residues that turn at the same time: with one, an oxygen passes too close to a hydrogen.
FRONT = 2
CONFORMATIONS = ("helix", "extended", "turn", "partial", "mixed")


def cost(n: int) -> float:
    """Expected time of a frame beside that of one residue."""
    return ((n + 1.2) / 2.2) ** 2.5


def plan() -> list[Task]:
    """All pieces of work."""
    counts = [(split, n, count) for split, count in COUNTS.items() for n in TRAINED]
    counts += [("test_long", n, LONG_COUNT) for n in LONG]
    tasks = [
        Task(f"{split}-{n:02d}-{i:02d}", split, {"residues": n}, CHUNK * cost(n))
        for split, n, count in counts
        for i in range(count // CHUNK)
    ]
    for n in (*TRAINED, 7, *LONG):
        tasks.append(Task(f"lengths-{n:02d}", "lengths", {"residues": n}, 2 * cost(n)))
    for n, steps in PATHS.items():
        for kind in ("sequential", "concerted"):
            options = {"residues": n, "kind": kind}
            points = n * steps + 1
            tasks.append(Task(f"{kind}-{n:02d}", "paths", options, points * cost(n)))
    return tasks


def ideal(kind: str, n: int, rng: np.random.Generator) -> list[tuple[float, float]]:
    """Dihedrals of one conformation, before they are varied."""
    if kind == "helix":
        return [HELIX] * n
    if kind == "extended":
        return [BASINS[rng.choice([2, 3])]] * n
    torsions = [BASINS[i] for i in rng.choice(len(BASINS), size=n, p=WEIGHTS)]
    if kind == "turn" and n > 1:
        torsions = [EXTENDED] * n
        first = int(rng.integers(n - 1))
        torsions[first : first + 2] = TURNS[rng.integers(len(TURNS))]
    if kind == "partial":
        first, last = np.sort(rng.integers(0, n + 1, size=2))
        torsions = [HELIX if first <= i < last else EXTENDED for i in range(n)]
    return torsions


def drawn(kind: str, n: int, rng: np.random.Generator) -> list[tuple[float, float]]:
    """Dihedrals of a conformation without clashes."""
    while True:
        varied = np.array(ideal(kind, n, rng)) + SPREAD * rng.standard_normal((n, 2))
        torsions = [(float(phi), float(psi)) for phi, psi in varied]
        if not has_clash(torsions):
            return torsions


def with_labels(atoms: Atoms, **info: object) -> Atoms:
    """Energy and forces of a structure, and its description."""
    frame = as_written(labeled(atoms, gfn("GFN2-xTB")), "reference")
    frame.info.update(info)
    return frame


def sampled(task: Task) -> list[Atoms]:
    """Rattled conformations of one length, the kinds in turn."""
    rng, n, frames = task.rng(SEED), task.options["residues"], []
    for i in range(CHUNK):
        kind = CONFORMATIONS[i % len(CONFORMATIONS)]
        atoms = peptide(drawn(kind, n, rng))
        amplitude = float(rng.choice(RATTLES))
        atoms.positions += amplitude * rng.standard_normal(atoms.positions.shape)
        atoms.positions = atoms.positions @ random_rotation(rng).T
        frames.append(with_labels(atoms, residues=n, conformation=kind, amplitude=amplitude))
    return frames


def along(kind: str, n: int, helical: float) -> list[tuple[float, float]]:
    """Dihedrals at one point of a path from the extended chain to the helix."""
    if kind == "concerted":
        shares = np.full(n, helical / n)
    else:
        front = helical * (n + FRONT - 1) / n
        shares = np.clip((front - np.arange(n)) / FRONT, 0.0, 1.0)
    start, end = np.array(EXTENDED), np.array(HELIX)
    return [tuple(start + share * (end - start)) for share in shares]


def path_frames(kind: str, n: int) -> list[Atoms]:
    """One path of the formation of the helix."""
    frames = []
    for helical in np.linspace(0.0, n, n * PATHS[n] + 1):
        atoms = peptide(along(kind, n, helical))
        frames.append(
            with_labels(atoms, residues=n, scan=f"{kind}-{n:02d}", helical=float(helical))
        )
    return frames


def compute(task: Task, path: Path) -> None:
    """The frames of a task."""
    n = task.options["residues"]
    if task.split == "paths":
        frames = path_frames(task.options["kind"], n)
    elif task.split == "lengths":
        ends = {"helix": HELIX, "extended": EXTENDED}
        frames = [
            with_labels(peptide([torsions] * n), residues=n, conformation=name)
            for name, torsions in ends.items()
        ]
    else:
        frames = sampled(task)
    save(path, frames)


def run(out: Path, jobs: int, tasks: list[Task]) -> None:
    """Compute what is missing of these tasks, then write the files."""
    parts = {out / "parts" / f"{task.name}.xyz": task for task in tasks}
    spent = run_tasks("folding", parts, compute, jobs)
    print(f"{spent:.0f} s of processor time", flush=True)
    write_splits(out, parts)


def main() -> None:
    command(__doc__, lambda out, jobs: run(out, jobs, plan()), Path("build/folding"))


if __name__ == "__main__":
    main()
