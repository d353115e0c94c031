"""Compute the ``rattled_salts`` set: GFN1-xTB of rattled and strained rock salt, 8 to 64 atoms.

NaCl and (Na,K)Cl with randomly occupied cation sites, periodic in three directions. tblite samples
only the Gamma point, so a small cell on its own would have another energy per atom than a large
one (NaCl, 8 atoms: 80 meV/atom). Every frame is therefore computed as the 2x2x2 supercell of the
conventional cube, 64 atoms: for the smaller cells this equals a k-point mesh, and all sizes share
one sampling. GFN2-xTB does not serve: its energy jumps between lattice constants 6.0 and 6.2 A.

    python -m benchmarks.datasets.rattled_salts verify
    python -m benchmarks.datasets.rattled_salts compute --out build/rattled_salts

``verify`` prints the method's lattice constants and compares forces and stress with finite
differences of the energy. ``compute`` appends one extended-XYZ frame a configuration to
``part-0.xyz`` and skips what is already there.
"""

from __future__ import annotations

import argparse
import os
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from ase import Atoms
from ase.build import bulk
from ase.io import read, write
from ase.neighborlist import neighbor_list

from benchmarks.datasets.shipped import shipped_names

SEED = 20261121
# Minima of GFN1-xTB in the 64-atom cell (`verify` finds them); experiment has 5.64 and 6.29 A.
LATTICE_CONSTANT = {"Na": 5.462, "K": 5.858}
SUPERCELL = np.array([2, 2, 2])
REPEATS = {8: (1, 1, 1), 16: (2, 1, 1), 32: (2, 2, 1), 64: (2, 2, 2)}
COUNTS = {8: 60, 16: 84, 32: 108, 64: 36}
SALTS = ("NaCl", "NaKCl")
STRAINS = ("isotropic", "uniaxial", "shear")
MAX_STRAIN = 0.04
AMPLITUDES = (0.03, 0.07, 0.12, 0.17)  # A, standard deviation of each Cartesian coordinate
MIN_DISTANCE = 2.1  # A, of any two atoms


@dataclass(frozen=True)
class Plan:
    """One configuration and how it was made."""

    name: str
    salt: str
    kind: str
    strain: float
    amplitude: float
    atoms: Atoms


def _strain(kind: str, size: float, rng: np.random.Generator) -> np.ndarray:
    """The symmetric deformation 1 + strain, shape (3, 3), along randomly chosen axes."""
    i, j, _ = rng.permutation(3)
    deformation = np.eye(3)
    if kind == "isotropic":
        deformation *= 1 + size
    elif kind == "uniaxial":
        deformation[i, i] += size
    else:
        deformation[i, j] = deformation[j, i] = size
    return deformation


def _crystal(salt: str, size: int, rng: np.random.Generator) -> Atoms:
    """Rock salt with Vegard's lattice constant; in NaKCl a quarter to three quarters are K."""
    atoms = bulk("NaCl", "rocksalt", a=1.0, cubic=True) * REPEATS[size]
    sites = np.flatnonzero(atoms.numbers == 11)
    share = 0.0
    if salt == "NaKCl":
        potassium = int(rng.integers(size // 8, 3 * size // 8 + 1))
        atoms.numbers[rng.permutation(sites)[:potassium]] = 19
        share = potassium / len(sites)
    lattice = (1 - share) * LATTICE_CONSTANT["Na"] + share * LATTICE_CONSTANT["K"]
    atoms.set_cell(atoms.cell * lattice, scale_atoms=True)
    return atoms


def _rattle(atoms: Atoms, amplitude: float, rng: np.random.Generator) -> Atoms:
    """Normally distributed displacements, drawn again until no two atoms are too close."""
    while True:
        rattled = atoms.copy()
        rattled.positions += amplitude * rng.standard_normal(atoms.positions.shape)
        if neighbor_list("d", rattled, MIN_DISTANCE).size == 0:
            return rattled


def plan() -> list[Plan]:
    """All configurations in a fixed random order, so that an early stop leaves a balanced set."""
    plans = []
    for size, count in COUNTS.items():
        for i in range(count):
            rng = np.random.default_rng([SEED, size, i])
            salt, kind = SALTS[i % 2], STRAINS[i // 2 % 3]
            amplitude = AMPLITUDES[i // 6 % 4]
            strain = rng.uniform(-MAX_STRAIN, MAX_STRAIN)
            atoms = _crystal(salt, size, rng)
            deformation = _strain(kind, strain, rng)
            atoms.set_cell(atoms.cell @ deformation, scale_atoms=True)
            atoms = _rattle(atoms, amplitude, rng)
            name = f"{salt}-{size:02d}-{i:03d}"
            plans.append(Plan(name, salt, kind, strain, amplitude, atoms))
    order = np.random.default_rng(SEED).permutation(len(plans))
    return [plans[i] for i in order]


def single_point(atoms: Atoms) -> tuple[float, np.ndarray, np.ndarray]:
    """Energy (eV), forces (n, 3) (eV/A) and stress (3, 3) (eV/A^3) of a rock salt cell.

    Computed in the 64-atom supercell and divided by the number of copies; the forces on the
    copies of an atom are averaged.
    """
    from tblite.ase import TBLite

    size = len(atoms)
    copies = SUPERCELL // REPEATS[size]
    supercell = atoms * copies
    supercell.calc = TBLite(method="GFN1-xTB", accuracy=0.01, verbosity=0)
    energy = supercell.get_potential_energy() / copies.prod()
    forces = supercell.get_forces().reshape(copies.prod(), size, 3).mean(0)
    return float(energy), forces, supercell.get_stress(voigt=False)


def compute(item: Plan) -> Atoms:
    """One labeled frame."""
    energy, forces, stress = single_point(item.atoms)
    atoms = item.atoms.copy()
    atoms.arrays["REF_forces"] = forces
    atoms.info.update(
        REF_energy=energy,
        REF_stress=stress,
        total_charge=0,
        name=item.name,
        salt=item.salt,
        kind=item.kind,
        strain=item.strain,
        amplitude=item.amplitude,
    )
    return atoms


def run(out: Path) -> None:
    """Compute every configuration that neither ships already nor is in the part."""
    out.mkdir(parents=True, exist_ok=True)
    part = out / "part-0.xyz"
    done = shipped_names("rattled_salts")
    if part.exists():
        done |= {atoms.info["name"] for atoms in read(part, ":", format="extxyz")}
    todo = [item for item in plan() if item.name not in done]
    start = time.time()
    for i, item in enumerate(todo):
        write(part, compute(item), format="extxyz", append=True)
        left = (time.time() - start) / (i + 1) * (len(todo) - i - 1)
        print(f"{i + 1}/{len(todo)} {item.name}, {left / 60:.0f} min to go", flush=True)


def lattice_constant(cation: str) -> float:
    """The minimum of the energy of the ideal crystal (A), by a cubic fit around the start."""
    start = LATTICE_CONSTANT[cation]
    constants = start + np.linspace(-0.15, 0.15, 7)
    energies = [
        single_point(bulk(f"{cation}Cl", "rocksalt", a=a, cubic=True))[0] for a in constants
    ]
    roots = np.polynomial.Polynomial.fit(constants, energies, 3).deriv().roots()
    return float(roots[np.argmin(np.abs(roots - start))].real)


def stress_difference(
    atoms: Atoms, stress: np.ndarray, rng: np.random.Generator, step: float = 1e-3
) -> float:
    """Stress minus the finite difference of the energy along a random unit strain (eV/A^3)."""
    direction = rng.standard_normal((3, 3))
    direction = direction + direction.T
    direction /= np.linalg.norm(direction)
    energies = []
    for sign in (1, -1):
        strained = atoms.copy()
        strained.set_cell(atoms.cell @ (np.eye(3) + sign * step * direction), scale_atoms=True)
        energies.append(single_point(strained)[0])
    numeric = (energies[0] - energies[1]) / (2 * step * atoms.get_volume())
    return float(np.sum(stress * direction) - numeric)


def force_difference(
    atoms: Atoms, forces: np.ndarray, rng: np.random.Generator, step: float = 5e-3
) -> float:
    """Forces minus the finite difference of the energy along a random unit vector (eV/A)."""
    direction = rng.standard_normal(forces.shape)
    direction /= np.linalg.norm(direction)
    energies = []
    for sign in (1, -1):
        moved = atoms.copy()
        moved.positions += sign * step * direction
        energies.append(single_point(moved)[0])
    return float(np.sum(forces * direction) + (energies[0] - energies[1]) / (2 * step))


def verify() -> None:
    """Print lattice constants and the differences of forces and stress to finite differences."""
    for cation in LATTICE_CONSTANT:
        print(f"{cation}Cl lattice constant {lattice_constant(cation):.4f} A", flush=True)
    rng = np.random.default_rng(SEED)
    for size in REPEATS:
        item = next(p for p in plan() if len(p.atoms) == size)
        _, forces, stress = single_point(item.atoms)
        of_stress = max(abs(stress_difference(item.atoms, stress, rng)) for _ in range(3))
        of_forces = abs(force_difference(item.atoms, forces, rng))
        print(
            f"{item.name} {item.kind} {item.strain:+.3f} rattled {item.amplitude} A: "
            f"forces differ by {of_forces:.1e} of {np.abs(forces).max():.1e} eV/A, "
            f"stress by {of_stress:.1e} of {np.abs(stress).max():.1e} eV/A^3",
            flush=True,
        )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("verb", choices=["compute", "verify"])
    parser.add_argument("--out", type=Path, default=Path("build/rattled_salts"))
    args = parser.parse_args()
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # tblite reads it when it is first loaded
    if args.verb == "verify":
        verify()
    else:
        run(args.out)


if __name__ == "__main__":
    main()
