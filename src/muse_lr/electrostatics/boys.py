r"""The Boys functions, whose derivatives are Boys functions again.

.. math:: F_n(x) = \int_0^1 t^{2n} e^{-x t^2} dt, \qquad F_n' = -F_{n+1}.

They are entire functions of x, so that the Coulomb interaction of Gaussians, written with them and
with the squared distance, has every derivative at every distance, zero included.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

#: Below this argument the series is summed, above it the upward recursion loses no digits.
SERIES_LIMIT = 4.0
#: Terms of the series: (2x)^k / (2k + 1)!! is below 1e-17 at the limit.
SERIES_TERMS = 34


def boys(argument: Tensor, highest: int) -> tuple[Tensor, ...]:
    """F_0 to F_highest, differentiable to any order.

    Parameters
    ----------
    argument : Tensor
        x >= 0, any shape.
    highest : int
        Highest order, at most about 12 for full precision.

    Returns
    -------
    tuple of Tensor
        ``highest + 1`` tensors of the shape of ``argument``.
    """
    values: Tensor = _Boys.apply(argument, 0, highest)
    return values.unbind(0)


class _Boys(torch.autograd.Function):
    """(highest - lowest + 1, ...) values; the backward pass is the same function one order up."""

    @staticmethod
    def forward(ctx: Any, argument: Tensor, lowest: int, highest: int) -> Tensor:
        ctx.save_for_backward(argument)
        ctx.orders = (lowest, highest)
        return _evaluate(argument, lowest, highest)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        (argument,) = ctx.saved_tensors
        lowest, highest = ctx.orders
        higher: Tensor = _Boys.apply(argument, lowest + 1, highest + 1)
        return -(gradients[0] * higher).sum(0), None, None


def _evaluate(argument: Tensor, lowest: int, highest: int) -> Tensor:
    values = _upward(argument.clamp(min=SERIES_LIMIT), lowest, highest)
    small = argument < SERIES_LIMIT
    if bool(small.any()):
        values[:, small] = _downward(argument[small], lowest, highest)
    return values


def _upward(x: Tensor, lowest: int, highest: int) -> Tensor:
    """F_0 = sqrt(pi / 4x) erf(sqrt x), F_{n+1} = ((2n + 1) F_n - exp(-x)) / 2x."""
    root = x.sqrt()
    value = (math.sqrt(math.pi) / 2) * torch.erf(root) / root
    kept = [value]
    if highest > 0:
        decay = torch.exp(-x)
        twice = 2 * x
        for n in range(highest):
            value = ((2 * n + 1) * value - decay) / twice
            kept.append(value)
    return torch.stack(kept[lowest:])


def _downward(x: Tensor, lowest: int, highest: int) -> Tensor:
    """F_N = exp(-x) sum_k (2x)^k / [(2N + 1)(2N + 3) .. (2N + 2k + 1)], then the recursion down."""
    twice = 2 * x
    term = torch.full_like(x, 1 / (2 * highest + 1))
    total = term.clone()
    for k in range(1, SERIES_TERMS):
        term *= twice / (2 * (highest + k) + 1)
        total += term
    decay = torch.exp(-x)
    value = decay * total
    kept = [value]
    for n in range(highest - 1, lowest - 1, -1):
        value = (twice * value + decay) / (2 * n + 1)
        kept.append(value)
    return torch.stack(kept[::-1])
