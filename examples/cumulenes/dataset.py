"""Compute the ``cumulenes`` sets: GFN2-xTB of twisted and rattled chains H2C=C=...=C=CH2.

The two CH2 groups of CnH4 are coupled through the pi system of the whole chain: turning one against
the other costs energy however long the chain is, nothing about it is electrostatic, and a model
that sees only part of the chain cannot know the angle. In the minimum the planes of the CH2 groups
coincide for even n and stand upright on each other for odd n (``verify`` shows it). The angle is
drawn within 70 degrees of that: at 90 degrees the closed-shell energy has a cusp.

    python examples/cumulenes/dataset.py verify
    python examples/cumulenes/dataset.py compute --sets short long --out build/cumulenes

``compute`` appends one extended-XYZ frame a configuration to ``SET-part.xyz``, skips what is
already there, and in the end writes ``SET_train``, ``SET_valid``, ``SET_test`` (unseen geometries
of the lengths in training), ``SET_length`` (the next longer chain, which training never saw),
``SET_longer`` (four more) and ``SET_scan`` (each minimum turned step by step, not rattled).
The sets do not ship with the package.
"""

from __future__ import annotations

import argparse
import os
import time
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from ase import Atoms
from ase.io import read, write
from ase.optimize import BFGS

SEED = 20261122
# Lengths in training, for backbones with a cutoff of 4 A (short) and of 3 A (long).
LENGTHS = {"short": (4, 5, 6, 7, 8, 9), "long": (9, 10, 11, 12, 13)}
UNSEEN_LENGTH = {"short": 10, "long": 14}
LONGER = {"short": (11, 12, 13, 14), "long": (15, 16, 17, 18)}
COUNTS = {"train": 1500, "valid": 150, "test": 300, "length": 60, "longer": 120}
MAX_TORSION = 70.0  # degrees from the minimum
SCAN_STEP = 5.0  # degrees
AMPLITUDE = 0.04  # A, standard deviation of each Cartesian coordinate
BOND, HYDROGEN_BOND, HYDROGEN_ANGLE = 1.29, 1.09, 122.0  # before relaxation: A, A, degrees


@dataclass(frozen=True)
class Plan:
    """One configuration: where it belongs, its number of carbon atoms and how it is deformed."""

    name: str
    part: str
    length: int
    torsion: float
    seed: tuple[int, ...]


def plan(kind: str) -> list[Plan]:
    """All configurations of a set; the lengths take turns, so that an early stop is balanced."""
    plans = []
    start = 0
    for part, count in COUNTS.items():
        unseen = {"length": (UNSEEN_LENGTH[kind],), "longer": LONGER[kind]}
        lengths = unseen.get(part, LENGTHS[kind])
        for i in range(start, start + count):
            length = lengths[i % len(lengths)]
            seed = (SEED, list(LENGTHS).index(kind), i)
            torsion = np.random.default_rng(seed).uniform(-MAX_TORSION, MAX_TORSION)
            plans.append(Plan(f"{kind}-{length:02d}-{i:04d}", part, length, torsion, seed))
        start += count
    return plans


def minimum_angle(length: int) -> float:
    """Angle between the planes of the CH2 groups in the minimum (degrees)."""
    return 90.0 * (length % 2)


def _ideal(length: int, angle: float) -> Atoms:
    """A straight chain along z whose CH2 planes make ``angle`` (degrees)."""
    carbons = np.zeros((length, 3))
    carbons[:, 2] = BOND * np.arange(length)
    bend = np.radians(HYDROGEN_ANGLE)
    out, along = HYDROGEN_BOND * np.sin(bend), HYDROGEN_BOND * np.cos(bend)
    hydrogens = []
    for end, turn, sign in ((0, 0.0, 1), (-1, np.radians(angle), -1)):
        direction = np.array([np.cos(turn), np.sin(turn), 0.0])
        for side in (1, -1):
            hydrogens.append(carbons[end] + side * out * direction + [0, 0, sign * along])
    return Atoms(f"C{length}H4", np.vstack([carbons, hydrogens]))


def _calculator():
    from tblite.ase import TBLite

    return TBLite(method="GFN2-xTB", accuracy=0.1, verbosity=0)


def relaxed(length: int, angle: float) -> Atoms:
    """The chain relaxed at fixed symmetry, and so at fixed ``angle`` if this is 0 or 90."""
    atoms = _ideal(length, angle)
    atoms.calc = _calculator()
    BFGS(atoms, logfile=None).run(fmax=0.005, steps=200)
    return atoms


@cache
def minimum(length: int) -> Atoms:
    """The minimum of a chain."""
    return relaxed(length, minimum_angle(length))


def _turned(atoms: Atoms, torsion: float) -> Atoms:
    """The last two hydrogens turned about the chain (degrees)."""
    turn = np.radians(torsion)
    rotation = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    turned = Atoms(atoms.numbers, atoms.positions)
    turned.positions[-2:, :2] = turned.positions[-2:, :2] @ rotation.T
    return turned


def _rotation(rng: np.random.Generator) -> np.ndarray:
    q, r = np.linalg.qr(rng.standard_normal((3, 3)))
    q = q * np.sign(np.diag(r))
    return q * np.linalg.det(q)


def _labeled(atoms: Atoms, name: str, part: str, length: int, torsion: float) -> Atoms:
    """Energy and forces, and how the frame was made."""
    work = atoms.copy()
    work.calc = _calculator()
    atoms.arrays["REF_forces"] = work.get_forces()
    atoms.info.update(
        REF_energy=float(work.get_potential_energy()),
        total_charge=0,
        name=name,
        part=part,
        length=length,
        torsion=torsion,
    )
    return atoms


def compute(item: Plan) -> Atoms:
    """One labeled frame, turned, rattled and in a random orientation."""
    rng = np.random.default_rng((*item.seed, 1))
    atoms = _turned(minimum(item.length), item.torsion)
    atoms.positions += AMPLITUDE * rng.standard_normal(atoms.positions.shape)
    atoms.positions = atoms.positions @ _rotation(rng).T
    return _labeled(atoms, item.name, item.part, item.length, item.torsion)


def scan(kind: str) -> list[Atoms]:
    """The minimum of each length turned step by step, not rattled."""
    frames = []
    for length in (*LENGTHS[kind], UNSEEN_LENGTH[kind]):
        for torsion in np.arange(0.0, MAX_TORSION + 1, SCAN_STEP):
            atoms = _turned(minimum(length), torsion)
            name = f"{kind}-scan-{length:02d}-{torsion:02.0f}"
            frames.append(_labeled(atoms, name, "scan", length, float(torsion)))
    return frames


def run(kind: str, out: Path) -> None:
    """Compute what is missing of a set, then write its files."""
    out.mkdir(parents=True, exist_ok=True)
    file = out / f"{kind}-part.xyz"
    known = read(file, ":", format="extxyz") if file.exists() else []
    done = {atoms.info["name"] for atoms in known}
    todo = [item for item in plan(kind) if item.name not in done]
    start = time.time()
    for i, item in enumerate(todo):
        write(file, compute(item), format="extxyz", append=True)
        if (i + 1) % 100 == 0:
            left = (time.time() - start) / (i + 1) * (len(todo) - i - 1)
            print(f"{i + 1}/{len(todo)} {item.name}, {left / 60:.1f} min to go", flush=True)
    frames = {atoms.info["name"]: atoms for atoms in read(file, ":", format="extxyz")}
    for part in COUNTS:
        chosen = [frames[item.name] for item in plan(kind) if item.part == part]
        write(out / f"{kind}_{part}.xyz.xz", chosen, format="extxyz")
    write(out / f"{kind}_scan.xyz.xz", scan(kind), format="extxyz")


def force_difference(atoms: Atoms, rng: np.random.Generator, step: float = 1e-3) -> float:
    """Forces minus the finite difference of the energy along a random unit vector (eV/A)."""
    direction = rng.standard_normal(atoms.positions.shape)
    direction /= np.linalg.norm(direction)
    energies = []
    for sign in (1, -1):
        moved = Atoms(atoms.numbers, atoms.positions + sign * step * direction)
        moved.calc = _calculator()
        energies.append(moved.get_potential_energy())
    numeric = -(energies[0] - energies[1]) / (2 * step)
    return float(np.sum(atoms.arrays["REF_forces"] * direction) - numeric)


def verify() -> None:
    """Print the angle of the minimum, what turning costs, and the forces against differences."""
    rng = np.random.default_rng(SEED)
    for kind, lengths in LENGTHS.items():
        for length in (*lengths, UNSEEN_LENGTH[kind]):
            flat, upright = (relaxed(length, a).get_potential_energy() for a in (0.0, 90.0))
            turned = []
            for torsion in (0.0, 30.0, MAX_TORSION, 89.0):
                atoms = _turned(minimum(length), torsion)
                atoms.calc = _calculator()
                turned.append(atoms.get_potential_energy())
            item = next(p for p in plan(kind) if p.length == length)
            print(
                f"C{length}H4 E(90) - E(0) {upright - flat:+.3f} eV; turned by 30, "
                f"{MAX_TORSION:.0f}, 89 degrees {turned[1] - turned[0]:.3f} "
                f"{turned[2] - turned[0]:.3f} {turned[3] - turned[0]:.3f} eV; forces differ from "
                f"finite differences by {abs(force_difference(compute(item), rng)):.1e} eV/A",
                flush=True,
            )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("verb", choices=["compute", "verify"])
    parser.add_argument("--sets", nargs="+", choices=LENGTHS, default=list(LENGTHS))
    parser.add_argument("--out", type=Path, default=Path("build/cumulenes"))
    args = parser.parse_args()
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # tblite reads it when it is first loaded
    if args.verb == "verify":
        verify()
        return
    for kind in args.sets:
        run(kind, args.out)


if __name__ == "__main__":
    main()
