"""Smooth switching functions."""

from __future__ import annotations

from torch import Tensor


def smoothstep(x: Tensor) -> Tensor:
    """Quintic S(x) = 6x^5 - 15x^4 + 10x^3, with S = 0 for x <= 0 and S = 1 for x >= 1.

    S is twice continuously differentiable.
    """
    x = x.clamp(0, 1)
    return x * x * x * (x * (6 * x - 15) + 10)


def switch_off(distance: Tensor, inner: Tensor | float, outer: Tensor | float) -> Tensor:
    """Switch from 1 below ``inner`` to 0 above ``outer``, twice continuously differentiable."""
    return 1 - smoothstep((distance - inner) / (outer - inner))
