r"""Screened interaction of two charges and its first two derivatives.

.. math:: u(r) = v(r)\, w(r), \qquad
          v(r) = \frac{\mathrm{erfc}(r / 2\eta) - \mathrm{erfc}(r / \sqrt{2 s^2})}{r}

with the window w of :func:`muse_lr.math.switching.switch_off`. For point charges there is no second
erfc. With :math:`g = (2 a / \sqrt\pi)\, e^{-a^2 r^2}`, the first derivative of
:math:`\mathrm{erfc}(a r) / r` is :math:`v' = -g / r - \mathrm{erfc}(a r) / r^2` and the second
derivative is :math:`2 (a^2 g - v' / r)`.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from muse_lr.electrostatics.base import REAL_TAPER
from muse_lr.electrostatics.kernels import POINT_VARIANCE


class ScreenedKernel:
    r"""The kernel u and its derivatives.

    The second derivative reuses the intermediate results of the first one.

    Parameters
    ----------
    vectors : Tensor
        (3, p) distance vectors d in A; u is 0 beyond ``cutoff``.
    variance : Tensor or float
        (p,) s^2 in A^2, or one number.
    splitting, cutoff : float
        Splitting eta and outer end of the window, A.

    Attributes
    ----------
    value : Tensor
        (p,) u in 1/A.
    first : Tensor
        (p,) f1 = u' / r in 1/A^3. The gradient with respect to d is f1 d.
    """

    def __init__(
        self, vectors: Tensor, variance: Tensor | float, splitting: float, cutoff: float
    ) -> None:
        self._width = (1 - REAL_TAPER) * cutoff
        distance = dot(vectors, vectors).sqrt_()
        self._inverse = distance.reciprocal()
        self._bare = _erfc_over_distance(0.5 / splitting, distance, self._inverse)
        if isinstance(variance, Tensor) or variance > 0:
            # A point charge among Gaussians is a narrow Gaussian.
            spread = torch.as_tensor(variance, dtype=distance.dtype, device=distance.device)
            steepness = (2 * spread.clamp(min=POINT_VARIANCE)).rsqrt()
            narrow = _erfc_over_distance(steepness, distance, self._inverse)
            self._bare = [a.sub_(b) for a, b in zip(self._bare, narrow, strict=True)]
        # Reuse the memory of the distance, which is not needed below.
        self._x = distance.sub_(cutoff - self._width).div_(self._width).clamp_(0, 1)
        self._window, self._slope = self._window_and_slope()
        value, slope, _ = self._bare
        self.value = value * self._window
        self.first = (slope * self._window).addcmul_(value, self._slope).mul_(self._inverse)

    def _window_and_slope(self) -> tuple[Tensor, Tensor]:
        """Window w = 1 - x^3 (6 x^2 - 15 x + 10) and its derivative dw/dr."""
        x = self._x
        slope = (x * (1 - x)).square_().mul_(-30 / self._width)
        window = (6 * x).sub_(15).mul_(x).add_(10).mul_(x).mul_(x).mul_(x).neg_().add_(1)
        return window, slope

    def second(self) -> Tensor:
        """(p,) f2 = (u'' - u' / r) / r^2 in 1/A^5. The second derivative is f1 1 + f2 d d^T."""
        value, slope, gauss = self._bare
        curvature = 2 * (gauss - slope * self._inverse)
        bend = (self._x * (1 - self._x) * (1 - 2 * self._x)).mul_(-60 / self._width**2)
        total = curvature * self._window
        total = total.addcmul_(slope, self._slope, value=2).addcmul_(value, bend)
        return total.sub_(self.first).mul_(self._inverse).mul_(self._inverse)


def dot(a: Tensor, b: Tensor) -> Tensor:
    """Dot products (3, p) -> (p,); faster than a reduction over three rows."""
    return (a[0] * b[0]).addcmul_(a[1], b[1]).addcmul_(a[2], b[2])


def _erfc_over_distance(
    steepness: Tensor | float, distance: Tensor, inverse: Tensor
) -> list[Tensor]:
    """erfc(a r) / r, its first derivative, and a^2 g."""
    scaled = steepness * distance
    value = torch.erfc(scaled).mul_(inverse)
    gauss = scaled.square_().neg_().exp_().mul_(steepness * (2 / math.sqrt(math.pi)))
    slope = (gauss + value).mul_(inverse).neg_()
    return [value, slope, gauss.mul_(steepness**2)]
