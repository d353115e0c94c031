r"""Boys functions, differentiable to any order.

.. math:: F_n(x) = \int_0^1 t^{2n} e^{-x t^2} dt, \qquad F_n' = -F_{n+1}.

The Boys functions are entire functions of x. The Coulomb interaction of Gaussians, written with
Boys functions of the squared distance, therefore has all derivatives at all distances, including
zero.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

#: The series is used below this argument. Above it the upward recursion is numerically stable.
SERIES_LIMIT = 4.0
#: Number of terms of the series. At the limit, (2x)^k / (2k + 1)!! is below 1e-17.
SERIES_TERMS = 34


def boys(argument: Tensor, highest: int) -> tuple[Tensor, ...]:
    """Boys functions F_0 to F_highest, differentiable to any order.

    Parameters
    ----------
    argument : Tensor
        x >= 0, of any shape.
    highest : int
        Highest order. Full precision is obtained up to about 12.

    Returns
    -------
    tuple of Tensor
        ``highest + 1`` tensors with the shape of ``argument``.
    """
    values: Tensor = _Boys.apply(argument, 0, highest)
    return values.unbind(0)


class _Boys(torch.autograd.Function):
    """(highest - lowest + 1, ...) values. The backward pass uses the same function at n + 1."""

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
    """Upward recursion F_{n+1} = ((2n + 1) F_n - exp(-x)) / 2x, F_0 = sqrt(pi / 4x) erf(sqrt x)."""
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
    """Downward recursion from F_N = exp(-x) sum_k (2x)^k / [(2N + 1)(2N + 3) .. (2N + 2k + 1)]."""
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
