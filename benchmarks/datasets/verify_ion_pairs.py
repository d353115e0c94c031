"""Check computed ion pairs, and find where their closed-shell state stops being the ground state.

``recompute`` reads frames as they were written and knows only the level of theory, so that it
checks the whole chain of ``ion_pairs.py`` (units, signs, order of atoms, the electronic state): it
recomputes their energy and compares a force with finite differences. The SCF starts from PySCF's
own guess, not from the densities of the fragments. ``crossings`` prints the distance at which each
pair of ions has the energy of its neutral radicals.

    python -m benchmarks.datasets.verify_ion_pairs recompute build/ion_pairs/*.xyz --names NAME
    python -m benchmarks.datasets.verify_ion_pairs crossings
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from ase import Atoms
from ase.io import read
from ase.units import Hartree

from benchmarks.datasets.fragments import CHARGES, fragment
from muse_lr.units import COULOMB_CONSTANT


def energy(atoms: Atoms) -> float:
    """The wB97X/def2-SVPD energy (eV) with density fitting and grid level 3, in lowest spin."""
    from pyscf import dft, gto

    charge = int(atoms.info["total_charge"])
    mol = gto.M(
        atom=[(s, tuple(r)) for s, r in zip(atoms.symbols, atoms.positions, strict=True)],
        basis="def2-svpd",
        charge=charge,
        spin=int(atoms.numbers.sum() - charge) % 2,
        verbose=0,
    )
    method = dft.UKS if mol.spin else dft.RKS
    mean_field = method(mol, xc="wb97x").density_fit()
    mean_field.grids.level = 3
    mean_field.conv_tol = 1e-9
    value = mean_field.kernel()
    if not mean_field.converged:
        raise RuntimeError(f"{atoms.symbols}: SCF did not converge")
    return float(value) * Hartree


def check(atoms: Atoms, atom: int, axis: int, step: float = 5e-3) -> tuple[float, float]:
    """Differences of the energy (eV) and of one force component (eV/A) to a recomputation."""
    of_energy = energy(atoms) - atoms.info["REF_energy"]
    energies = []
    for sign in (1, -1):
        moved = atoms.copy()
        moved.positions[atom, axis] += sign * step
        energies.append(energy(moved))
    numeric = -(energies[0] - energies[1]) / (2 * step)
    return of_energy, float(numeric - atoms.arrays["REF_forces"][atom, axis])


def recompute(files: list[Path], names: list[str]) -> None:
    """Print the differences of the named frames to a recomputation."""
    frames = {a.info["name"]: a for path in files for a in read(path, ":", format="extxyz")}
    for name in names:
        atoms = frames[name]
        forces = atoms.arrays["REF_forces"]
        atom, axis = np.unravel_index(np.abs(forces).argmax(), forces.shape)
        of_energy, of_force = check(atoms, int(atom), int(axis))
        print(
            f"{name} {atoms.info['pair']} {atoms.info['distance']:.2f} A: "
            f"energy differs by {of_energy:+.1e} eV, the largest force by {of_force:+.1e} "
            f"of {forces[atom, axis]:+.3f} eV/A",
            flush=True,
        )


def neutralization(name: str) -> float:
    """Energy (eV) of the neutral radical minus that of the ion, both at the ion's geometry."""
    part = fragment(name)
    atoms = Atoms(part.numbers, part.positions)
    energies = [energy(_charged(atoms, charge)) for charge in (0, part.charge)]
    return energies[0] - energies[1]


def _charged(atoms: Atoms, charge: int) -> Atoms:
    copy = atoms.copy()
    copy.info["total_charge"] = charge
    return copy


def crossings() -> None:
    """Print where -e^2 / (4 pi eps0 r) equals the energy of transferring the electron back."""
    gains = {name: neutralization(name) for name, charge in CHARGES.items() if charge}
    for cation in (name for name in gains if CHARGES[name] > 0):
        for anion in (name for name in gains if CHARGES[name] < 0):
            gain = -(gains[cation] + gains[anion])
            where = f"{COULOMB_CONSTANT / gain:.1f} A" if gain > 0 else "nowhere"
            print(f"{cation}-{anion}: {where}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    verbs = parser.add_subparsers(dest="verb", required=True)
    verbs.add_parser("crossings")
    of_recompute = verbs.add_parser("recompute")
    of_recompute.add_argument("files", nargs="+", type=Path)
    of_recompute.add_argument("--names", nargs="+", required=True)
    args = parser.parse_args()
    if args.verb == "crossings":
        crossings()
    else:
        recompute(args.files, args.names)


if __name__ == "__main__":
    main()
