"""What a check of the exam is, and what it finds.

A check is one small class: its texts say what must hold, how well and why, and
:meth:`Check.cases` yields what is measured. The engines are the functions of
:mod:`muse_lr.testing.checks`; a check adds the structures and the tolerance.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar, Literal

import numpy as np
from ase import Atoms
from numpy.typing import NDArray

from muse_lr.testing.measurement import Measurement, NotApplicable

if TYPE_CHECKING:
    from muse_lr.testing.exam.bench import Bench

Array = NDArray[np.float64]
Status = Literal["pass", "fail", "known", "skipped"]
#: In the order of a table.
STATUSES: tuple[Status, ...] = ("fail", "known", "pass", "skipped")


@dataclass(frozen=True)
class Plot:
    """Curves of a check.

    Attributes
    ----------
    x_label, y_label : str
        Names of the axes with units.
    curves : mapping of str to (ndarray, ndarray)
        Name -> x and y, (n,) each.
    log : bool
        Whether the sizes are drawn, on logarithmic axes.
    """

    x_label: str
    y_label: str
    curves: Mapping[str, tuple[Array, Array]]
    log: bool = False


@dataclass(frozen=True)
class Finding(Measurement):
    """A measurement with curves."""

    plot: Plot | None = None


@dataclass(frozen=True)
class Case:
    """One measurement of a check.

    Attributes
    ----------
    where : str
        Name of the structure.
    atoms : ase.Atoms
        The structure, which is saved if the case fails.
    measure : callable
        Returns a :class:`~muse_lr.testing.measurement.Measurement`, or raises ``CheckFailed`` or
        ``NotApplicable``.
    """

    where: str
    atoms: Atoms
    measure: Callable[[], Measurement]


@dataclass(frozen=True)
class Result:
    """Verdict of one check.

    Attributes
    ----------
    name : str
        Name of the check.
    status : {"pass", "fail", "known", "skipped"}
        ``known``: above the tolerance, for a reason that the potential declares.
    value, tolerance : float or None
        Of the worst case; None if nothing was measured.
    unit : str
        Of both.
    why : str
        What was measured where, the end of a traceback, or the reason of a skip.
    structure : ase.Atoms or None
        Structure of the worst case, or the one on which the calculator crashed.
    plot : Plot or None
        Curves of the worst case that has some.
    seconds : float
    """

    name: str
    status: Status
    value: float | None = None
    tolerance: float | None = None
    unit: str = ""
    why: str = ""
    structure: Atoms | None = field(default=None, compare=False)
    plot: Plot | None = field(default=None, compare=False)
    seconds: float = 0.0


class Check(ABC):
    """A physical property that a potential must have.

    The first line of the docstring of a subclass is its title.

    Attributes
    ----------
    name : str
        Name on the command line and in files.
    equation : str
        What must hold, in plain text.
    tolerance : float
        Largest value that passes.
    unit : str
        Unit of the tolerance, or what multiplies it; empty for a plain number.
    reason : str
        Why the tolerance is what it is.
    meaning : str
        What goes wrong in practice if the check fails.
    remedy : str
        What to look at.
    needs : tuple of str
        Properties besides the energy without which it is skipped.
    cost : float
        Time relative to other checks, from which the time to go is estimated.
    """

    name: ClassVar[str]
    equation: ClassVar[str]
    tolerance: ClassVar[float]
    unit: ClassVar[str] = ""
    reason: ClassVar[str]
    meaning: ClassVar[str]
    remedy: ClassVar[str]
    needs: ClassVar[tuple[str, ...]] = ()
    cost: ClassVar[float] = 1.0

    @classmethod
    def title(cls) -> str:
        """What must hold, in one line."""
        return (cls.__doc__ or "").strip().splitlines()[0].rstrip(".")

    @abstractmethod
    def cases(self, bench: Bench) -> Iterator[Case]:
        """Yield what is to be measured.

        Raises
        ------
        NotApplicable
            If there is nothing, with the reason.
        """


def each(
    structures: Iterable[tuple[str, Atoms]], measure: Callable[[Atoms], Measurement]
) -> Iterator[Case]:
    """One case for every named structure."""

    def of(atoms: Atoms) -> Callable[[], Measurement]:
        return lambda: measure(atoms)

    for where, atoms in structures:
        yield Case(where, atoms, of(atoms))


def require(condition: bool, reason: str) -> None:
    """Raise :class:`NotApplicable` with ``reason`` unless the condition holds."""
    if not condition:
        raise NotApplicable(reason)
