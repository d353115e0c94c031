"""The check of smoothness finds a small jump on a steep path, and no jump where there is none."""

from __future__ import annotations

import numpy as np
import pytest
from ase import Atoms

from muse_lr import testing
from muse_lr.testing import CheckFailed, Outputs, Potential


class AlongX(Potential):
    """An energy that is a function of the first atom's x."""

    provides = frozenset()

    def __init__(self, function):
        self.function = function

    def evaluate(self, structures, compute=()):
        return Outputs(energy=np.array([self.function(a.positions[0, 0]) for a in structures]))


def path(t):
    return Atoms("He", [[t, 0, 0]])


def switch_that_ends(x, end=0.0, steepness=15.0):
    """C2: the third derivative falls from 6 steepness to 0, the second is small close by."""
    return steepness * np.clip(end - x, 0, None) ** 3


@pytest.mark.parametrize("distance", [0.08, 0.1, 0.102, 0.104, 0.106, 0.108, 0.12])
def test_a_seam_of_the_third_derivative_beside_what_is_looked_at(distance):
    potential = AlongX(switch_that_ends)
    for at in (distance, -distance):
        assert testing.check_smooth(potential, path, look_at=(at,), points=30).passed


@pytest.mark.parametrize(("distance", "jump"), [(0.1, 2.0), (0.3, 0.2)])
def test_a_jump_of_the_second_derivative_beside_a_seam(distance, jump):
    def energy(x):
        return switch_that_ends(x) + jump / 2 * np.clip(x - distance, 0, None) ** 2

    with pytest.raises(CheckFailed, match="jump of the second derivative"):
        testing.check_smooth(AlongX(energy), path, points=30)


def large(x, jump=0.0):
    """A seam beside which the third derivative decays within 0.1 A, on top of -9000 eV.

    Rounding ends the search at a step at which the terms of order h^2 are above the tolerance.
    """
    inside = np.clip(-x, 0, None)
    return -8980.6 + 0.5 * inside**3 * np.exp(-inside / 0.12) + jump / 2 * np.clip(x, 0, None) ** 2


@pytest.mark.parametrize("at", [-0.04, -0.03, -0.02])
def test_a_fast_change_of_the_third_derivative_is_no_jump(at):
    assert testing.check_smooth(AlongX(large), path, look_at=(at,), points=20).passed


@pytest.mark.parametrize("jump", [0.01, 5.0])
def test_a_jump_beside_a_fast_change_is_found(jump):
    with pytest.raises(CheckFailed, match=r"jump of the second .* at coordinate -?0\.0"):
        testing.check_smooth(AlongX(lambda x: large(x, jump)), path, look_at=(0.0,), points=20)
