r"""Reciprocal sums of charges with analytical first and second derivatives.

.. math:: E = \sum_k w_k |S(k)|^2, \qquad S(k) = \sum_i q_i X_i U_i, \quad
          X = e^{2 \pi i n_1 s_1}, \; U = e^{2 \pi i (n_2 s_2 + n_3 s_3)}

where s are the fractional coordinates. Every sum over atoms or k vectors is a matrix product. With
T = 2 w S*, the potential at an atom is :math:`\phi = \mathrm{Re} \sum_k T X U`. The derivative with
respect to its coordinates is :math:`-2 \pi q D` with :math:`D_c = \mathrm{Im} \sum_k n_c T X U`. If
the coordinates and charges change by a and b, S changes by
:math:`S' = \sum_i [b + 2 \pi i q \, (a \cdot n)] X U`. With T' = 2 w S'*, the derivatives become

.. math:: \phi \to \phi[T'] - 2 \pi \, a \cdot D, \qquad
          -2 \pi q D_c \to -2 \pi \Bigl( b D_c + q D_c[T'] + 2 \pi q \sum_d M_{cd} a_d \Bigr)

with :math:`M_{cd} = \mathrm{Re} \sum_k n_c n_d T X U`. Higher derivatives use plain torch.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor

from muse_lr.electrostatics.ewald.waves import WaveNumbers, phases
from muse_lr.math.plain_derivatives import hessian_product, wanted_inputs

#: Fractional coordinates (G, n, 3), charges (G, n) and weights (G, K).
Inputs = tuple[Tensor, Tensor, Tensor]


def wave_energy(
    fractional: Tensor, charges: Tensor, weights: Tensor, numbers: WaveNumbers
) -> Tensor:
    """(G,) energies, differentiable to any order.

    Parameters
    ----------
    fractional : Tensor
        (G, n, 3) fractional coordinates.
    charges : Tensor
        (G, n) in e; 0 for padded atoms.
    weights : Tensor
        (G, K), float64. The sum over k vectors is in float64.
    numbers : WaveNumbers
    """
    if not torch.is_grad_enabled():
        return plain_energy(fractional, charges, weights, numbers)
    # Views, because torch cannot report whether the gradient of a leaf tensor is needed.
    inputs = (value.view_as(value) for value in (fractional, charges, weights))
    energy: Tensor = _WaveEnergy.apply(*inputs, numbers)
    return energy


def plain_energy(
    fractional: Tensor, charges: Tensor, weights: Tensor, numbers: WaveNumbers
) -> Tensor:
    """(G,) energies as in :func:`wave_energy`, in plain torch."""
    x, u = phases(fractional, numbers)
    factor = (charges[..., None] * x).mT @ u
    power = factor.real.square() + factor.imag.square()
    return (weights * power.flatten(1).to(weights.dtype)).sum(1)


@dataclass(frozen=True)
class _Sums:
    """Results of the first derivatives that the second derivatives reuse.

    Attributes
    ----------
    x, u : Tensor
        Phases X and U, (G, n, k1) and (G, n, k23).
    pull : Tensor
        (G, k1, k23) T.
    lines : Tensor
        (G, n, 3, k1) sums of T X U times 1, n_2 and n_3 over n_2 and n_3.
    potential : Tensor
        (G, n) phi.
    slopes : Tensor
        (G, n, 3) D.
    """

    x: Tensor
    u: Tensor
    pull: Tensor
    lines: Tensor
    potential: Tensor
    slopes: Tensor


def _sums(x: Tensor, u: Tensor, pull: Tensor, numbers: WaveNumbers) -> _Sums:
    """Sums over all k vectors at each atom."""
    lines = _lines(x, u, [pull, *(n * pull for n in numbers.pairs.unbind(1))])
    turned = lines.imag
    slopes = torch.cat([turned[:, :, :1] @ numbers.first, turned[:, :, 1:].sum(3)], 2)
    return _Sums(x, u, pull, lines, lines.real[:, :, 0].sum(2), slopes)


def _lines(x: Tensor, u: Tensor, pulls: list[Tensor]) -> Tensor:
    """(G, n, c, k1) sums over n_2 and n_3 for each of c tensors in ``pulls``.

    The matrix product sums over the longer axis k23, so that no tensor with the size of all atoms
    times all k vectors is created.
    """
    sums = u @ torch.stack(pulls, 1).flatten(1, 2).mT
    return sums.unflatten(2, (len(pulls), -1)) * x[:, :, None]


class _WaveEnergy(torch.autograd.Function):
    """Energies, whose gradient is computed in the forward pass."""

    @staticmethod
    def forward(
        ctx: Any, fractional: Tensor, charges: Tensor, weights: Tensor, numbers: WaveNumbers
    ) -> Tensor:
        x, u = phases(fractional, numbers)
        factor = (charges[..., None] * x).mT @ u
        power = (factor.real.square() + factor.imag.square()).flatten(1)
        sums = _sums(x, u, _pull(factor, weights), numbers)
        slopes = -2 * math.pi * charges[..., None] * sums.slopes
        ctx.save_for_backward(fractional, charges, weights)
        power = power.to(weights.dtype)
        ctx.gradient = (slopes, sums.potential, power if ctx.needs_input_grad[2] else None)
        ctx.numbers, ctx.known = numbers, sums
        return (weights * power).sum(1)

    @staticmethod
    def backward(ctx: Any, weight: Tensor) -> tuple[Tensor | None, ...]:
        gradient = ctx.gradient
        if torch.is_grad_enabled():
            options = ctx.numbers, ctx.known, gradient
            gradient = _WaveGradient.apply(*ctx.saved_tensors, *options)
        slopes, potential, power = gradient
        by_weights = None if power is None else weight[:, None] * power
        own = weight[:, None].to(potential.dtype)
        return own[..., None] * slopes, own * potential, by_weights, None


class _WaveGradient(torch.autograd.Function):
    """Gradient from the forward pass of the energy, with its own derivative."""

    @staticmethod
    def forward(
        ctx: Any,
        fractional: Tensor,
        charges: Tensor,
        weights: Tensor,
        numbers: WaveNumbers,
        known: _Sums,
        gradient: tuple[Tensor, Tensor, Tensor | None],
    ) -> tuple[Tensor, Tensor, Tensor | None]:
        ctx.numbers, ctx.known = numbers, known
        ctx.save_for_backward(fractional, charges, weights)
        ctx.set_materialize_grads(False)
        slopes, potential, power = gradient
        # Copies, because autograd would attach a graph to the stored tensors.
        return slopes.clone(), potential.clone(), None if power is None else power.clone()

    @staticmethod
    def backward(ctx: Any, *weights: Tensor | None) -> tuple[Tensor | None, ...]:
        if all(weight is None for weight in weights):
            return (None,) * 6
        inputs, wanted = ctx.saved_tensors, wanted_inputs(ctx, 3)
        if torch.is_grad_enabled() or wanted[2] or weights[2] is not None:
            energy = partial(plain_energy, numbers=ctx.numbers)
            product = hessian_product(energy, inputs, weights, wanted)
        else:
            product = _hessian_product(inputs, ctx.numbers, ctx.known, weights, wanted[0])
            product = (*product, None)
        return (*product, None, None, None)


def _hessian_product(
    inputs: Inputs,
    numbers: WaveNumbers,
    known: _Sums,
    along: tuple[Tensor | None, ...],
    by_coordinates: bool,
) -> tuple[Tensor | None, Tensor]:
    """Directional derivative of the gradient for changes ``along`` of coordinates and charges."""
    _, charges, weights = inputs
    moved = _pull(_moved_factor(charges, known, along[0], along[1], numbers), weights)
    turn = None if along[0] is None else 2 * math.pi * along[0]
    if not by_coordinates:
        potential = _lines(known.x, known.u, [moved]).real.sum((2, 3))
        return None, potential if turn is None else potential - (turn * known.slopes).sum(2)
    sums = _sums(known.x, known.u, moved, numbers)
    potential, slopes = sums.potential, charges[..., None] * sums.slopes
    if turn is not None:
        potential = potential - (turn * known.slopes).sum(2)
        bend = torch.einsum("gncd,gnd->gnc", _second_moments(known, numbers), turn)
        slopes = slopes + charges[..., None] * bend
    if along[1] is not None:
        slopes = slopes + along[1][..., None] * known.slopes
    return -2 * math.pi * slopes, potential


def _moved_factor(
    charges: Tensor,
    known: _Sums,
    along_coordinates: Tensor | None,
    along_charges: Tensor | None,
    numbers: WaveNumbers,
) -> Tensor:
    """(G, k1, k23) S'."""
    zero = torch.zeros_like(charges)
    change = zero if along_charges is None else along_charges
    if along_coordinates is None:
        return (change[..., None] * known.x).mT @ known.u
    turn = 2 * math.pi * charges[..., None] * along_coordinates
    first = torch.complex(change[..., None].expand(known.x.shape), turn[..., :1] * numbers.first)
    rest = torch.complex(torch.zeros_like(turn), turn)[..., 1:, None] * known.x[:, :, None]
    lines = torch.cat([first * known.x, rest.flatten(2)], 2)
    products = (lines.mT @ known.u).unflatten(1, (3, -1))
    n2, n3 = numbers.pairs.unbind(1)
    return products[:, 0] + n2 * products[:, 1] + n3 * products[:, 2]


def _second_moments(known: _Sums, numbers: WaveNumbers) -> Tensor:
    """(G, n, 3, 3) M."""
    n2, n3 = numbers.pairs.unbind(1)
    mixed = known.lines.real[:, :, 1:] @ numbers.first
    m12, m13 = mixed.unbind(2)
    m11 = known.lines.real[:, :, 0] @ numbers.first.square()
    squares = _lines(known.x, known.u, [n * known.pull for n in (n2 * n2, n2 * n3, n3 * n3)])
    m22, m23, m33 = squares.real.sum(3).unbind(2)
    entries = [m11, m12, m13, m12, m22, m23, m13, m23, m33]
    return torch.stack(entries, 2).unflatten(2, (3, 3))


def _pull(factor: Tensor, weights: Tensor) -> Tensor:
    """T = 2 w S*."""
    doubled = (2 * weights).view(factor.shape).to(factor.real.dtype)
    return torch.complex(factor.real * doubled, -factor.imag * doubled)
