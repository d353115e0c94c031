"""Run checks one after another; nothing that a calculator does ends the exam."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from ase import Atoms

from muse_lr.errors import InputError
from muse_lr.testing.exam.bench import Bench
from muse_lr.testing.exam.check import Case, Check, Finding, Plot, Result
from muse_lr.testing.measurement import CheckFailed, Measurement, NotApplicable

#: Longest text of a reason, in characters.
LONGEST = 300


@dataclass(frozen=True)
class Progress:
    """How far the exam is.

    Attributes
    ----------
    done, total : int
        Numbers of checks.
    seconds_left : float
        Estimated from the checks so far and the relative costs of the others.
    """

    done: int
    total: int
    seconds_left: float


def run_exam(
    checks: Sequence[type[Check]],
    bench: Bench,
    report: Callable[[Result, Progress], None] = lambda result, progress: None,
) -> list[Result]:
    """Run the checks; one result for each of them, in their order.

    Parameters
    ----------
    checks : sequence of Check classes
    bench : Bench
        Potential and structures.
    report : callable
        Receives every result as soon as it is there, and how far the exam is.
    """
    results, start = list[Result](), time.monotonic()
    costs = np.cumsum([check.cost for check in checks])
    for index, check in enumerate(checks):
        results.append(run_check(check, bench))
        left = (time.monotonic() - start) * (costs[-1] / costs[index] - 1)
        report(results[-1], Progress(index + 1, len(checks), float(left)))
    return results


def run_check(check: type[Check], bench: Bench) -> Result:
    """Measure all cases of a check, and judge by the worst one."""
    start = time.monotonic()
    result = _judge(check, bench)
    return replace(result, seconds=time.monotonic() - start)


def _judge(check: type[Check], bench: Bench) -> Result:
    missing = [name for name in check.needs if name not in bench.potential.provides]
    if missing:
        reason = f"the potential does not compute {' or '.join(missing)}"
        return Result(check.name, "skipped", why=reason)
    found, skips = list[tuple[Case, Measurement]](), list[str]()
    last: Atoms | None = None
    bench.recorder.last = None
    try:
        for case in check().cases(bench):
            last = case.atoms
            bench.recorder.last = None
            try:
                found.append((case, _measured(case)))
            except (NotApplicable, InputError, NotImplementedError) as error:
                skips.append(_line(error))
    except (NotApplicable, InputError, NotImplementedError) as error:
        skips.append(_line(error))
    except (Exception, SystemExit) as error:  # a calculator may raise anything
        crashed = bench.recorder.last or last
        why = f"the calculation crashed: {_line(error, with_type=True)}"
        return Result(check.name, "fail", why=why, structure=crashed)
    if not found:
        why = skips[0] if skips else "no structure to measure"
        return Result(check.name, "skipped", why=why)
    return _worst(check, found)


def _measured(case: Case) -> Measurement:
    try:
        return case.measure()
    except CheckFailed as failure:
        return failure.measurement


def _worst(check: type[Check], found: Sequence[tuple[Case, Measurement]]) -> Result:
    """The largest violation that nothing explains, else the largest one, else the largest value."""
    broken = [pair for pair in found if not pair[1].passed and not pair[1].known]
    known = [pair for pair in found if not pair[1].passed]
    case, measurement = max(broken or known or found, key=lambda pair: _share(pair[1]))
    why = f"{case.where}: {measurement.what}"
    if known and not broken:
        why = f"{why}; known: {measurement.known}"
    return Result(
        check.name,
        "fail" if broken else "known" if known else "pass",
        measurement.value,
        measurement.tolerance,
        measurement.unit,
        why,
        case.atoms,
        next(_plots([(case, measurement), *found]), None),
    )


def _plots(found: Sequence[tuple[Case, Measurement]]) -> Iterator[Plot]:
    for _, measurement in found:
        if isinstance(measurement, Finding) and measurement.plot is not None:
            yield measurement.plot


def _share(measurement: Measurement) -> float:
    share = measurement.value / max(measurement.tolerance, 1e-300)
    return share if np.isfinite(share) else float("inf")


def _line(error: BaseException, with_type: bool = False) -> str:
    """The message of an error on one line."""
    text = " ".join(str(error).split())
    if with_type:
        text = f"{type(error).__name__}: {text}" if text else type(error).__name__
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 1]}…"
