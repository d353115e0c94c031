"""Rungs of the density and the neighbor lists of sparse structures."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from ase import Atoms
from hypothesis import given
from hypothesis import strategies as st

import muse_lr
from helpers import geometry_of
from muse_lr.structures.geometry import strained_geometry
from muse_lr.structures.neighbors import neighbor_list
from muse_lr.structures.sparse import SKIN, density_rungs, rungs_of, with_pairs


def rung_of(atoms):
    cell, pbc = torch.tensor(atoms.cell.array)[None], torch.tensor(atoms.pbc)[None]
    return int(density_rungs(cell, pbc, torch.tensor([len(atoms)])))


@pytest.mark.parametrize(
    ("cell", "pbc", "rung"),
    [
        ([10, 10, 10], True, 0),
        ([20, 20, 20], True, 1),
        ([20.1, 20, 20], True, 2),
        ([4, 4, 12], (1, 1, 0), 0),
        ([10, 10, 1], (1, 1, 0), 1),
        ([1, 10.1, 10], (0, 1, 1), 2),
        ([10, 1000, 1], (1, 1, 0), 6),
        ([100, 100, 100], False, 0),
    ],
)
def test_rungs_by_hand(cell, pbc, rung):
    assert rung_of(Atoms("H", cell=cell, pbc=pbc)) == rung


@given(
    st.lists(st.integers(-2, 2), min_size=9, max_size=9).filter(
        lambda n: abs(np.linalg.det(np.reshape(n, (3, 3)))) > 0.5
    ),
    st.floats(4, 200),
    st.booleans(),
)
def test_supercells_and_equivalent_cells_have_the_rung_of_the_cell(numbers, length, slab):
    matrix = np.reshape(numbers, (3, 3))
    atoms = Atoms("H2", [[0, 0, 0], [1, 0, 0]], cell=length * np.eye(3) + 0.1, pbc=True)
    if slab:
        atoms.pbc = (True, True, False)
        matrix[2], matrix[:, 2] = 0, 0
        matrix[2, 2] = 1
        if abs(np.linalg.det(matrix)) < 0.5:
            return
    cell = matrix @ atoms.cell.array
    count = 2 * round(abs(np.linalg.det(matrix)))
    larger = density_rungs(
        torch.tensor(cell)[None], torch.tensor(atoms.pbc)[None], torch.tensor([count])
    )
    if slab and count > 2:
        assert int(larger) >= rung_of(atoms)  # its longest period can be longer
    else:
        assert int(larger) == rung_of(atoms)


def test_a_strain_does_not_change_the_rung_of_a_batch():
    batch = muse_lr.AtomsBatch.from_ase([Atoms("H", cell=[19.99] * 3, pbc=True)], cutoff=3.0)
    for strain in (0.0, 0.01, -0.6, 5.0):
        geometry = strained_geometry(batch, batch.positions, strain * torch.eye(3).double()[None])
        assert [rung for rung, _ in rungs_of(geometry, ~geometry.open_graphs)] == [1]


def pairs_of(geometry):
    pairs = torch.cat([geometry.edge_index.T, geometry.edge_shift], 1)
    near = geometry.edge_lengths < 15.0
    return {tuple(pair) for pair in pairs[near].tolist()}


def test_wide_lists_follow_the_atoms():
    rng = np.random.default_rng(0)
    crystal = Atoms("H5", rng.uniform(0, 17, (5, 3)), cell=[[17, 0, 0], [6, 20, 0], [0, 1, 19]])
    crystal.pbc = True
    dense = Atoms("H2", [[0, 0, 0], [1, 0, 0]], cell=[3, 3, 3], pbc=True)
    geometry = geometry_of([dense, crystal, Atoms("H")], 3.0)
    wide = with_pairs(geometry, 1, 15.0)
    assert with_pairs(geometry, 0, 15.0) is geometry
    steps = (0.0, 0.49 * SKIN, 0.6 * SKIN, 30.0)
    kept = []
    for step in steps:
        positions = geometry.positions.clone()
        positions[3, 0] += step
        moved = with_pairs(replace(geometry, positions=positions), 1, 15.0)
        kept.append(moved.edge_index is wide.edge_index)
        found = neighbor_list(positions[2:7].numpy(), crystal.cell.array, crystal.pbc, 15.0)
        expected = {
            (i + 2, j + 2, *s) for i, j, s in zip(*found[0], found[1].tolist(), strict=True)
        }
        assert pairs_of(moved) == expected
    assert kept == [True, True, False, False]


def test_rungs_are_kept_with_the_neighbor_list_of_the_calculator():
    model = muse_lr.build_model(
        {
            "elements": ["H"],
            "backbone": None,
            "charges": {"kind": "fixed", "by_element": {"H": 1}, "width": 0},
            "heads": {"coulomb": {"kind": "coulomb"}},
        }
    )
    atoms = Atoms("H2", [[0, 0, 0], [2, 0, 0]], cell=[12.5, 12.5, 12.7], pbc=True)
    atoms.calc = muse_lr.Calculator(model)
    rungs = []
    for change in (None, "move", "cell"):
        if change == "move":
            atoms.positions[1, 0] += 0.1
        if change == "cell":
            atoms.set_cell(1.02 * atoms.cell.array)
        atoms.get_potential_energy()
        rungs.append(atoms.calc.neighbor_list.tables.sparse.present)
    assert rungs == [(0,), (0,), (1,)]
