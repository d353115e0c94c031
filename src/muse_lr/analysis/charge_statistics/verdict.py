"""Whether a statistic of a trajectory agrees with its reference."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from muse_lr.analysis.charge_statistics.results import MOMENTS, Statistic

Status = Literal["pass", "fail", "informative", "skipped"]

#: Number of standard errors within which a value agrees with its reference.
SIGMAS = 3.0
_ZEROTH, _SECOND = (name for name, _ in MOMENTS)
#: Deviation that is always allowed. The limits are extrapolated from the smallest wave of the cell:
#: TIP3P water and a molten salt of a few hundred atoms reproduce the second moment to 0.02
#: (benchmarks/results/charge_statistics.md). The zeroth moment of free ions of 1 e is 1 e².
ALLOWANCES = {_ZEROTH: 1e-3, _SECOND: 0.03}
#: Allowance of other statistics, relative to their reference.
RELATIVE = 0.05
#: With a larger allowed deviation, a pass would say nothing: charges that do not screen have zeroth
#: moments of the mean squared charge, and second moments that are wrong by 1 and more.
LARGEST = {_ZEROTH: 0.05, _SECOND: 0.5}


@dataclass(frozen=True)
class Verdict:
    """Judgement of one statistic.

    Attributes
    ----------
    statistic : Statistic
    status : {"pass", "fail", "informative", "skipped"}
        ``informative``: no reference is known, or the trajectory is too short to judge.
    tolerance : float or None
        Largest deviation from the reference that passes; None if the statistic was not judged.
    why : str
        The comparison, or the reason for which there is none.
    """

    statistic: Statistic
    status: Status
    tolerance: float | None
    why: str


def judge_statistic(found: Statistic) -> Verdict:
    r"""Compare a statistic with its reference.

    .. math:: |x - x_0| \le \max(a, 3 \sqrt{\sigma^2 + \sigma_0^2})

    with the allowance a of :data:`ALLOWANCES`, or :data:`RELATIVE` of the reference.

    Parameters
    ----------
    found : Statistic
    """
    if found.skipped:
        return Verdict(found, "skipped", None, found.skipped)
    if found.reference is None:
        return Verdict(found, "informative", None, "no reference is known")
    error = math.hypot(found.error, found.reference_error)
    if not (math.isfinite(error) and math.isfinite(found.value)):
        return Verdict(found, "informative", None, "there are too few frames for an error")
    allowance = ALLOWANCES.get(found.name, RELATIVE * abs(found.reference))
    tolerance = max(allowance, SIGMAS * error)
    deviation = abs(found.value - found.reference)
    if tolerance > LARGEST.get(found.name, math.inf) and deviation <= tolerance:
        why = f"the standard error {error:.2g} is too large to judge: run longer"
        return Verdict(found, "informative", None, why)
    why = (
        f"{found.value:.3g} ± {found.error:.2g} differs by {deviation:.2g} from "
        f"{found.reference:.3g}; allowed are {SIGMAS:g} standard errors, at least {allowance:.2g}"
    )
    return Verdict(found, "pass" if deviation <= tolerance else "fail", tolerance, why)


def judge_statistics(found: Sequence[Statistic]) -> list[Verdict]:
    """Verdict of each statistic (:func:`judge_statistic`), in the same order."""
    return [judge_statistic(each) for each in found]
