"""Langevin dynamics with LAMMPS.

python examples/engines/lammps_nvt.py MODEL FILE [--steps 100] [--temperature 300]

The script loads the MPI library of LAMMPS itself: no library path has to be set.
"""

from __future__ import annotations

import argparse
from typing import Any

from ase import Atoms
from ase.io import read

from muse_lr.interfaces.lammps_fix import LammpsFix, open_lammps


def fill(lammps: Any, atoms: Atoms) -> None:
    """Create box, types and atoms; atom i of the structure gets the id i + 1."""
    elements = sorted(set(atoms.get_chemical_symbols()))
    (a, _, _), (bx, by, _), (cx, cy, cz) = atoms.cell.tolist()
    lammps.commands_string(f"""
        units metal
        atom_style atomic
        atom_modify map array
        boundary p p p
        region box prism 0 {a} 0 {by} 0 {cz} {bx} {cx} {cy}
        create_box {len(elements)} box
        pair_style zero 5.0
        pair_coeff * *
        timestep 0.0005
    """)
    for kind, element in enumerate(elements, 1):
        lammps.command(f"mass {kind} {Atoms(element).get_masses()[0]}")
    kinds = [elements.index(symbol) + 1 for symbol in atoms.get_chemical_symbols()]
    ids = list(range(1, len(atoms) + 1))
    lammps.create_atoms(len(atoms), ids, kinds, atoms.positions.ravel().tolist())


def main() -> None:
    """Fill a box, attach the model and run."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model")
    parser.add_argument("file")
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--temperature", type=float, default=300.0, help="K")
    args = parser.parse_args()
    atoms = read(args.file, 0)
    if not atoms.pbc.all():
        parser.error(f"{args.file}: this script runs crystals and liquids, with three periods")
    atoms.set_cell(atoms.cell.standard_form()[0], scale_atoms=True)  # as LAMMPS needs it
    lammps = open_lammps(("-log", "none"))
    fill(lammps, atoms)
    fix = LammpsFix(lammps, args.model, atoms)
    lammps.commands_string(f"""
        velocity all create {args.temperature} 1
        fix motion all nve
        fix bath all langevin {args.temperature} {args.temperature} 0.1 1
        thermo_style custom step temp pe etotal press
        thermo 10
    """)
    fix.run(args.steps)
    lammps.close()


if __name__ == "__main__":
    main()
