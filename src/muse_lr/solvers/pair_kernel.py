r"""The screened kernel of two charges with its first two derivatives, elementwise.

.. math:: u(r) = \frac{\mathrm{erfc}(r / 2\eta) - \mathrm{erfc}(r / \sqrt{2 s^2})}{r}\, w(r)

with the window w of :func:`muse_lr.smooth.switch_off`; for points the second erfc is absent.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from muse_lr.solvers.base import REAL_TAPER
from muse_lr.solvers.kernels import POINT_VARIANCE


def screened_kernel(
    vectors: Tensor,
    variance: Tensor | float,
    splitting: float,
    cutoff: float,
    second: bool,
) -> tuple[Tensor, ...]:
    """u, f1 = u' / r and, if ``second``, f2 = (u'' - u' / r) / r^2.

    Parameters
    ----------
    vectors : Tensor
        (p, 3) in A, none longer than ``cutoff``.
    variance : Tensor or float
        (p,) s^2 in A^2, or one number.
    splitting, cutoff : float
        eta, and the end of the window, A.
    second : bool
        Whether the second derivative is asked for.
    """
    distance = dot(vectors, vectors).sqrt_()
    inverse = distance.reciprocal()
    values = _erfc_over_distance(0.5 / splitting, distance, inverse, second)
    if isinstance(variance, Tensor) or variance > 0:
        # A point among Gaussians is a narrow Gaussian.
        spread = torch.as_tensor(variance, dtype=distance.dtype, device=distance.device)
        steepness = (2 * spread.clamp(min=POINT_VARIANCE)).rsqrt()
        narrow = _erfc_over_distance(steepness, distance, inverse, second)
        values = [a - b for a, b in zip(values, narrow, strict=True)]
    _apply_window(values, distance, cutoff)
    f1 = values[1] * inverse
    if not second:
        return values[0], f1
    return values[0], f1, (values[2] - f1) * inverse * inverse


def dot(a: Tensor, b: Tensor) -> Tensor:
    """(p, 3) -> (p,): over three columns a reduction is several times slower than this."""
    return (a[:, 0] * b[:, 0]).addcmul(a[:, 1], b[:, 1]).addcmul(a[:, 2], b[:, 2])


def _erfc_over_distance(
    steepness: Tensor | float, distance: Tensor, inverse: Tensor, second: bool
) -> list[Tensor]:
    """erfc(a r) / r, its slope and, if ``second``, its curvature."""
    scaled = steepness * distance
    value = torch.erfc(scaled) * inverse
    gauss = scaled.square_().neg_().exp_() * (steepness * (2 / math.sqrt(math.pi)))
    slope = (gauss + value).mul_(inverse).neg_()
    if not second:
        return [value, slope]
    bend = (steepness**2 + inverse * inverse) * gauss + value * inverse * inverse
    return [value, slope, 2 * bend]


def _apply_window(values: list[Tensor], distance: Tensor, cutoff: float) -> None:
    """Multiply a function and its derivatives with the window of the cutoff, in place."""
    width = (1 - REAL_TAPER) * cutoff
    near = (distance > cutoff - width).nonzero()[:, 0]
    x = ((distance.index_select(0, near) - cutoff + width) / width).clamp(max=1)
    rest = 1 - x
    window = 1 - x**3 * (x * (6 * x - 15) + 10)
    slope = -30 * (x * rest) ** 2 / width
    outer = [value.index_select(0, near) for value in values]
    values[0].index_copy_(0, near, outer[0] * window)
    values[1].index_copy_(0, near, outer[1] * window + outer[0] * slope)
    if len(values) > 2:
        bend = -60 * x * rest * (rest - x) / width**2
        curvature = outer[2] * window + 2 * outer[1] * slope + outer[0] * bend
        values[2].index_copy_(0, near, curvature)
