"""Comparison of two sets of results, property by property."""

from __future__ import annotations

import numpy as np

from muse_lr.testing.measurement import Measurement, judge
from muse_lr.testing.potentials import Outputs

UNITS = {
    "energy": "eV",
    "forces": "eV/A",
    "stress": "eV/A^3",
    "dipole": "e A",
    "charges": "e",
}


def compare(
    name: str, expected: Outputs, actual: Outputs, tolerance: float, where: str, known: str = ""
) -> Measurement:
    """Judge the property with the largest deviation relative to its limit, ``tolerance * scale``.

    The scale of a property is max(1, its largest value), in its own unit.

    Raises
    ------
    CheckFailed
        If a deviation exceeds its limit and ``known`` is empty.
    """
    worst: tuple[float, float, float, str] | None = None
    for label in UNITS:
        first, second = getattr(expected, label), getattr(actual, label)
        if first is None or second is None:
            continue
        deviation = float(np.abs(second - first).max(initial=0.0))
        allowed = tolerance * max(1.0, float(np.abs(first).max(initial=0.0)))
        excess = deviation / allowed if np.isfinite(deviation) else np.inf
        if worst is None or excess > worst[0]:
            worst = excess, deviation, allowed, label
    assert worst is not None, "the energy is always compared"
    _, deviation, allowed, label = worst
    what = f"largest change of the {label} {where}"
    return judge(name, deviation, allowed, UNITS[label], what, known)
