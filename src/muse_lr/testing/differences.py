"""Numerical derivatives with an estimate of their error."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


def derivative(
    function: Callable[[Sequence[float]], Array],
    tolerance: float,
    step: float = 1e-3,
    refinements: int = 5,
) -> tuple[Array, float]:
    r"""Derivative at 0 of a function of one variable.

    Central differences at h and h/2, extrapolated (Richardson):

    .. math:: D(h) = \frac{f(h) - f(-h)}{2h}, \qquad D = \frac{4 D(h/2) - D(h)}{3},

    with |D - D(h/2)| as the error estimate. While it exceeds ``tolerance / 3``, h is divided by 4,
    and a second extrapolation, :func:`_at_a_seam`, is tried as well. The result is the value with
    the smallest error estimate.

    Parameters
    ----------
    function : callable
        Maps a list of points to the values of the function, (n_points, ...).
    tolerance : float
        Requested accuracy, in the unit of the derivative.
    step : float
        Initial h.
    refinements : int
        Largest number of times that h is divided by 4.

    Returns
    -------
    value : ndarray
        The derivative.
    error : float
        Estimate of its largest error, which remains large for a function that is not smooth.
    """
    best: tuple[Array, float] | None = None
    differences: list[Array] = []  # D(h), D(h/2), D(h/4), ...
    for refinement in range(refinements + 1):
        h = step / 4**refinement
        forward, half_forward, half_backward, backward = function([h, h / 2, -h / 2, -h])
        differences.append(np.asarray((forward - backward) / (2 * h)))
        differences.append(np.asarray((half_forward - half_backward) / h))
        candidates = [_where_smooth(*differences[-2:])]
        if len(differences) > 2:
            candidates.append(_at_a_seam(*differences[-3:]))
        for candidate in candidates:
            if best is None or candidate[1] < best[1]:
                best = candidate
        assert best is not None
        if best[1] <= tolerance / 3:
            break
    assert best is not None
    return best


def _where_smooth(coarse: Array, fine: Array) -> tuple[Array, float]:
    """Extrapolate D(h) and D(h/2) for an error in even powers of h; return value and error."""
    value = (4 * fine - coarse) / 3
    return value, _largest(value - fine)


def _at_a_seam(coarse: Array, middle: Array, fine: Array) -> tuple[Array, float]:
    r"""Extrapolate D(h), D(h/2) and D(h/4) between two pieces of a piecewise function.

    The curvature of the forces of a C2 potential jumps where a switching function begins or ends.
    The expansion then has odd powers as well,

    .. math:: D(h) = D + a_1 h + a_2 h^2 + \dots

    L(h) = 2 D(h/2) - D(h) removes the first power; then D = (4 L(h/2) - L(h)) / 3, and
    |D - L(h/2)| estimates the error.
    """
    first, second = 2 * middle - coarse, 2 * fine - middle
    value = (4 * second - first) / 3
    return value, _largest(value - second)


def _largest(deviation: Array) -> float:
    return float(np.abs(deviation).max(initial=0.0))
