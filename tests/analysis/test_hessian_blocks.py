"""Blocks of Hessians by distance and by elements, against matrices made by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
from ase import Atoms

from muse_lr.analysis.hessian.blocks import distance_edges, joined, pair_blocks

#: Norms of the blocks of the reference of a chain H-C-O along x, 1.5 A apart, by pair.
NORMS = {(0, 1): 6.0, (1, 2): 3.0, (0, 2): 0.5}


def chain(pbc=False) -> Atoms:
    cell = [4.0, 10.0, 10.0] if pbc else None
    return Atoms("HCO", [[0, 0, 0], [1.5, 0, 0], [3.0, 0, 0]], cell=cell, pbc=pbc)


def matrix(norms=NORMS, diagonal=10.0) -> np.ndarray:
    """Symmetric matrix whose blocks have one component, of the given size."""
    found = np.zeros((3, 3, 3, 3))  # atom, axis, atom, axis
    for (i, j), norm in norms.items():
        found[i, 0, j, 1] = found[j, 1, i, 0] = norm
    for i in range(3):
        found[i, 2, i, 2] = diagonal
    return found.reshape(9, 9)


def test_norms_by_distance():
    pairs = pair_blocks(chain(), np.zeros((9, 9)), matrix())
    found = pairs.by_distance([0, 2, 4, 6])
    assert [(low, high, sums.count) for low, high, sums in found] == [(0, 2, 2), (2, 4, 1)]
    assert found[0][2].norm == pytest.approx(math.sqrt((6**2 + 3**2) / 2))
    assert found[1][2].norm == pytest.approx(0.5)
    assert pairs.same_atom().norm == pytest.approx(10.0)
    assert pairs.same_atom().count == 3
    assert pairs.within(1.5).count == 2
    assert pairs.beyond(1.5).norm == pytest.approx(0.5)
    assert len(pairs.farther_than(1.5).distance) == 1


def test_the_error_of_the_zero_model_is_the_norm():
    pairs = pair_blocks(chain(), np.zeros((9, 9)), matrix())
    for _, _, sums in pairs.by_distance([0, 2, 4]):
        assert sums.error == sums.norm
        assert sums.relative_error == 1
        assert sums.model_norm == 0
        assert math.isnan(sums.cosine)


@pytest.mark.parametrize(("factor", "cosine"), [(1.0, 1.0), (2.0, 1.0), (-0.5, -1.0)])
def test_a_multiple_of_the_reference(factor, cosine):
    pairs = pair_blocks(chain(), factor * matrix(), matrix())
    for _, _, sums in pairs.by_distance([0, 2, 4]):
        assert sums.cosine == pytest.approx(cosine)
        assert sums.error == pytest.approx(abs(factor - 1) * sums.norm)
        assert sums.model_norm == pytest.approx(abs(factor) * sums.norm)


def test_blocks_at_right_angles_have_no_cosine():
    reference = matrix()
    turned = reference.reshape(3, 3, 3, 3)[:, [1, 0, 2]][:, :, :, [1, 0, 2]].reshape(9, 9)
    sums = pair_blocks(chain(), turned, reference).beyond(0.0)
    assert sums.cosine == pytest.approx(0.0)
    assert sums.error == pytest.approx(math.sqrt(2) * sums.norm)


def test_half_the_asymmetry_is_noise_and_the_rest_is_compared():
    noise = np.zeros((9, 9))
    noise[0, 7] = 0.2  # from H to O only
    pairs = pair_blocks(chain(), matrix(), matrix() + noise)
    far = pairs.beyond(2.0)
    assert far.noise == pytest.approx(0.1)
    assert far.error == pytest.approx(0.1)  # the symmetric part is off by half
    assert pairs.within(2.0).noise == 0


def test_by_elements():
    found = dict(pair_blocks(chain(), np.zeros((9, 9)), matrix()).by_elements())
    assert {name: sums.norm for name, sums in found.items()} == pytest.approx(
        {"C-H": 6.0, "C-O": 3.0, "H-O": 0.5}
    )


def test_the_distance_is_that_of_the_nearest_image():
    pairs = pair_blocks(chain(pbc=True), np.zeros((9, 9)), matrix())
    found = {tuple(e): d for e, d in zip(pairs.elements.tolist(), pairs.distance, strict=True)}
    assert found[1, 8] == pytest.approx(1.0)
    assert found[1, 6] == pytest.approx(1.5)


def test_several_frames():
    first = pair_blocks(chain(), matrix(), matrix(), 0)
    second = pair_blocks(chain(), np.zeros((9, 9)), matrix(), 1)
    both = joined([first, second])
    assert both.beyond(2.0).error == pytest.approx(0.5 / math.sqrt(2))
    assert both.of_frames([1]).beyond(2.0).error == pytest.approx(0.5)
    assert both.of_frames([0]).beyond(2.0).error == 0


def test_edges_cover_all_pairs_and_stop_there():
    pairs = pair_blocks(chain(), matrix(), matrix())  # up to 3 A
    assert distance_edges(pairs, [0, 2, 4, 6]) == [0, 2, 4]
    assert distance_edges(pairs, [1, 2]) == [0, 1, 2, 4]
    assert distance_edges(pairs, [0, 2, 4], [2.5, 3.5, 20.0]) == [0, 2, 2.5, 3.5]
    for bins in ([0, 2, 3], [1.5, 3.0], [0, 7]):
        counts = [sums.count for _, _, sums in pairs.by_distance(distance_edges(pairs, bins))]
        assert sum(counts) == 3
