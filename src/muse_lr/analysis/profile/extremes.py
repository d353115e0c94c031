"""Wells and barriers of an energy along a path."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.signal import find_peaks

Array = NDArray[np.float64]

#: Wells and barriers of less than this against both sides are not counted, eV.
SHALLOW = 1e-3


@dataclass(frozen=True)
class Extreme:
    """A well or a barrier.

    Attributes
    ----------
    energy, position : float
        eV, and value of the coordinate: the vertex of the parabola through the frame and its
        neighbors.
    """

    energy: float
    position: float


def well(x: Array, y: Array) -> Extreme | None:
    """The deepest minimum between the ends of a curve; None if there is none.

    Parameters
    ----------
    x : ndarray
        (n,) values of the coordinate, ascending.
    y : ndarray
        (n,) energies, eV; NaN is left out.
    """
    known = np.isfinite(y)
    x, y = x[known], y[known]
    minima = find_peaks(-y, prominence=SHALLOW)[0]
    if not len(minima):
        return None
    index = int(minima[y[minima].argmin()])
    near = slice(index - 1, index + 2)
    offset, energies = x[near] - x[index], y[near]
    flat = energies[0] == energies[1] or energies[1] == energies[2]
    if flat or np.any(np.diff(offset) <= 0):  # or several frames of one value
        return Extreme(float(y[index]), float(x[index]))
    a, b, c = np.polyfit(offset, energies, 2)
    vertex = -b / (2 * a)
    return Extreme(float(c - b**2 / (4 * a)), float(x[index] + vertex))


def barrier(x: Array, y: Array) -> Extreme | None:
    """The highest maximum between the ends of a curve; None if there is none."""
    found = well(x, -y)
    return None if found is None else Extreme(-found.energy, found.position)
