"""Sums over edges with filters that are linear in a few functions of the edge."""

from __future__ import annotations

import pytest
import torch
from torch.fx.experimental.proxy_tensor import make_fx

from muse_lr.math import pair_sums
from muse_lr.math.filtered_sums import DenseSums, FilteredSums, filtered_sums
from muse_lr.math.pair_sums import arrange_pairs

NODES, ROWS, CHANNELS = 6, 2, 3


def random(*shape: int, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=generator, dtype=torch.float64).requires_grad_()


def sums_of(edges, weights, values, filters):
    sums = filtered_sums(edges, NODES)
    return sums(sums.pad(weights), values, filters)


@pytest.mark.parametrize("at_once", [1, 10**6], ids=["block by block", "at once"])
@pytest.mark.parametrize("sets", [1, 3])
@pytest.mark.parametrize(
    "receiver",
    [[0, 0, 1, 3, 3, 3], [3, 0, 1], [0] * 9 + [5], []],
    ids=["sorted", "not", "uneven", "none"],
)
def test_sums_are_those_of_their_definition(receiver, sets, at_once, monkeypatch):
    """With two derivatives, and for every way of arranging the edges."""
    monkeypatch.setattr(pair_sums, "AT_ONCE", at_once)
    receivers = torch.tensor(receiver, dtype=torch.int64)
    edges = torch.stack([torch.arange(len(receiver)) * 3 % NODES, receivers])
    weights, values = random(len(receiver), sets * ROWS), random(NODES, CHANNELS, seed=1)
    filters = random(ROWS, CHANNELS, seed=2)
    expected = torch.zeros((NODES, sets, CHANNELS), dtype=torch.float64)
    for sender, center, weight in zip(*edges.tolist(), weights, strict=True):
        for number in range(sets):
            gate = weight[number * ROWS : (number + 1) * ROWS] @ filters
            expected[center, number] += gate * values[sender]
    found = sums_of(edges, weights, values, filters)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-14)
    if receiver:
        inputs = edges, weights, values, filters
        assert torch.autograd.gradcheck(sums_of, inputs)
        assert torch.autograd.gradgradcheck(sums_of, inputs)


@pytest.mark.parametrize("sets", [1, 3])
def test_dense_sums_are_the_same_where_most_nodes_are_neighbors(sets):
    """With several edges between two nodes, as in small cells, and two derivatives."""
    edges = torch.randint(NODES, (2, 14), generator=torch.Generator().manual_seed(0))
    assert isinstance(filtered_sums(edges, NODES), DenseSums)
    sparse = FilteredSums(pair_sums.pair_sums(arrange_pairs(*edges, NODES), NODES, NODES))
    weights, values = random(14, sets * ROWS), random(NODES, CHANNELS, seed=1)
    filters = random(ROWS, CHANNELS, seed=2)
    found = sums_of(edges, weights, values, filters)
    expected = sparse(sparse.pad(weights), values, filters)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-14)
    assert torch.autograd.gradcheck(sums_of, (edges, weights, values, filters))
    assert torch.autograd.gradgradcheck(sums_of, (edges, weights, values, filters))


def test_sums_of_no_nodes():
    sums = filtered_sums(torch.zeros((2, 0), dtype=torch.int64), 0)
    weights, filters = random(0, 2 * ROWS), random(ROWS, CHANNELS)
    found = sums(sums.pad(weights), random(0, CHANNELS), filters)
    assert found.shape == (0, 2, CHANNELS)


def test_a_traced_program_gives_the_same_sums_for_another_number_of_edges():
    def energy_and_slopes(edges, weights, values, filters):
        energy = sums_of(edges, weights, values, filters).square().sum()
        return energy, *torch.autograd.grad(energy, (weights, values, filters))

    def inputs(count: int):
        edges = torch.arange(2 * count).view(2, count) * 7 % NODES
        return edges, random(count, 3 * ROWS), random(NODES, CHANNELS), random(ROWS, CHANNELS)

    program = make_fx(energy_and_slopes, tracing_mode="symbolic")(*inputs(8))
    for ours, plain in zip(program(*inputs(11)), energy_and_slopes(*inputs(11)), strict=True):
        torch.testing.assert_close(ours, plain, rtol=1e-13, atol=1e-13)
