"""Smooth switching functions."""

from __future__ import annotations

from torch import Tensor


def smoothstep(x: Tensor) -> Tensor:
    """The quintic S(x) = 6x^5 - 15x^4 + 10x^3, 0 for x <= 0 and 1 for x >= 1; twice continuous."""
    x = x.clamp(0, 1)
    return x * x * x * (x * (6 * x - 15) + 10)


def switch_off(distance: Tensor, inner: Tensor | float, outer: Tensor | float) -> Tensor:
    """1 below ``inner``, 0 above ``outer``, twice continuously differentiable between."""
    return 1 - smoothstep((distance - inner) / (outer - inner))
