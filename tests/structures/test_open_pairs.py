"""Pairs of the nodes of a graph, at once and in portions."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from muse_lr.structures.open_pairs import all_pairs, pair_portions

SIZES = [3, 0, 1, 4, 2, 9]
CHOSEN = [True, True, True, False, True, True]


def looped_pairs() -> list[list[int]]:
    starts = np.cumsum([0, *SIZES])
    return [
        [int(starts[g]) + i, int(starts[g]) + j]
        for g, size in enumerate(SIZES)
        for i in range(size)
        for j in range(i + 1, size)
        if CHOSEN[g]
    ]


def test_all_pairs_equal_loops():
    pairs = all_pairs(torch.tensor(SIZES), torch.tensor(CHOSEN))
    assert pairs.T.tolist() == looped_pairs()


@pytest.mark.parametrize("portion", [1, 2, 7, 40, 1000])
def test_portions_contain_each_pair_once_and_are_limited(portion):
    portions = pair_portions(torch.tensor(SIZES), torch.tensor(CHOSEN), portion)
    pairs = [rows.pairs() for rows in portions]
    assert torch.cat(pairs, dim=1).T.tolist() == looped_pairs()
    assert max(each.shape[1] for each in pairs) < portion + max(SIZES)
    assert (len(portions) == 1) == (portion >= len(looped_pairs()))


@pytest.mark.parametrize("sizes", [[], [0], [1, 1], [5]])
def test_there_may_be_no_pairs(sizes):
    none = torch.zeros(len(sizes), dtype=torch.bool)
    sizes = torch.tensor(sizes, dtype=torch.int64)
    assert all_pairs(sizes, none).shape == (2, 0)
    (rows,) = pair_portions(sizes, none, 3)
    assert rows.pairs().shape == (2, 0)
