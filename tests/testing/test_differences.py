"""Numerical derivatives: right within their own estimate of the error, and that is small."""

from __future__ import annotations

import numpy as np
import pytest
from ase import Atoms
from ase.data import covalent_radii

import muse_lr
from muse_lr import testing
from muse_lr.testing import CheckFailed
from muse_lr.testing.differences import derivative

TOLERANCE = 1e-6


def steep(x):
    return np.exp(20 * x)


def with_seam(x, at=0.0):
    """Steep; its second derivative jumps by 100, as that of a C2 potential's forces."""
    return steep(x) + 50 * np.clip(x - at, 0, None) ** 2


def with_seam_beside(x):
    return with_seam(x, at=2e-4)


@pytest.mark.parametrize("function", [np.sin, steep, with_seam, with_seam_beside])
def test_functions_with_a_derivative(function):
    exact = {np.sin: 1.0}.get(function, 20.0)
    value, error = derivative(lambda points: function(np.array(points)), TOLERANCE)
    assert error < TOLERANCE
    assert abs(float(value) - exact) < TOLERANCE


@pytest.mark.parametrize(
    "function",
    [
        lambda x: np.sign(x + 1e-12),
        lambda x: np.sqrt(np.abs(x)) * np.sign(x),
        lambda x: np.abs(x - 1e-7),
        lambda x: 1e-6 * np.sin(1e7 * x),
    ],
    ids=["jump", "root", "kink beside", "noise"],
)
def test_functions_without_one(function):
    _, error = derivative(lambda points: function(np.array(points)), TOLERANCE)
    assert error > TOLERANCE


def test_smooth_functions_take_one_step():
    calls = []
    derivative(lambda points: calls.append(points) or np.sin(points), TOLERANCE)
    assert len(calls) == 1


@pytest.fixture
def repulsive():
    """A model of the repulsion alone, and two atoms exactly where it ends."""
    charges = {"kind": "fixed", "by_element": {"C": 0, "Na": 0}}
    model = muse_lr.build_model(
        {
            "elements": ["C", "Na"],
            "backbone": None,
            "charges": charges,
            "heads": {"repulsion": {"kind": "zbl"}},
        }
    ).double()
    end = float(covalent_radii[6] + covalent_radii[11])
    return model.eval(), Atoms("CNa", [[0, 0, 0], [end, 0, 0]])


def test_second_derivatives_where_a_switch_ends(repulsive):
    model, atoms = repulsive
    assert testing.check_hessian_symmetric(model, atoms, pairs=8).passed
    for seed in range(4):
        assert testing.check_second_derivatives(model, atoms, seed=seed).passed


def test_a_small_error_where_a_switch_ends(repulsive, monkeypatch):
    """A share of 1e-5 of the restoring force that is no gradient is seen even there."""
    model, atoms = repulsive
    potential = testing.as_potential(model)
    evaluate = potential.evaluate

    def spoilt(structures, compute=()):
        out = evaluate(structures, compute)
        if out.forces is not None:
            swirl = np.concatenate([a.positions - a.positions[0] for a in structures])
            out.forces[:, 1] += 1e-5 * swirl[:, 0]
            out.forces[:, 0] -= 1e-5 * swirl[:, 1]
        return out

    monkeypatch.setattr(potential, "evaluate", spoilt)
    with pytest.raises(CheckFailed, match=r"difference of u\.H\.v and v\.H\.u"):
        testing.check_hessian_symmetric(potential, atoms)
