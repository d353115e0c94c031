"""The result of a simulation in words, and what is unexpected about it."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from ase.units import kB

from muse_lr.analysis.averages import Estimate, combine
from muse_lr.reporting.wording import listed, number, with_error
from muse_lr.simulate.results import CopyResult, group
from muse_lr.simulate.settings import Settings

#: A value is consistent with another one up to this number of standard errors.
CONSISTENT = 2.0
#: Differences above this number of standard errors are announced. Blocks of a run of 1 ps are as
#: short as the correlation time of the temperature, so that their errors are too small.
UNEXPECTED = 4.0
#: Heads that trainings fill in from the data and that are zero at the distances of the data.
UNSAMPLED = {
    "repulsion": "atoms come closer than in any training structure",
    "bond_barrier": "distances fall between the bonds and the contacts of the training structures",
}
#: Mean energies of these heads above this many k_B T are announced.
OFTEN = 0.1
#: Time before a failure in which the change of the terms of the energy is measured, ps.
MOMENTS_PS = 0.05
#: Smallest fall that is told, in standard deviations of the energy of N harmonic atoms,
#: k_B T (3 N / 2)^(1/2).
FALL = 5.0


def first_sentence(results: Sequence[CopyResult], settings: Settings) -> str:
    """The result of a run in one sentence."""
    groups = group(results)
    survived = [result for result in results if result.failure is None]
    temperatures = listed([f"{group.target:g}" for group in groups])
    sentence = (
        f"{len(survived)} of {len(results)} copies ran {settings.picoseconds:g} ps at "
        f"{temperatures} K"
    )
    if survived:
        drift = combine([result.drift for result in survived])
        what = "total" if settings.ensemble == "nve" else "conserved"
        if math.isfinite(drift.value):
            sentence += f"; drift of the {what} energy {drift_text(drift)}"
    failed = [
        f"{found.survival.failures} of {len(found.copies)} failed at {found.target:g} K after "
        + _range([copy.time_ps for copy in found.copies if copy.failure is not None])
        for found in groups
        if found.survival.failures
    ]
    return "; ".join([sentence, *failed]) + "."


def drift_text(drift: Estimate) -> str:
    """``"0.04 ± 0.03 meV/atom/ps, consistent with zero"``."""
    text = f"{with_error(drift)} meV/atom/ps"
    # Without an error, nothing is said: the comparison with NaN is False.
    return text + ", consistent with zero" * (abs(drift.value) <= CONSISTENT * drift.error)


def temperature_warnings(results: Sequence[CopyResult], settings: Settings) -> list[str]:
    """Say where the mean temperature of the copies that ran is off the target.

    Each target has a sentence if the difference is above :data:`UNEXPECTED` standard errors. At
    constant energy nothing holds the temperature, so that the sentence gives no remedy.
    """
    sentences = []
    for found in group(results):
        mean = combine([copy.temperature for copy in found.copies if copy.failure is None])
        if not abs(mean.value - found.target) > UNEXPECTED * mean.error:
            continue
        if settings.ensemble == "nve":
            sentences.append(
                f"The mean temperature is {with_error(mean)} K. The velocities were drawn at "
                f"{found.target:g} K, and nothing holds the temperature at constant energy."
            )
        else:
            sentences.append(
                f"The mean temperature is {with_error(mean)} K, off the target of "
                f"{found.target:g} K beyond its statistical error: run longer, leave out more of "
                "the start (--discard), or take a shorter --time-step."
            )
    return sentences


def unsampled_warnings(results: Sequence[CopyResult], settings: Settings) -> list[str]:
    """Say where the dynamics is kept together by heads that act only outside the training data.

    There is a sentence for each target temperature and head with a mean energy above
    :data:`OFTEN` k_B T without the discarded start. Few visits of such distances are harmless.
    """
    sentences = []
    for found in group(results):
        for name, what in UNSAMPLED.items():
            energies = [_counted(copy, f"part_{name}_eV", settings) for copy in found.copies]
            sampled = np.concatenate(energies)
            if not len(sampled) or not sampled.mean() > OFTEN * kB * found.target:
                continue
            where = " in each copy" * (len(found.copies) > 1)
            sentences.append(
                f"At {found.target:g} K the mean energy of `{name}` is {number(sampled.mean())} eV"
                f"{where}, where k_B T is {number(kB * found.target)} eV: {what}. Only this "
                "head keeps the dynamics from going further, and results of it are not those of "
                "the reference. Add such structures to the training data."
            )
    return sentences


def steepest_fall(result: CopyResult) -> str:
    """Say which term of the energy fell the most before a failure; empty if none fell much."""
    log = result.log
    if result.failure is None or not len(log.get("time_ps", ())):
        return ""
    falls: dict[str, tuple[float, float]] = {}
    for column, values in log.items():
        known = np.isfinite(values)
        if not column.startswith("part_") or not known.any():
            continue
        time, values = log["time_ps"][known], values[known]
        before = np.flatnonzero(time <= time[-1] - MOMENTS_PS)
        first = before[-1] if len(before) else 0
        name = column.removeprefix("part_").removesuffix("_eV")
        falls[name] = (float(values[-1] - values[first]), float(time[-1] - time[first]))
    name = min(falls, key=lambda term: falls[term][0], default="")
    spread = kB * result.target * math.sqrt(1.5 * result.atoms)
    if not name or falls[name][0] > -FALL * spread:
        return ""
    change, duration = falls[name]
    return f"`{name}` fell by {number(-change)} eV in the last {number(duration, 2)} ps"


def _counted(copy: CopyResult, column: str, settings: Settings) -> np.ndarray:
    """Values of a column without the discarded start; none if the log does not have it."""
    values = copy.log.get(column, np.empty(0))
    if not len(values):
        return values
    return values[(copy.log["step"] >= settings.first_counted) & np.isfinite(values)]


def _range(times: list[float]) -> str:
    low, high = (number(time) for time in (min(times), max(times)))
    return f"{low} ps" if low == high else f"{low} to {high} ps"
