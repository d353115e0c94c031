"""Numerical derivatives that know their own error."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


def derivative(
    function: Callable[[Sequence[float]], Array],
    tolerance: float,
    step: float = 1e-3,
    refinements: int = 3,
) -> tuple[Array, float]:
    r"""Derivative at 0 of a function of one variable.

    Central differences at h and h/2, extrapolated (Richardson):

    .. math:: D(h) = \frac{f(h) - f(-h)}{2h}, \qquad D = \frac{4 D(h/2) - D(h)}{3},

    with |D - D(h/2)| as the estimate of the error. While it exceeds ``tolerance / 3``, h is divided
    by 4; of all steps the one with the smallest estimate is taken.

    Parameters
    ----------
    function : callable
        Takes a list of points and returns the values there, (n_points, ...).
    tolerance : float
        Accuracy wanted, in the unit of the derivative.
    step : float
        First h.
    refinements : int
        How often h is divided at most.

    Returns
    -------
    value : ndarray
        The derivative.
    error : float
        Estimate of its largest error; a function that is not smooth keeps it large.
    """
    best: tuple[Array, float] | None = None
    for refinement in range(refinements + 1):
        h = step / 4**refinement
        forward, half_forward, half_backward, backward = function([h, h / 2, -h / 2, -h])
        coarse = (forward - backward) / (2 * h)
        fine = (half_forward - half_backward) / h
        value = np.asarray((4 * fine - coarse) / 3)
        error = float(np.abs(value - fine).max()) if value.size else 0.0
        if best is None or error < best[1]:
            best = value, error
        if best[1] <= tolerance / 3:
            break
    assert best is not None
    return best
