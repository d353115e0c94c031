"""The time that was planned for a study, beside the time that it took."""

from __future__ import annotations

from pydantic import Field

from muse_lr.config.schema import Strict
from muse_lr.reporting.wording import duration


class PlannedTime(Strict):
    """Expected time of a study."""

    minutes: float = Field(..., gt=0, description="Time of all runs and of the report, min.")
    jobs: int = Field(..., ge=1, description="Number of parallel runs.")


def time_taken(
    seconds: float, jobs: int, done: int, total: int, planned: PlannedTime | None
) -> str:
    """Line that compares the time of a call with that of the plan.

    Parameters
    ----------
    seconds : float
        Time of the call.
    jobs : int
        Number of parallel runs.
    done, total : int
        Numbers of runs that this call has trained, and of all runs of the study.
    planned : PlannedTime or None
        What was planned for all runs.
    """
    some = done < total
    text = f"took {duration(seconds)}" + f" for {done} of {total} runs" * some
    if planned is None:
        return text
    other = f" with --jobs {planned.jobs}" * (planned.jobs != jobs)
    return f"{text}, planned {duration(60 * planned.minutes)}" + " for all" * some + other
