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
    refinements: int = 5,
) -> tuple[Array, float]:
    r"""Derivative at 0 of a function of one variable.

    Central differences at h and h/2, extrapolated (Richardson):

    .. math:: D(h) = \frac{f(h) - f(-h)}{2h}, \qquad D = \frac{4 D(h/2) - D(h)}{3},

    with |D - D(h/2)| as the estimate of the error. While it exceeds ``tolerance / 3``, h is divided
    by 4 and a second extrapolation joins in, :func:`_at_a_seam`; of all values the one with the
    smallest estimate is taken.

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
    """D(h) and D(h/2), which differ by even powers of h, extrapolated; the error of D(h/2)."""
    value = (4 * fine - coarse) / 3
    return value, _largest(value - fine)


def _at_a_seam(coarse: Array, middle: Array, fine: Array) -> tuple[Array, float]:
    r"""D(h), D(h/2) and D(h/4) extrapolated where one of the two sides is another formula.

    Forces of a C2 potential have a jump in their curvature where a switch begins or ends, and

    .. math:: D(h) = D + a_1 h + a_2 h^2 + \dots

    there has odd powers as well. Without its first power D(h) is L(h) = 2 D(h/2) - D(h); then
    D = (4 L(h/2) - L(h)) / 3, and |D - L(h/2)| estimates the error.
    """
    first, second = 2 * middle - coarse, 2 * fine - middle
    value = (4 * second - first) / 3
    return value, _largest(value - second)


def _largest(deviation: Array) -> float:
    return float(np.abs(deviation).max(initial=0.0))
