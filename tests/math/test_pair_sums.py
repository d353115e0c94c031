"""Sums over pairs of sources and targets, by matrix products."""

from __future__ import annotations

import pytest
import torch

from muse_lr.math import pair_sums as module
from muse_lr.math.pair_sums import PairSums, arrange_pairs, pair_sums

SOURCES, TARGETS = 4, 6


def random(*shape: int, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=generator, dtype=torch.float64).requires_grad_()


def arranged(target: list[int]) -> tuple[torch.Tensor, torch.Tensor, PairSums]:
    """Sources, targets and their sums."""
    targets = torch.tensor(target, dtype=torch.int64)
    sources = torch.arange(len(target)) * 3 % SOURCES
    return sources, targets, pair_sums(arrange_pairs(sources, targets, TARGETS), SOURCES, TARGETS)


@pytest.fixture(params=[1, 10**6], ids=["block by block", "at once"])
def portions(request, monkeypatch):
    monkeypatch.setattr(module, "AT_ONCE", request.param)


@pytest.mark.parametrize(
    "target",
    [[0, 0, 1, 3, 3, 3], [3, 0, 1], [0] * 9 + [5], [0, 1, 2, 3, 4, 5], []],
    ids=["sorted", "not", "uneven", "even", "none"],
)
@pytest.mark.usefixtures("portions")
def test_sums_are_those_of_their_definition(target):
    """For targets in order or not, with similar numbers of pairs or not, with two derivatives."""
    source, targets, pairs = arranged(target)
    weights, values, sent = random(len(target), 2), random(SOURCES, 3), random(TARGETS, 2, 3)

    def sums(weights, values, sent):
        padded = pairs.pad(weights)
        return pairs.gather(padded, values), pairs.spread(padded, sent)

    gathered, spread = sums(weights, values, sent)
    outer = weights[:, :, None] * values[source][:, None]
    expected = torch.zeros((TARGETS, 2, 3)).double().index_add(0, targets, outer)
    torch.testing.assert_close(gathered, expected, rtol=0, atol=1e-14)
    sent_back = (weights[:, :, None] * sent[targets]).sum(1)
    expected = torch.zeros((SOURCES, 3)).double().index_add(0, source, sent_back)
    torch.testing.assert_close(spread, expected, rtol=0, atol=1e-14)
    if target:
        assert torch.autograd.gradcheck(sums, (weights, values, sent))
        assert torch.autograd.gradgradcheck(sums, (weights, values, sent))


@pytest.mark.parametrize("target", [[0, 0, 1, 3, 3, 3], [3, 0, 1], [0] * 9 + [5], []])
def test_sums_of_outer_products_of_padded_rows(target):
    _, targets, pairs = arranged(target)
    first, second = random(len(target), 5), random(len(target), 4, seed=1)
    found = pairs.blocks.sum_outer(pairs.pad(first), pairs.pad(second))
    outer = first[:, :, None] * second[:, None]
    expected = torch.zeros((TARGETS, 5, 4)).double().index_add(0, targets, outer)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-14)


def test_few_slots_are_unused():
    """However uneven the numbers of pairs are: arrays do not grow with the largest one."""
    for target in ([0] * 500 + [1, 2, 3, 4, 5], [*range(6)] * 50, [0, 1]):
        _, _, pairs = arranged(target)
        assert len(pairs.sources) <= 2 * len(target)
