"""The physics exam: what any potential must fulfill, measured, judged and explained.

:mod:`.check` has the base class of a check and its result, :mod:`.registry` the checks by name,
:mod:`.structures` the structures, :mod:`.bench` what checks share, :mod:`.execute` runs them, and
:mod:`.subject` finds the potential. ``muse-lr audit`` is the command.

Example
-------
::

    from muse_lr.testing import exam

    results = exam.examine(my_calculator, ["H", "O"], quick=True)
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from muse_lr.testing.exam.bench import Bench
from muse_lr.testing.exam.check import Case, Check, Finding, Plot, Result
from muse_lr.testing.exam.execute import Progress, run_check, run_exam
from muse_lr.testing.exam.registry import CHECKS, check_class, chosen_checks
from muse_lr.testing.exam.structures import Structures, from_elements, from_frames
from muse_lr.testing.exam.subject import Maker
from muse_lr.testing.potentials import Subject, as_potential

__all__ = [
    "CHECKS",
    "Bench",
    "Case",
    "Check",
    "Finding",
    "Plot",
    "Progress",
    "Result",
    "Structures",
    "check_class",
    "chosen_checks",
    "examine",
    "from_elements",
    "from_frames",
    "run_check",
    "run_exam",
]


def examine(
    subject: Subject,
    structures: Structures | Sequence[str],
    *,
    only: Sequence[str] = (),
    quick: bool = False,
    single: Maker | None = None,
    report: Callable[[Result, Progress], None] = lambda result, progress: None,
) -> list[Result]:
    """Run the exam.

    Parameters
    ----------
    subject : EnergyModel, ASE calculator or Potential
        In float64.
    structures : Structures or sequence of str
        Structures, or the elements of which they are made.
    only : sequence of str
        Names of checks; all of them by default.
    quick : bool
        Fewer and smaller structures.
    single : callable, optional
        Makes the potential in float32.
    report : callable
        Receives every result as soon as it is there, and how far the exam is.

    Returns
    -------
    list of Result
        In the order of the exam.

    Raises
    ------
    InputError
        For an unknown check or element, and if the potential supports no structure.
    """
    made = structures if isinstance(structures, Structures) else from_elements(structures, quick)
    bench = Bench(as_potential(subject), made, quick, single)
    bench.require_support()
    return run_exam(chosen_checks(only), bench, report)
