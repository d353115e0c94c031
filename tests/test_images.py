"""The table of lattice shifts."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from ase import Atoms

import muse_lr
from muse_lr.geometry import strained_geometry
from muse_lr.images import image_table


@pytest.mark.parametrize("reach", [1, 6])
def test_rows_are_the_shifts_of_their_edges(reach):
    """Few shifts for many edges, and far shifts that few edges have."""
    generator = torch.Generator().manual_seed(0)
    shifts = torch.randint(-reach, reach + 1, (200, 3), generator=generator)
    graph = torch.randint(0, 2, (200,), generator=generator)
    table = image_table(shifts, graph, 2)
    assert len(table.shifts) <= 200
    assert torch.equal(table.shifts[table.row_of_edge], shifts)
    assert torch.equal(table.graph[table.row_of_edge], graph)
    cell = torch.randn((2, 3, 3), generator=generator, dtype=torch.float64)
    expected = torch.einsum("ea,eab->eb", shifts.double(), cell[graph])
    assert torch.allclose(table.vectors(cell)[table.row_of_edge], expected, atol=1e-12)


def test_no_edges():
    empty = torch.zeros((0, 3), dtype=torch.int64)
    table = image_table(empty, empty[:, 0], 3)
    assert table.vectors(torch.eye(3).repeat(3, 1, 1)).shape == (0, 3)


def test_lengths_that_are_read_without_gradients_have_them():
    """Whoever reads the edges first may do so where gradients are off."""
    atoms = Atoms("H2", [[0, 0, 0], [0, 0, 0.8]], cell=3 * np.eye(3), pbc=True)
    batch = muse_lr.AtomsBatch.from_ase([atoms], cutoff=3.5)
    positions = batch.positions.clone().requires_grad_(True)
    geometry = strained_geometry(batch, positions, None)
    with torch.no_grad():
        lengths = geometry.edge_lengths
    (slopes,) = torch.autograd.grad(lengths.square().sum(), positions)
    sender, receiver = batch.edge_index
    expected = torch.zeros_like(positions).index_add(0, sender, 2 * geometry.edge_vectors)
    expected = expected.index_add(0, receiver, -2 * geometry.edge_vectors)
    assert torch.allclose(slopes, expected)
