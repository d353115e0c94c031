"""Each check finds the fault that is planted for it, and tells it from others."""

from __future__ import annotations

import numpy as np
import pytest

from muse_lr.testing import Outputs, exam
from testing.exam.faults import FAULTS, NAMED
from testing.exam.toys import Ions, cut_sum, verdict

#: Checks of smoothness that meet no tie of two sites in the structures of the exam.
RARELY = ("smooth_separation", "smooth_displacement", "smooth_strain", "curvature")


@pytest.mark.parametrize("name", FAULTS)
def test_a_planted_fault_is_found(name):
    result = verdict(name, FAULTS[name])
    assert result.status == "fail", result
    assert not result.value <= result.tolerance
    assert result.why
    assert result.structure is not None


@pytest.mark.parametrize(
    ("fault", "passed"),
    [
        ("far_images", "wrapping"),
        ("equivalent_cell", "left_handed_cell"),
        ("unlike_fragments", "far_copies"),
        ("acoustic_sum_rule", "forces"),
        ("acoustic_sum_rule", "hessian_symmetry"),
        ("reflection", "rotation"),
        ("stress", "forces"),
        *(("smooth_rearrangement", passed) for passed in RARELY),
        *(("stiff_rearrangement", passed) for passed in RARELY),
        ("stiff_rearrangement", "forces"),
    ],
)
def test_faults_are_told_apart(fault, passed):
    """The check that is made for a fault finds it, and its neighbor does not."""
    assert verdict(passed, FAULTS[fault]).status == "pass"


def test_every_check_has_its_fault():
    """Three are planted differently: in a batch, in a second precision, in a model."""
    assert set(exam.CHECKS) - set(FAULTS) == {
        "batch",
        "single_precision",
        "born_sum_rule",
        "metal_slab",
    }


def test_the_named_faults_are_planted():
    assert len(NAMED) == 9
    assert set(NAMED.values()) <= set(FAULTS)


def test_a_batch_that_leaks():
    class Leaky(Ions):
        def evaluate(self, structures, compute=()):
            out = super().evaluate(structures, compute)
            mean = 1e-6 * np.mean([len(atoms) for atoms in structures])
            return Outputs(**{**vars(out), "energy": out.energy + mean})

    assert verdict("batch", Leaky()).status == "fail"


def test_a_poor_single_precision():
    def poor():
        return Ions(lambda a, row: {"forces": 1.01 * row["forces"]} if "forces" in row else {})

    assert verdict("single_precision", Ions(), single=poor).status == "fail"
    assert verdict("single_precision", Ions(), single=Ions).status == "pass"


def test_a_declared_failure_is_known():
    declared = Ions(FAULTS["unlike_fragments"].fault)
    declared.size_consistent = False
    result = verdict("unlike_fragments", declared)
    assert result.status == "known"
    assert "size_consistent: false" in result.why
    assert result.value > result.tolerance
    assert verdict("far_copies", FAULTS["far_copies"]).status == "fail"


def test_a_sum_of_charges_with_a_cutoff_is_found():
    """Without any energy there is no exponent, but the charges demand one."""
    result = verdict("tail_ion_ion", Ions(sums={0: cut_sum}))
    assert result.status == "fail"
    assert "no interaction at 200 Å; that of the charges is -0.07" in result.why


def test_a_hole_behind_a_high_barrier_is_not_reached():
    def walled(atoms, row):
        near = len(atoms) == 2 and atoms.get_distance(0, 1)
        wall = 30.0 * (0.9 < near < 1.3)
        return {"energy": row["energy"] - 1e5 * (0 < near <= 0.9) + wall}

    assert verdict("dimer_holes", Ions(walled)).status == "pass"
