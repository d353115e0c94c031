"""The table of lattice shifts."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from ase import Atoms

import muse_lr
from muse_lr.structures.geometry import strained_geometry
from muse_lr.structures.neighbor_tables import image_table


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


@pytest.mark.parametrize("reach", [300, 10**6, 10**8, 2**40])
def test_far_images_take_the_memory_of_their_edges(reach):
    """The rows are those of Python's set of tuples, sorted, whatever the shifts are."""
    generator = torch.Generator().manual_seed(0)
    shifts = torch.randint(-1, 2, (500, 3), generator=generator)
    jumps = torch.randint(-reach, reach + 1, (4, 3), generator=generator)
    shifts += jumps[torch.randint(0, 4, (500,), generator=generator)]
    graph = torch.randint(0, 3, (500,), generator=generator)
    table = image_table(shifts, graph, 3)
    rows = torch.column_stack([table.graph, table.shifts]).tolist()
    edges = torch.column_stack([graph, shifts]).tolist()
    assert rows == sorted(map(list, set(map(tuple, edges))))
    assert [rows[i] for i in table.row_of_edge.tolist()] == edges


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


def two_structures():
    """Two lattices, in the second of which every atom sees its own images."""
    large = Atoms(
        "NaClNaCl", np.random.default_rng(0).uniform(0, 8, (4, 3)), cell=[8] * 3, pbc=True
    )
    small = Atoms("NaCl", [[0.1, 0, 0], [1.6, 1.5, 1.4]], cell=[3, 3.1, 3.2], pbc=True)
    return muse_lr.AtomsBatch.from_ase([large, small], cutoff=4.0)


def test_pairs_are_the_edges_each_once():
    """With both halves of an atom and its own image, at half the weight."""
    batch = two_structures()
    half, images = batch.tables.half, batch.tables.images
    sender, receiver = batch.edge_index
    edge = (receiver <= sender).nonzero()[:, 0]
    weight = torch.where(half.first == half.second, 0.5, 1.0)
    assert torch.equal(half.weight.float(), weight)
    assert float(weight.sum()) == batch.edge_index.shape[1] / 2
    assert torch.equal(sender[edge], half.second)
    assert torch.equal(receiver[edge], half.first)
    assert torch.equal(images.shifts[half.image], batch.edge_shift[edge])
    assert torch.equal(batch.batch[half.first], half.graph)
    rows = torch.stack([half.first, half.second, *batch.edge_shift[edge].T])
    mirrored = torch.stack([half.second, half.first, *-batch.edge_shift[edge].T])
    both = torch.cat([rows, mirrored[:, half.first != half.second]], 1)
    assert both.shape[1] == torch.unique(both, dim=1).shape[1] == batch.edge_index.shape[1]


def test_tables_are_those_of_the_edges():
    """They are kept for as long as the edges are, and belong to these only."""
    batch = two_structures()
    first = batch.tables
    assert batch.tables is first
    fresh = two_structures()
    fresh.take_neighbors(batch)
    assert fresh.tables is first
    assert fresh.edge_index is batch.edge_index
    geometry = strained_geometry(batch, batch.positions, None)
    fewer = replace(geometry, edge_index=batch.edge_index[:, :5], edge_shift=batch.edge_shift[:5])
    assert len(fewer.edge_vectors) == 5
    assert torch.equal(fewer.edge_vectors, geometry.edge_vectors[:5])
    batch.edge_index, batch.edge_shift = fewer.edge_index, fewer.edge_shift
    assert batch.tables is not first
    assert len(batch.tables.images.row_of_edge) == 5
