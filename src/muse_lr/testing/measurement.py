"""What a check returns, and what it raises."""

from __future__ import annotations

from dataclasses import dataclass


class NotApplicable(Exception):  # noqa: N818 - a skip, not an error
    """A check has no meaning for this potential or structure; the message says why."""


@dataclass(frozen=True)
class Measurement:
    """The outcome of a check.

    Attributes
    ----------
    name : str
        Name of the check.
    value, tolerance : float
        What was measured and how large it may be, in ``unit``.
    unit : str
        Unit of both, "" for a pure number.
    what : str
        What was measured, in words.
    known : str
        Why a value above the tolerance is a declared property of the potential (for example a
        global charge constraint); empty where it would be a failure.
    """

    name: str
    value: float
    tolerance: float
    unit: str
    what: str
    known: str = ""

    @property
    def passed(self) -> bool:
        """Whether the value is within the tolerance; never for NaN."""
        return self.value <= self.tolerance

    def __str__(self) -> str:
        verdict = "is within" if self.passed else "exceeds"
        unit = f" {self.unit}" if self.unit else ""
        text = (
            f"{self.name}: {self.what}: {self.value:.3e}{unit} {verdict} "
            f"the tolerance {self.tolerance:.1e}{unit}"
        )
        return f"{text} (known: {self.known})" if self.known and not self.passed else text


class CheckFailed(AssertionError):  # noqa: N818 - reads as what happened
    """A check found a violation; ``measurement`` holds the numbers."""

    def __init__(self, measurement: Measurement) -> None:
        super().__init__(str(measurement))
        self.measurement = measurement


def judge(
    name: str, value: float, tolerance: float, unit: str, what: str, known: str = ""
) -> Measurement:
    """The measurement, if it is within the tolerance or known.

    Raises
    ------
    CheckFailed
        If the value exceeds the tolerance or is not a number, and nothing is known about it.
    """
    measurement = Measurement(name, float(value), float(tolerance), unit, what, known)
    if not measurement.passed and not known:
        raise CheckFailed(measurement)
    return measurement
