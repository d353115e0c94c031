"""The result of a simulation in words."""

from __future__ import annotations

import math

import numpy as np
import pytest

from muse_lr.analysis.averages import Estimate
from muse_lr.simulate.failures import Failure
from muse_lr.simulate.results import CopyResult
from muse_lr.simulate.sentences import (
    drift_text,
    first_sentence,
    steepest_fall,
    temperature_warnings,
    unsampled_warnings,
)
from muse_lr.simulate.settings import Settings

NOTHING = Estimate(math.nan)


def result(
    temperature: Estimate, drift=NOTHING, target=300.0, failed=False, log=None
) -> CopyResult:
    failure = Failure(0, 10, 0.005, "hot") if failed else None
    return CopyResult(
        0,
        3,
        target,
        1.0,
        failure,
        log or {},
        temperature,
        pressure=NOTHING,
        volume=NOTHING,
        drift=drift,
    )


@pytest.mark.parametrize(
    ("drift", "text"),
    [
        (Estimate(0.03, 0.02), "0.0300 ± 0.020 meV/atom/ps, consistent with zero"),
        (Estimate(-0.03, 0.02), "−0.0300 ± 0.020 meV/atom/ps, consistent with zero"),
        (Estimate(0.05, 0.02), "0.0500 ± 0.020 meV/atom/ps"),
        (Estimate(0.05), "0.0500 meV/atom/ps"),
    ],
)
def test_a_drift_within_its_error_is_consistent_with_zero(drift, text):
    assert drift_text(drift) == text
    sentence = first_sentence([result(NOTHING, drift)], Settings(steps=2000))
    assert sentence == f"1 of 1 copies ran 1 ps at 300 K; drift of the conserved energy {text}."


def test_a_temperature_off_its_target_is_told():
    settings = Settings()
    near, off = Estimate(307.0, 2.0), Estimate(290.0, 2.0)
    assert temperature_warnings([result(near)], settings) == []
    (text,) = temperature_warnings([result(off), result(near, target=310.0)], settings)
    assert text.startswith("The mean temperature is 290 ± 2.0 K, off the target of 300 K beyond")
    assert "--discard" in text
    # Neither a run too short for an error nor a copy that failed says anything.
    silent = [result(Estimate(400.0)), result(off, failed=True, target=350.0)]
    assert temperature_warnings(silent, settings) == []


def test_two_copies_off_in_opposite_directions_are_on_target():
    copies = [result(Estimate(290.0, 2.0)), result(Estimate(310.0, 2.0))]
    assert temperature_warnings(copies, Settings()) == []


def test_nothing_holds_the_temperature_at_constant_energy():
    (text,) = temperature_warnings([result(Estimate(150.0, 1.0))], Settings(ensemble="nve"))
    assert text == (
        "The mean temperature is 150 ± 1.0 K. The velocities were drawn at 300 K, and nothing "
        "holds the temperature at constant energy."
    )


def test_dynamics_that_leans_on_the_repulsion_is_told():
    settings = Settings(steps=100, discard=0.5)
    step = np.arange(0.0, 101.0, 10.0)
    start = np.where(step < 50, 1.0, 0.0)  # only the discarded start is outside the data
    log = {"step": step, "part_repulsion_eV": start, "part_bond_barrier_eV": start + 0.01}
    (text,) = unsampled_warnings([result(NOTHING, log=log)], settings)
    assert text.startswith("At 300 K the mean energy of `bond_barrier` is 0.0100 eV")
    assert "in each copy" not in text
    several = unsampled_warnings([result(NOTHING, log=log)] * 2, settings)
    assert "is 0.0100 eV in each copy, where k_B T is" in several[0]
    # It is not much at a high temperature, and other models have neither head.
    hot = result(NOTHING, target=1500.0, log=log)
    assert unsampled_warnings([hot, result(NOTHING)], settings) == []


def test_the_term_that_fell_before_a_failure_is_told():
    time = np.arange(0.0, 0.31, 0.01)
    log = {
        "time_ps": time,
        "part_coulomb_eV": np.where(time > 0.275, -30.0, -5.0),
        "part_backbone_eV": np.where(time > 0.275, 40.0, 4.0),
        "part_e0_eV": np.full_like(time, -1e4),
        "part_multiscale_eV": -2 * time,
    }
    failed = result(NOTHING, failed=True, log=log)
    assert steepest_fall(failed) == "`coulomb` fell by 25.0 eV in the last 0.050 ps"
    assert steepest_fall(result(NOTHING, log=log)) == "", "it did not fail"
    log["part_coulomb_eV"][-1] = np.nan  # the energy of the last step may be undefined
    log["part_coulomb_eV"][-2] = -8.0
    assert steepest_fall(failed) == "`coulomb` fell by 3.00 eV in the last 0.050 ps"
    log["part_coulomb_eV"][-2] = -5.2
    assert steepest_fall(failed) == "", "the terms of any structure vary"
