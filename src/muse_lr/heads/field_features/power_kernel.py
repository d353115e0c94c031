r"""The potential 1/r^6 of smeared sources, averaged over a Gaussian probe.

A unit source with smearing :math:`\sigma'` has the potential of long-distance equivariants (LODE)
with p = 6 (K. K. Huguenin-Dumittan et al., J. Phys. Chem. Lett. 14, 9612 (2023)),

.. math:: V(r) = \frac{\gamma(3, x)}{\Gamma(3)\, r^6}
          = \frac{1 - e^{-x} (1 + x + x^2 / 2)}{r^6}
          = \frac12 \int_0^{1 / 2 \sigma'^2} t^2 e^{-t r^2} dt,
          \qquad x = \frac{r^2}{2 \sigma'^2},

It is 1/r^6 at large distance and finite at the source, and equals the smooth part of
:class:`~muse_lr.heads.dispersion.lattice_sum.PowerSplit`. The average of a Gaussian over the
Gaussian of the probe, of width :math:`\sigma`, is again a Gaussian. With
:math:`u = t / (1 + 2 t \sigma^2)`

.. math:: B_0(r) = \frac12 \int_0^U u^2 (1 - 2 \sigma^2 u)^{-5/2} e^{-u r^2} du, \qquad
          U = \frac{1}{2 (\sigma^2 + \sigma'^2)},

and :math:`B_{n+1} = -B_n' / r` multiplies the integrand by 2 u. With w = u / U, all of them reduce
to

.. math:: J_m(X) = \int_0^1 w^m (1 - c w)^{-5/2} e^{-X w} dw, \qquad J_m' = -J_{m+1}, \qquad
          c = \frac{\sigma^2}{\sigma^2 + \sigma'^2}.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import torch
from torch import Tensor

from muse_lr.heads.dispersion.lattice_sum import PowerSplit

#: Number of Gauss-Legendre points. With 1 - c w = exp(-z) the integrand is entire in z, so this
#: number gives 12 digits for every argument (10 for a probe 30 times as wide as the source).
NODES = 48
#: Largest X w in the integral over exp(-X w).
FAR = 60.0


@dataclass(frozen=True)
class SmearedPower:
    """Interaction of a Gaussian probe with a smeared source of a 1/r^6 potential.

    Attributes
    ----------
    probe, source : float
        Widths sigma and sigma', A; both positive.
    """

    probe: float
    source: float

    def wider(self, factor: float) -> SmearedPower:
        r"""Kernel of a broader source, with a splitting that is larger by ``factor``.

        The integrands of both kernels are the same, so their difference is the integral from a
        smaller U on and decays as :math:`\exp(-r^2 / 4 \eta^2)` with the larger splitting.
        """
        squared = 2 * (factor * self.splitting) ** 2 - self.probe**2
        return SmearedPower(self.probe, math.sqrt(squared))

    @property
    def splitting(self) -> float:
        """eta of the Gaussian exp(-eta^2 k^2) by which the transform decays, A."""
        return math.sqrt((self.probe**2 + self.source**2) / 2)

    @property
    def _largest(self) -> float:
        return 1 / (4 * self.splitting**2)

    @property
    def _ratio(self) -> float:
        return self.probe**2 / (2 * self.splitting**2)

    def radial(self, squared: Tensor, highest: int) -> list[Tensor]:
        """B_0 to B_highest in A^-(6 + 2n) at (p,) squared distances in A^2."""
        values = power_moments(self._largest * squared, self._ratio, 2, highest + 2)
        return [2.0 ** (n - 1) * self._largest ** (n + 3) * value for n, value in enumerate(values)]

    def sheets(self, height: Tensor, highest: int) -> list[Tensor]:
        r"""Interaction g of two planar lattices at distance z times the cell area, and derivatives.

        .. math:: g(z) = \frac\pi2 \int_0^U u (1 - 2 \sigma^2 u)^{-5/2} e^{-u z^2} du

        is the integral of B_0 over the plane.

        Parameters
        ----------
        height : Tensor
            (p,) in A.
        highest : int
            Highest order of the derivatives with respect to z, at most 4.

        Returns
        -------
        list of Tensor
            ``highest + 1`` tensors in A^-(4 + n).
        """
        z = height
        values = power_moments(self._largest * z.square(), self._ratio, 1, highest + 1)
        g = [
            math.pi / 2 * 2.0**n * self._largest ** (n + 2) * value
            for n, value in enumerate(values)
        ]
        derivatives = [
            lambda: g[0],
            lambda: -z * g[1],
            lambda: z**2 * g[2] - g[1],
            lambda: 3 * z * g[2] - z**3 * g[3],
            lambda: 3 * g[2] - 6 * z**2 * g[3] + z**4 * g[4],
        ]
        return [derivative() for derivative in derivatives[: highest + 1]]

    def transform(self, squared: Tensor) -> Tensor:
        """Fourier transform of B_0 in A^-3, at nonzero k^2 in 1/A^2."""
        return self._split.transform(squared) * torch.exp(-(self.probe**2) / 2 * squared)

    @property
    def at_zero_wave(self) -> float:
        """Fourier transform of B_0 at k = 0, A^-3."""
        return self._split.at_zero_wave

    @property
    def _split(self) -> PowerSplit:
        return PowerSplit(6, 1 / (math.sqrt(2) * self.source), math.inf)


def power_moments(argument: Tensor, ratio: float, lowest: int, highest: int) -> tuple[Tensor, ...]:
    """Compute J_lowest to J_highest, with derivatives of any order.

    Parameters
    ----------
    argument : Tensor
        X >= 0, any shape.
    ratio : float
        c, 0 <= c < 1.
    lowest, highest : int

    Returns
    -------
    tuple of Tensor
        ``highest - lowest + 1`` tensors of the shape of ``argument``.
    """
    values: Tensor = _PowerMoments.apply(argument, ratio, lowest, highest)
    return values.unbind(0)


class _PowerMoments(torch.autograd.Function):
    """(highest - lowest + 1, ...) values. The derivative is the same function of one order more."""

    @staticmethod
    def forward(ctx: Any, argument: Tensor, ratio: float, lowest: int, highest: int) -> Tensor:
        ctx.save_for_backward(argument)
        ctx.options = (ratio, lowest, highest)
        return _evaluate(argument, ratio, lowest, highest)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None, None]:
        (argument,) = ctx.saved_tensors
        ratio, lowest, highest = ctx.options
        higher: Tensor = _PowerMoments.apply(argument, ratio, lowest + 1, highest + 1)
        return -(gradients[0] * higher).sum(0), None, None, None


def _evaluate(argument: Tensor, ratio: float, lowest: int, highest: int) -> Tensor:
    """Quadrature in z: w = (1 - exp(-z)) / c, dw (1 - c w)^(-5/2) = exp(3 z / 2) dz / c."""
    end = -torch.log1p(-ratio * (FAR / argument.clamp(min=FAR)))
    total = argument.new_zeros((highest - lowest + 1, *argument.shape))
    for node, weight in _points():
        z = node * end
        w = -torch.expm1(-z) / ratio
        term = torch.exp(1.5 * z - argument * w) * (weight / ratio) * end * w**lowest
        for row in total:
            row += term
            term = term * w
    return total


@cache
def _points() -> list[tuple[float, float]]:
    """Points and weights on (0, 1), dense near 0, where exp(-X w) is large (z = x^2)."""
    nodes, weights = np.polynomial.legendre.leggauss(NODES)
    x = (nodes + 1) / 2
    return list(zip((x**2).tolist(), (x * weights).tolist(), strict=True))
