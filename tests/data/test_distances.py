"""Shortest distances against ASE's neighbor list."""

from __future__ import annotations

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, molecule
from ase.neighborlist import neighbor_list
from hypothesis import given
from hypothesis import strategies as st

from muse_lr.data.distances import pair_distances, shortest_distances


def by_ase(structures: list[Atoms], cutoff: float) -> dict[str, float]:
    found: dict[str, float] = {}
    for atoms in structures:
        symbols = atoms.get_chemical_symbols()
        for i, j, distance in zip(*neighbor_list("ijd", atoms, cutoff), strict=True):
            pair = "-".join(sorted((symbols[i], symbols[j])))
            found[pair] = min(distance, found.get(pair, np.inf))
    return found


@given(seed=st.integers(0, 2**31), amplitude=st.floats(0, 0.5), cutoff=st.floats(1.0, 6.0))
def test_distances_are_those_of_ase(seed, amplitude, cutoff):
    structures = [bulk("NaCl", "rocksalt", a=5.6), molecule("CH3CH2OH"), molecule("H2O")]
    rng = np.random.default_rng(seed)
    for atoms in structures:
        atoms.positions += amplitude * rng.uniform(-1, 1, atoms.positions.shape)
        atoms.positions += 10 * rng.uniform(-1, 1, 3)
    found, expected = shortest_distances(structures, cutoff), by_ase(structures, cutoff)
    assert list(found) == sorted(expected)
    assert found == pytest.approx(expected, abs=1e-9)


def test_images_of_one_atom_count():
    argon = Atoms("Ar", cell=[3.0, 8.0, 8.0], pbc=True)
    assert shortest_distances([argon], 4.0) == {"Ar-Ar": pytest.approx(3.0)}
    assert shortest_distances([argon], 2.0) == {}
    assert shortest_distances([], 2.0) == {}


def test_bonds_and_contacts_are_told_apart():
    water = molecule("H2O")
    pair = water + Atoms("H", [water.positions[0] + [0, 0, 2.0]])
    found = pair_distances([pair, water], 4.0)["H-O"]
    assert found.bonds == 4
    bond = water.get_distance(0, 1)
    assert found.longest_bond == pytest.approx(bond)
    assert found.shortest == pytest.approx(bond)
    assert found.shortest_contact == pytest.approx(2.0)
    apart = pair_distances([Atoms("Ar2", [[0, 0, 0], [0, 0, 3.9]])], 4.0)["Ar-Ar"]
    assert (apart.bonds, apart.longest_bond) == (0, 0.0)
