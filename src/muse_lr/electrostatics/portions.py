r"""Sums in portions whose memory is bounded, with derivatives of any order.

.. math:: E(t) = \sum_p E^{(p)}(t)

The derivatives of a sum in plain torch need the intermediate results of all terms. Here a sum over
k vectors or pairs is divided into portions p. It stores its tensors t only. Its gradient

.. math:: \bar t = \sum_p \partial_t [\bar E \cdot E^{(p)}(t)]

is a sum over the same portions, as a function of t and :math:`\bar E`. Each portion is computed
again. Gradients of gradients are therefore available in any order, and no order needs more memory
than the intermediate results of one portion.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from muse_lr.math.plain_derivatives import wanted_inputs

#: Approximate memory of the intermediate results of one portion of a sum, with its derivatives.
PORTION_BYTES = 256 * 2**20

#: Maps a portion and tensors to sums over this portion.
Sums = Callable[..., tuple[Tensor, ...]]


def sum_portions(
    function: Callable[..., Tensor], portions: Sequence[Any], tensors: Sequence[Tensor]
) -> Tensor:
    """Sum ``function(portion, *tensors)`` over portions, differentiable to any order.

    A single portion is computed by plain torch.

    Parameters
    ----------
    function : callable
        Function of a portion and of the tensors that returns a tensor. It is called for each
        portion, and again for each derivative. All tensors that it differentiates are arguments.
    portions : sequence
        At least one.
    tensors : sequence of Tensor
    """
    if len(portions) == 1:
        return function(portions[0], *tensors)
    # Views, because torch cannot report whether the gradient of a leaf tensor is needed.
    views = [tensor.view_as(tensor) for tensor in tensors]
    total: Tensor = _Portions.apply(*views, _Single(function), portions)[0]
    return total


@dataclass(frozen=True)
class _Single:
    """A function with one result as a function with a tuple of results."""

    function: Callable[..., Tensor]

    def __call__(self, portion: Any, *tensors: Tensor) -> tuple[Tensor, ...]:
        return (self.function(portion, *tensors),)


class _Portions(torch.autograd.Function):
    """Sums over portions. Their gradient is a sum over the same portions."""

    @staticmethod
    def forward(ctx: Any, *arguments: Any) -> tuple[Tensor, ...]:
        *tensors, function, portions = arguments
        ctx.function, ctx.portions = function, portions
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(*tensors)
        # Copies, because a gradient can be one of the tensors.
        totals = [value.clone() for value in function(portions[0], *tensors)]
        for portion in portions[1:]:
            for total, value in zip(totals, function(portion, *tensors), strict=True):
                total += value
        return tuple(totals)

    @staticmethod
    def backward(ctx: Any, *weights: Tensor | None) -> tuple[Tensor | None, ...]:
        tensors = ctx.saved_tensors
        wanted = wanted_inputs(ctx, len(tensors))
        given = [weight for weight in weights if weight is not None]
        found: list[Tensor | None] = [None] * len(tensors)
        if given and any(wanted):
            pull = _Pull(ctx.function, [weight is not None for weight in weights], wanted)
            views = [tensor.view_as(tensor) for tensor in (*given, *tensors)]
            gradients = iter(_Portions.apply(*views, pull, ctx.portions))
            found = [next(gradients) if each else None for each in wanted]
        return *found, None, None


@dataclass(frozen=True)
class _Pull:
    """Gradient of weighted sums over a portion, as sums over the portion.

    Attributes
    ----------
    function : callable
        The sums.
    given : list of bool
        For each sum, whether it has a weight; the others are not used.
    wanted : list of bool
        For each tensor, whether its gradient is computed.
    """

    function: Sums
    given: list[bool]
    wanted: list[bool]

    def __call__(self, portion: Any, *arguments: Tensor) -> tuple[Tensor, ...]:
        """Gradients of the wanted tensors; the arguments are the weights and then the tensors."""
        count = sum(self.given)
        weights, tensors = arguments[:count], arguments[count:]
        keep = torch.is_grad_enabled()
        with torch.enable_grad():
            # Aliases separate the tensors from their own graph.
            aliases = [tensor.view_as(tensor) if keep else tensor.detach() for tensor in tensors]
            asked = [alias for alias, each in zip(aliases, self.wanted, strict=True) if each]
            for alias in asked:
                alias.requires_grad_(True)
            values = self.function(portion, *aliases)
            used = [value for value, each in zip(values, self.given, strict=True) if each]
        pairs = [
            (value, weight)
            for value, weight in zip(used, weights, strict=True)
            if value.requires_grad
        ]
        if not pairs:
            return tuple(torch.zeros_like(alias) for alias in asked)
        return torch.autograd.grad(
            [value for value, _ in pairs],
            asked,
            [weight for _, weight in pairs],
            create_graph=keep,
            materialize_grads=True,
        )
