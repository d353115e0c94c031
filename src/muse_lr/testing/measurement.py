"""Result of a check, and its exceptions."""

from __future__ import annotations

from dataclasses import dataclass


class NotApplicable(Exception):  # noqa: N818 - a skip, not an error
    """A check is not defined for this potential or structure; the message gives the reason."""


@dataclass(frozen=True)
class Measurement:
    """Result of a check.

    Attributes
    ----------
    name : str
        Name of the check.
    value, tolerance : float
        Measured value and its upper limit, in ``unit``.
    unit : str
        Unit of both; empty for a dimensionless number.
    what : str
        Description of the measured value.
    known : str
        Declared property of the potential that explains a value above the tolerance, for example
        a global charge constraint; empty if such a value is a failure.
    """

    name: str
    value: float
    tolerance: float
    unit: str
    what: str
    known: str = ""

    @property
    def passed(self) -> bool:
        """Whether the value is within the tolerance; False for NaN."""
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
    """A check found a violation; the attribute ``measurement`` has the numbers."""

    def __init__(self, measurement: Measurement) -> None:
        super().__init__(str(measurement))
        self.measurement = measurement


def judge(
    name: str, value: float, tolerance: float, unit: str, what: str, known: str = ""
) -> Measurement:
    """Return the measurement if it is within the tolerance or has a known cause.

    Raises
    ------
    CheckFailed
        If the value exceeds the tolerance or is NaN, and ``known`` is empty.
    """
    measurement = Measurement(name, float(value), float(tolerance), unit, what, known)
    if not measurement.passed and not known:
        raise CheckFailed(measurement)
    return measurement
