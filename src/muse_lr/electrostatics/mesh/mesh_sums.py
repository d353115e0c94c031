r"""Reciprocal sums on a mesh, with analytical gradients.

.. math:: E = \sum_k w_k |\hat q(k)|^2, \qquad \frac{\partial E}{\partial q(m)} = \phi(m)
          = \sum_k 2 w_k \hat q(k) e^{-2 \pi i k m / n}

The sum runs over one half of the k vectors, and w includes the other half. The map from q to the
potential is linear and symmetric, so that all higher derivatives use the same map. The derivative
of a real transform in torch would be a complex transform of the full mesh, which is four times as
expensive.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

AXES = (1, 2, 3)


def mesh_energy(mesh: Tensor, weights: Tensor) -> Tensor:
    """(g,) sums of w |q(k)|^2, differentiable to any order.

    Parameters
    ----------
    mesh : Tensor
        (g, n1, n2, n3) charges on the mesh.
    weights : Tensor
        (g, n1, n2, n3 // 2 + 1) weights w, doubled for k vectors that also represent -k.
    """
    energy: Tensor = _MeshEnergy.apply(mesh, weights)
    return energy


class _MeshEnergy(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, mesh: Tensor, weights: Tensor) -> Tensor:
        factor = torch.fft.rfftn(mesh, dim=AXES)
        power = _product(factor, factor)
        ctx.save_for_backward(mesh, weights)
        ctx.potential = _inverse(factor, weights, mesh)
        ctx.power = power if ctx.needs_input_grad[1] else None
        return (weights * power).sum(AXES)

    @staticmethod
    def backward(ctx: Any, weight: Tensor) -> tuple[Tensor | None, Tensor | None]:
        mesh, weights = ctx.saved_tensors
        potential, power = ctx.potential, ctx.power
        if torch.is_grad_enabled():
            potential = _Convolution.apply(mesh, weights)
            if power is not None:
                factor = torch.fft.rfftn(mesh, dim=AXES)
                power = _product(factor, factor)
        scale = weight[:, None, None, None]
        return scale * potential, None if power is None else scale * power


class _Convolution(torch.autograd.Function):
    """Potential of charges on a mesh."""

    @staticmethod
    def forward(ctx: Any, mesh: Tensor, weights: Tensor) -> Tensor:
        ctx.save_for_backward(mesh, weights)
        return _inverse(torch.fft.rfftn(mesh, dim=AXES), weights, mesh)

    @staticmethod
    def backward(ctx: Any, weight: Tensor) -> tuple[Tensor | None, Tensor | None]:
        mesh, weights = ctx.saved_tensors
        by_mesh = by_weights = None
        if ctx.needs_input_grad[0]:
            by_mesh = _Convolution.apply(weight, weights)
        if ctx.needs_input_grad[1]:
            factors = (torch.fft.rfftn(values, dim=AXES) for values in (mesh, weight))
            by_weights = 2 * _product(*factors)
        return by_mesh, by_weights


def _product(first: Tensor, second: Tensor) -> Tensor:
    """Re(a* b)."""
    return first.real * second.real + first.imag * second.imag


def _inverse(factor: Tensor, weights: Tensor, mesh: Tensor) -> Tensor:
    """Inverse transform with the weights 2 w.

    The real inverse transform itself includes the vectors -k, so that weights that already include
    them are not doubled again.
    """
    size = mesh.shape[1:]
    share = weights.new_full((factor.shape[3],), 1.0)
    share[0] = 2
    if size[2] % 2 == 0:
        share[-1] = 2
    return torch.fft.irfftn(factor * (weights * share), s=size, dim=AXES, norm="forward")
