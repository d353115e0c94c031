"""Smooth switching functions."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


def smoothstep(x: Tensor) -> Tensor:
    """Quintic S(x) = 6x^5 - 15x^4 + 10x^3, with S = 0 for x <= 0 and S = 1 for x >= 1.

    S is twice continuously differentiable.
    """
    if not x.requires_grad:
        return _polynomial(x)
    values: Tensor = _Smoothstep.apply(x)
    return values


def switch_off(distance: Tensor, inner: Tensor | float, outer: Tensor | float) -> Tensor:
    """Switch from 1 below ``inner`` to 0 above ``outer``, twice continuously differentiable."""
    return 1 - smoothstep((distance - inner) / (outer - inner))


def _polynomial(x: Tensor) -> Tensor:
    x = x.clamp(0, 1)
    return x * x * x * (x * (6 * x - 15) + 10)


class _Smoothstep(torch.autograd.Function):
    """S with its factored derivative S'(x) = 30 (x - x^2)^2.

    The derivative of each factor of the polynomial would need several times as many operations, on
    all pairs of atoms.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return _polynomial(x)

    @staticmethod
    def backward(ctx: Any, slope: Tensor) -> Tensor:
        x = ctx.saved_tensors[0].clamp(0, 1)
        bump = x - x * x
        return 30 * slope * bump * bump
