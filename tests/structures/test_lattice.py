"""Vectors modulo a lattice: against a search over many lattice vectors."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
import torch
from ase import Atoms

from muse_lr.structures.lattice import modulo_cell, modulo_lattice

BOUNDARIES = [(1, 1, 1), (1, 1, 0), (1, 0, 1), (0, 1, 1), (1, 0, 0), (0, 0, 0)]


def sheared(basis, pbc, rng):
    """Another basis of the same lattice, with long vectors."""
    basis, axes = basis.copy(), np.flatnonzero(pbc)
    for _ in range(4 if len(axes) > 1 else 0):
        first, second = rng.choice(axes, 2, replace=False)
        basis[first] += rng.integers(-3, 4) * basis[second]
    return basis


@pytest.mark.parametrize("pbc", BOUNDARIES)
def test_the_shortest_vector_of_a_search_whatever_the_basis(pbc):
    rng = np.random.default_rng(sum(pbc))
    periodic = np.array(pbc, bool)
    for _ in range(30):
        basis = np.diag(rng.uniform(4, 12, 3)) + rng.uniform(-1.5, 1.5, (3, 3))
        vector, rows = 20 * rng.normal(size=3), basis[periodic]
        near = np.floor(np.linalg.lstsq(rows.T, vector, rcond=None)[0]) if len(rows) else []
        ranges = [range(int(n) - 5, int(n) + 7) for n in near]
        lengths = [np.linalg.norm(vector - np.array(n, float) @ rows) for n in product(*ranges)]
        for cell in (basis, sheared(basis, periodic, rng)):
            found = modulo_cell(vector, Atoms(cell=cell, pbc=periodic))
            assert np.linalg.norm(found) == pytest.approx(min(lengths), abs=1e-9)
            steps = np.linalg.lstsq(cell[periodic].T, vector - found, rcond=None)[0]
            np.testing.assert_allclose(steps, np.round(steps), atol=1e-8)
            np.testing.assert_allclose(steps.round() @ cell[periodic], vector - found, atol=1e-8)


def test_the_derivative_is_the_identity_and_missing_values_stay():
    vectors = torch.tensor([[7.0, -3.0, 26.0], [torch.nan] * 3], requires_grad=True).double()
    cell, pbc = 5.0 * torch.eye(3).double().expand(2, 3, 3), torch.tensor([[True, True, False]] * 2)
    found = modulo_lattice(vectors, cell, pbc)
    np.testing.assert_allclose(found[0].detach(), [2, 2, 26])
    assert torch.isnan(found[1]).all()
    (gradient,) = torch.autograd.grad(found[0].sum(), vectors)
    np.testing.assert_allclose(gradient, [[1, 1, 1], [0, 0, 0]])
