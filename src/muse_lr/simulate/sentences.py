"""The result of a simulation in words, and what is unexpected about it."""

from __future__ import annotations

import math
from collections.abc import Sequence

from muse_lr.analysis.averages import Estimate, combine
from muse_lr.reporting.wording import listed, number
from muse_lr.simulate.results import CopyResult, group, with_error
from muse_lr.simulate.settings import Settings

#: A value is consistent with another one up to this number of standard errors.
CONSISTENT = 2.0
#: Differences above this number of standard errors are announced. Blocks of a run of 1 ps are as
#: short as the correlation time of the temperature, so that their errors are too small.
UNEXPECTED = 4.0


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


def _range(times: list[float]) -> str:
    low, high = (number(time) for time in (min(times), max(times)))
    return f"{low} ps" if low == high else f"{low} to {high} ps"
