"""Neighbor lists against ASE's, and the pairs of open systems against loops."""

from __future__ import annotations

import numpy as np
import pytest
from ase import Atoms
from ase.neighborlist import neighbor_list as ase_neighbor_list

from muse_lr import InputError
from muse_lr.structures.neighbors import complete_cell, neighbor_list


@pytest.mark.parametrize("seed", range(40))
def test_list_equals_ase(seed):
    """Skewed and left-handed cells, smaller than the cutoff, atoms outside, mixed periodicity."""
    rng = np.random.default_rng(seed)
    cell = np.zeros((3, 3))
    while abs(np.linalg.det(cell)) < 8:
        cell = 3 * rng.normal(size=(3, 3)) + 2 * np.eye(3)
    pbc = rng.random(3) < 0.6
    positions = 6 * rng.normal(size=(rng.integers(1, 8), 3))
    index, shift = neighbor_list(positions, complete_cell(cell, pbc), pbc, 4.0)
    atoms = Atoms(f"H{len(positions)}", positions, cell=cell, pbc=pbc)
    i, j, s = ase_neighbor_list("ijS", atoms, 4.0)
    ours = np.column_stack([index[1], index[0], shift])
    theirs = np.column_stack([i, j, s])
    assert sorted(map(tuple, ours.tolist())) == sorted(map(tuple, theirs.tolist()))


def test_missing_vectors_are_filled():
    cell = complete_cell(np.diag([4.0, 0.0, 5.0]), np.array([True, False, True]))
    assert abs(np.linalg.det(cell)) == pytest.approx(20.0, abs=1e-9)
    assert abs(cell[1] @ cell[0]) < 1e-12
    assert abs(np.linalg.det(complete_cell(np.zeros((3, 3)), np.zeros(3, bool)))) > 0.9


@pytest.mark.parametrize(
    ("cell", "message"),
    [
        (np.diag([4.0, 0.0, 5.0]), "no vector"),
        (np.array([[4.0, 0, 0], [8.0, 0, 0], [0, 0, 1]]), "singular"),
        (np.diag([4.0, 4.0, 0.3]), "repeats after 0.3 A"),
        (np.full((3, 3), np.nan), "not finite"),
    ],
)
def test_bad_cells_are_refused(cell, message):
    with pytest.raises(InputError, match=message):
        complete_cell(cell, np.ones(3, bool))
