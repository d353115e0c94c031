r"""Reciprocal sums of charges, with their first and second derivatives written out.

.. math:: E = \sum_k w_k |S(k)|^2, \qquad S(k) = \sum_i q_i X_i U_i, \quad
          X = e^{2 \pi i n_1 s_1}, \; U = e^{2 \pi i (n_2 s_2 + n_3 s_3)}

for the fractional coordinates s, so that every sum over atoms or waves is a matrix product. With
T = 2 w S*, the potential is Re sum_k T X U and the derivative by s_a is -2 pi q n_a times the
imaginary part of the same sum. Further derivatives are plain torch.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor

from muse_lr.solvers.plain_derivatives import hessian_product

#: fractional coordinates (G, n, 3), charges (G, n), weights (G, K)
Inputs = tuple[Tensor, Tensor, Tensor]
#: The integers along each axis, n_1, n_2, n_3; K is the product of their numbers.
Integers = tuple[Tensor, Tensor, Tensor]


def wave_energy(fractional: Tensor, charges: Tensor, weights: Tensor, integers: Integers) -> Tensor:
    """(G,) energies, differentiable to any order.

    Parameters
    ----------
    fractional : Tensor
        (G, n, 3) fractional coordinates.
    charges : Tensor
        (G, n) in e; 0 where a graph has fewer atoms.
    weights : Tensor
        (G, K), float64: the sum over waves is.
    integers : tuple of Tensor
        (k1,), (k2,), (k3,) with K = k1 k2 k3.
    """
    energy: Tensor = _WaveEnergy.apply(fractional, charges, weights, integers)
    return energy


def phases(fractional: Tensor, integers: Integers) -> tuple[Tensor, Tensor]:
    """X (G, n, k1) and U (G, n, k2 k3)."""
    waves = []
    for axis, n in enumerate(integers):
        angle = 2 * math.pi * fractional[:, :, axis, None] * n
        waves.append(torch.polar(torch.ones_like(angle), angle))
    x, y, z = waves
    return x, (y[..., None] * z[:, :, None, :]).flatten(2)


def plain_energy(
    fractional: Tensor, charges: Tensor, weights: Tensor, integers: Integers
) -> Tensor:
    """(G,) the same energies in plain torch."""
    x, u = phases(fractional, integers)
    factor = (charges[..., None] * x).mT @ u
    power = factor.real.square() + factor.imag.square()
    return (weights * power.flatten(1).to(weights.dtype)).sum(1)


@dataclass(frozen=True)
class _Products:
    """What the first derivatives leave for the second ones.

    Attributes
    ----------
    x, u : Tensor
        The phases, (G, n, k1) and (G, n, k2 k3).
    pull : Tensor
        T (G, k1, k2 k3).
    over_first, over_rest : Tensor
        T X summed over n_1 (G, n, k2 k3), and T U summed over n_2 and n_3 (G, n, k1).
    """

    x: Tensor
    u: Tensor
    pull: Tensor
    over_first: Tensor
    over_rest: Tensor


class _WaveEnergy(torch.autograd.Function):
    """Energies; the gradient is computed beside them."""

    @staticmethod
    def forward(
        ctx: Any, fractional: Tensor, charges: Tensor, weights: Tensor, integers: Integers
    ) -> Tensor:
        x, u = phases(fractional, integers)
        factor = (charges[..., None] * x).mT @ u
        power = (factor.real.square() + factor.imag.square()).flatten(1)
        pull = factor.conj() * (2 * weights).view(factor.shape).to(power.dtype)
        known = _Products(x, u, pull, x @ pull, u @ pull.mT)
        product = known.over_first * u
        slopes = _slopes(product, x * known.over_rest, integers) * charges[..., None]
        ctx.save_for_backward(fractional, charges, weights)
        power = power.to(weights.dtype)
        ctx.gradient = (slopes, product.real.sum(2), power if ctx.needs_input_grad[2] else None)
        ctx.integers, ctx.known = integers, known
        return (weights * power).sum(1)

    @staticmethod
    def backward(ctx: Any, weight: Tensor) -> tuple[Tensor | None, ...]:
        gradient = ctx.gradient
        if torch.is_grad_enabled():
            options = ctx.integers, ctx.known, gradient
            gradient = _WaveGradient.apply(*ctx.saved_tensors, *options)
        slopes, potential, power = gradient
        by_weights = None if power is None else weight[:, None] * power
        own = weight[:, None].to(potential.dtype)
        return own[..., None] * slopes, own * potential, by_weights, None


class _WaveGradient(torch.autograd.Function):
    """The gradient, already known, with its own derivative."""

    @staticmethod
    def forward(
        ctx: Any,
        fractional: Tensor,
        charges: Tensor,
        weights: Tensor,
        integers: Integers,
        known: _Products,
        gradient: tuple[Tensor, Tensor, Tensor | None],
    ) -> tuple[Tensor, Tensor, Tensor | None]:
        ctx.integers, ctx.known = integers, known
        ctx.save_for_backward(fractional, charges, weights)
        ctx.set_materialize_grads(False)
        slopes, potential, power = gradient
        # Copies: an output may not be a tensor that is kept elsewhere.
        return slopes.clone(), potential.clone(), None if power is None else power.clone()

    @staticmethod
    def backward(ctx: Any, *weights: Tensor | None) -> tuple[Tensor | None, ...]:
        if all(weight is None for weight in weights):
            return (None,) * 6
        inputs, wanted = ctx.saved_tensors, ctx.needs_input_grad[:3]
        if torch.is_grad_enabled() or wanted[2]:
            energy = partial(plain_energy, integers=ctx.integers)
            product = hessian_product(energy, inputs, weights, wanted)
        else:
            product = (*_hessian_product(inputs, ctx.integers, ctx.known, weights), None)
        return (*product, None, None, None)


def _hessian_product(
    inputs: Inputs, integers: Integers, known: _Products, along: tuple[Tensor | None, ...]
) -> tuple[Tensor, Tensor]:
    """The change of the gradient when coordinates and charges change ``along`` a direction."""
    _, charges, weights = inputs
    x, u, pull = known.x, known.u, known.pull
    gain, moved = charges.new_zeros(charges.shape), torch.zeros_like(x)
    if along[1] is not None:
        gain, moved = along[1], along[1][..., None] * x
    if along[0] is None:
        moved_factor = moved.mT @ u
    else:
        turn = 2j * math.pi * along[0]
        turned_x = (turn[..., :1] * integers[0]) * x
        turned_u = (turn[..., 1:] @ _pairs_of(integers).mT.to(turn.dtype)) * u
        moved = moved + charges[..., None] * turned_x
        moved_factor = moved.mT @ u
        moved_factor = torch.baddbmm(moved_factor, (charges[..., None] * x).mT, turned_u)
    moved_pull = moved_factor.conj() * (2 * weights).view(moved_factor.shape).to(charges.dtype)
    over_first, over_rest = x @ moved_pull, u @ moved_pull.mT
    if along[0] is not None:
        over_first = torch.baddbmm(over_first, turned_x, pull)
        over_rest = torch.baddbmm(over_rest, turned_u, pull.mT)
    product = over_first * u
    rest = x * over_rest
    if along[0] is not None:
        product = product + known.over_first * turned_u
        rest = rest + turned_x * known.over_rest
    slopes = _slopes(product, rest, integers) * charges[..., None]
    if along[1] is not None:
        before = _slopes(known.over_first * u, x * known.over_rest, integers)
        slopes = slopes + before * gain[..., None]
    return slopes, product.real.sum(2)


def _slopes(product: Tensor, over_waves: Tensor, integers: Integers) -> Tensor:
    """(G, n, 3) derivatives by the coordinates, for charges of 1.

    Parameters
    ----------
    product : Tensor
        (G, n, k2 k3) T X U summed over n_1.
    over_waves : Tensor
        (G, n, k1) T X U summed over n_2 and n_3.
    """
    first = over_waves.imag @ integers[0]
    rest = product.imag @ _pairs_of(integers)
    return -2 * math.pi * torch.cat([first[..., None], rest], 2)


def _pairs_of(integers: Integers) -> Tensor:
    """(k2 k3, 2) n_2 and n_3."""
    return torch.cartesian_prod(*integers[1:])
