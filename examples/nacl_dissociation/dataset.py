"""NaCl pulled apart: its ionic and its neutral state, LRC-wPBEh/def2-SVPD (PySCF).

Each state is converged at every distance from the densities of its fragments: Na+ and Cl- for the
closed shell, Na and Cl with opposite spins for the broken-symmetry one. The ground state is the
lower of the two; they cross where k / r falls below IP(Na) - EA(Cl), near 9.6 A in this functional.
Its exact exchange at long range keeps electrons whole (M. A. Rohrdanz, K. M. Martins, J. M.
Herbert, J. Chem. Phys. 130, 054112 (2009)); global hybrids leave half charges there. Charges are
Mulliken's, of intrinsic atomic orbitals (G. Knizia, J. Chem. Theory Comput. 9, 4834 (2013)), which
have no diffuse functions.

    python examples/nacl_dissociation/dataset.py compute --out build/nacl
    python examples/nacl_dissociation/dataset.py split --out build/nacl
"""

from __future__ import annotations

import argparse
import csv
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from ase.io import write
from ase.units import Bohr, Hartree

#: A; dense where the bond is and where the states cross.
DISTANCES = np.concatenate([np.arange(1.9, 3.9, 0.15), np.arange(4.0, 15.1, 0.5)])
#: Nearer, the neutral state is far above the ionic one, or becomes it.
NEUTRAL_FROM = 7.0
FIELDS = ("distance", "state", "energy", "force", "charge", "converged")
#: Charge and unpaired electrons of Na and of Cl in each state.
STATES = {"ionic": ((1, 0), (-1, 0)), "neutral": ((0, 1), (0, 1))}


def calculation(atoms: list[tuple[str, tuple[float, float, float]]], charge: int, spin: int) -> Any:
    """An unrestricted Kohn-Sham calculation."""
    from pyscf import dft, gto

    mol = gto.M(atom=atoms, basis="def2-svpd", charge=charge, spin=spin, verbose=0)
    field = dft.UKS(mol)
    field.xc, field.grids.level = "hyb_gga_xc_lrc_wpbeh", 3
    field.conv_tol, field.max_cycle = 1e-10, 200
    return field


def fragments(state: str) -> list[np.ndarray]:
    """Spin-up and spin-down density matrices of the two atoms, next to each other."""
    matrices = []
    for symbol, (charge, unpaired), flip in zip(
        ("Na", "Cl"), STATES[state], (False, True), strict=True
    ):
        atom = calculation([(symbol, (0.0, 0.0, 0.0))], charge, unpaired)
        atom.kernel()
        up, down = atom.make_rdm1()
        matrices.append(np.stack([down, up] if flip else [up, down]))
    first, second = matrices
    joined = np.zeros((2, *(np.array(first.shape[1:]) + second.shape[1:])))
    joined[:, : first.shape[1], : first.shape[1]] = first
    joined[:, first.shape[1] :, first.shape[1] :] = second
    return list(joined)


def intrinsic_charge(field: Any) -> float:
    """Charge of Na in intrinsic atomic orbitals, e."""
    from pyscf import lo

    overlap, charge = field.get_ovlp(), 11.0
    for coefficients, occupation in zip(field.mo_coeff, field.mo_occ, strict=True):
        occupied = coefficients[:, occupation > 0]
        orbitals = lo.orth.vec_lowdin(lo.iao.iao(field.mol, occupied), overlap)
        share = (orbitals.T @ overlap @ occupied) ** 2
        first, last = lo.iao.reference_mol(field.mol).aoslice_by_atom()[0, 2:]
        charge -= float(share[first:last].sum())
    return charge


def label(distance: float, state: str, start: list[np.ndarray]) -> dict[str, object]:
    """One state at one distance."""
    field = calculation([("Na", (0.0, 0.0, 0.0)), ("Cl", (0.0, 0.0, distance))], 0, 0)
    energy = field.kernel(dm0=np.stack(start))
    force = -field.nuc_grad_method().kernel()[1, 2] * Hartree / Bohr
    return {
        "distance": round(float(distance), 3),
        "state": state,
        "energy": round(float(energy) * Hartree, 7),
        "force": round(float(force), 7),
        "charge": round(intrinsic_charge(field), 4),
        "converged": bool(field.converged),
    }


def compute(path: Path) -> None:
    """Label both states; a killed run goes on where it was."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if not path.exists():
        path.write_text(",".join(FIELDS) + "\n")
    with path.open() as file:
        done = {(row["state"], float(row["distance"])) for row in csv.DictReader(file)}
    with path.open("a", newline="") as file:
        writer = csv.DictWriter(file, FIELDS)
        for state in STATES:
            start = fragments(state)
            for distance in (round(float(d), 3) for d in DISTANCES):
                apart = state == "ionic" or distance >= NEUTRAL_FROM
                if apart and (state, distance) not in done:
                    writer.writerow(label(distance, state, start))
                    file.flush()


def ground_states(path: Path) -> list[Atoms]:
    """The lower state at each distance, with energy, forces and charges as labels."""
    with path.open() as file:
        rows = [row for row in csv.DictReader(file) if row["converged"] == "True"]
    frames = []
    for distance in sorted({float(row["distance"]) for row in rows}):
        states = [row for row in rows if float(row["distance"]) == distance]
        lowest = min(states, key=lambda row: float(row["energy"]))
        atoms = Atoms("NaCl", [[0, 0, 0], [0, 0, distance]])
        atoms.info |= {"REF_energy": float(lowest["energy"]), "state": lowest["state"]}
        force, charge = float(lowest["force"]), float(lowest["charge"])
        atoms.arrays["REF_forces"] = np.array([[0, 0, -force], [0, 0, force]])
        atoms.arrays["REF_charges"] = np.array([charge, -charge])
        frames.append(atoms)
    return frames


def split(path: Path) -> None:
    """Every third distance tests, every sixth validates."""
    frames = ground_states(path)
    test, valid = frames[1::3], frames[2::6]
    kept = {id(atoms) for atoms in (*test, *valid)}
    train = [atoms for atoms in frames if id(atoms) not in kept]
    for name, chosen in (("train", train), ("valid", valid), ("test", test)):
        write(path.parent / f"{name}.xyz", chosen)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("step", choices=("compute", "split"))
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    {"compute": compute, "split": split}[options.step](options.out / "labels.csv")


if __name__ == "__main__":
    main()
