"""Smooth switching functions."""

from __future__ import annotations

import torch

from muse_lr.math.switching import smoothstep, switch_off


def test_two_derivatives_are_those_of_the_polynomial():
    x = torch.linspace(-0.3, 1.3, 41, dtype=torch.float64, requires_grad=True)
    inside = x.detach().clamp(0, 1)
    values = smoothstep(x)
    (slopes,) = torch.autograd.grad(values.sum(), x, create_graph=True)
    (curvatures,) = torch.autograd.grad(slopes.sum(), x)
    expected = 6 * inside**5 - 15 * inside**4 + 10 * inside**3
    torch.testing.assert_close(values, expected, rtol=0, atol=1e-14)
    torch.testing.assert_close(slopes, 30 * (inside * (1 - inside)) ** 2, rtol=0, atol=1e-14)
    expected = 60 * inside * (1 - inside) * (1 - 2 * inside)
    torch.testing.assert_close(curvatures, expected, rtol=0, atol=1e-14)


def test_gradients_agree_with_differences():
    x = torch.linspace(0.05, 0.95, 7, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(smoothstep, x)
    assert torch.autograd.gradgradcheck(smoothstep, x)


def test_without_gradients_the_values_are_the_same():
    x = torch.linspace(0, 8, 33, requires_grad=True)
    assert torch.equal(switch_off(x.detach(), 2.0, 6.0), switch_off(x, 2.0, 6.0).detach())
