"""Sound toys pass: one of fixed charges where it can, and others where it cannot be examined."""

from __future__ import annotations

import numpy as np
import pytest

from muse_lr.testing import exam
from muse_lr.testing.exam.slabs import mean_fields
from muse_lr.units import COULOMB_CONSTANT
from testing.exam.faults import Slow
from testing.exam.toys import Ions, Metal, Nodes, Shared, verdict

#: What does not apply to fixed charges of one precision, and why.
SKIPPED = {
    "total_charge": "the charges are fixed for each element, and so their sum",
    "born_sum_rule": "needs the Born charges of a muse_lr model",
    "tail_neutral": "every atom has a charge",
    "single_precision": "the potential has one precision: its factory takes no dtype",
    "metal_slab": "the charges are fixed",
}
#: Sound potentials for what is skipped, and one whose time is known.
CONTROLS = {
    "total_charge": Shared(),
    "tail_neutral": Ions(charges={"Na": 0.0, "Cl": 0.0}),
    "metal_slab": Metal(),
    "time_growth": Slow(5e-7, 2),
    "smooth_rearrangement": Nodes(delta=0.5),
    "stiff_rearrangement": Nodes(delta=0.5),
}


@pytest.fixture(scope="module")
def sound():
    return Ions()


@pytest.mark.parametrize("name", [name for name in exam.CHECKS if name != "time_growth"])
def test_the_sound_control_passes(name, sound):
    result = verdict(name, sound)
    if name in SKIPPED:
        assert (result.status, result.why) == ("skipped", SKIPPED[name])
    else:
        assert result.status == "pass", result
        assert 0 <= result.value <= result.tolerance


@pytest.mark.parametrize("name", CONTROLS)
def test_another_control_passes(name):
    result = verdict(name, CONTROLS[name])
    assert result.status == "pass", result
    assert 0 <= result.value <= result.tolerance


def test_every_check_has_a_control():
    """Models and a second precision are in ``test_models`` and ``test_faults``."""
    assert set(SKIPPED) - set(CONTROLS) == {"single_precision", "born_sum_rule"}


def test_charges_that_do_not_follow_a_field_are_no_metal():
    """A calculator need not be one: the value is above the tolerance, and known."""
    result = verdict("metal_slab", Metal(mobile=False))
    assert result.status == "known"
    assert result.value == pytest.approx(1.0, abs=0.05)
    assert verdict("metal_slab", Metal()).value < 0.01


def test_the_field_in_a_metal_vanishes():
    """Surface charges F S / 4 pi k screen the field F; without them it goes through."""
    d, field = 3.0, 0.05
    charge = field * d**2 / (4 * np.pi * COULOMB_CONSTANT)
    charges = np.array([-charge, 0, 0, 0, 0, 0, 0, charge])
    nothing = np.zeros(8)
    np.testing.assert_allclose(mean_fields(charges, nothing, d), 0, atol=1e-12)
    np.testing.assert_allclose(mean_fields(nothing, nothing, d), field)
    # A solid of point dipoles screens by -4 pi k p / d^3.
    dipole = field * d**3 / (4 * np.pi * COULOMB_CONSTANT)
    np.testing.assert_allclose(mean_fields(nothing, nothing + dipole, d), 0, atol=1e-12)


def test_charges_that_follow_the_total_charge():
    assert verdict("leaving_ion", Shared()).status == "known"
