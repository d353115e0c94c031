"""Molecules and pieces of a structure: bonds by covalent radii, ions apart."""

from __future__ import annotations

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, molecule

from muse_lr.data.molecules import find_molecules, find_pieces


def formulas(atoms: Atoms, pieces: list[np.ndarray]) -> list[str]:
    return sorted(atoms[piece].get_chemical_formula() for piece in pieces)


def placed(first: Atoms, second: Atoms, distance: float) -> Atoms:
    second = second.copy()
    second.translate([distance, 0, 0])
    return first + second


def test_molecules_of_a_hydrogen_bond_are_two():
    dimer = placed(molecule("H2O"), molecule("H2O"), 2.8)
    assert formulas(dimer, find_molecules(dimer)) == ["H2O", "H2O"]
    stretched = molecule("H2O")
    stretched.set_distance(0, 1, 1.15, fix=0)
    assert len(find_molecules(stretched)) == 1


def test_bonds_across_a_boundary_count():
    atoms = molecule("CH3CH2OH")
    atoms.set_cell([9, 9, 9])
    atoms.pbc = True
    atoms.translate([4.6, 0, 0])
    atoms.wrap()
    assert len(find_molecules(atoms)) == 1
    atoms.pbc = False
    assert len(find_molecules(atoms)) > 1


@pytest.mark.parametrize(
    ("atoms", "count"),
    [
        (bulk("NaCl", "rocksalt", a=5.64, cubic=True), 1),
        (bulk("MgO", "rocksalt", a=4.2, cubic=True), 1),
        (bulk("Si", cubic=True), 1),
        (Atoms("NaCl", [[0, 0, 0], [2.4, 0, 0]]), 2),
    ],
)
def test_a_crystal_is_one_piece_and_an_open_pair_of_ions_two(atoms: Atoms, count: int):
    assert len(find_pieces(atoms)) == count


def test_a_solvated_ion_is_a_piece_in_any_boundary():
    atoms = placed(Atoms("Na", [[0, 0, 0]]), molecule("H2O"), 2.3)
    atoms = placed(atoms, molecule("H2O"), 5.5)
    assert formulas(atoms, find_pieces(atoms)) == ["H2O", "H2O", "Na"]
    atoms.set_cell([12, 12, 12])
    atoms.pbc = True
    assert len(find_molecules(atoms)) == 2, "the contact of Na and O counts as a bond here"
    assert formulas(atoms, find_pieces(atoms)) == ["H2O", "H2O", "Na"]
