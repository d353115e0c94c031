r"""Self-consistent solutions x = F(x; t), differentiable to any order.

With J = dF/dx at the solution, the gradient of a loss by what F depends on is

.. math:: \bar t = (\partial_t F)^T z, \qquad z = \bar x + J^T z,

and z is again a self-consistent solution of a map that can be differentiated, so that every
derivative is one. It does not depend on the path of the iteration, only on its end: exact up to the
tolerance, for maps that are not linear too.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import torch
from torch import Tensor

from muse_lr.charges.solve.anderson import Iteration, anderson


class Map(Protocol):
    """F, a function of the unknowns and of tensors."""

    def __call__(self, unknowns: Tensor, *tensors: Tensor) -> Tensor:
        """F(x; t), differentiable to any order in all arguments."""

    def frozen(self, *tensors: Tensor) -> Callable[[Tensor], Tensor]:
        """x -> F(x; t) for the iteration, without a graph; what x does not change is done once."""


def fixed_point(
    function: Map,
    start: Tensor,
    tensors: tuple[Tensor, ...],
    options: Iteration,
    metric: Tensor | None,
) -> Tensor:
    """The solution of x = F(x; t), differentiable in ``tensors``.

    Parameters
    ----------
    function : Map
    start : Tensor
        (n, ...) where the iteration begins; no gradient flows to it.
    tensors : tuple of Tensor
        t: everything differentiable that F depends on.
    options : Iteration
    metric : Tensor or None
        (n, ...) positive weights w with which w J is symmetric (to first order, if F is not
        linear): then instabilities are recognized; None if there are none.

    Raises
    ------
    InputError
        If the iteration does not converge, or what it found is unstable: the response to a small
        change would grow without end.
    """
    solution: Tensor = _FixedPoint.apply(function, start.detach(), options, metric, *tensors)
    return solution


class _FixedPoint(torch.autograd.Function):
    """The solution; its backward is a solution of the adjoint map."""

    @staticmethod
    def forward(
        ctx: Any,
        function: Map,
        start: Tensor,
        options: Iteration,
        metric: Tensor | None,
        *tensors: Tensor,
    ) -> Tensor:
        solution = anderson(function.frozen(*tensors), start, options, metric)
        ctx.function, ctx.options = function, options
        ctx.save_for_backward(solution, *tensors)
        return solution

    @staticmethod
    def backward(ctx: Any, weight: Tensor) -> tuple[Tensor | None, ...]:
        solution, *tensors = ctx.saved_tensors
        again = torch.is_grad_enabled()
        adjoint = fixed_point(
            _Adjoint(ctx.function), weight, (weight, solution, *tensors), ctx.options, None
        )
        gradients: list[Tensor | None] = [None] * len(tensors)
        wanted = [i for i, needed in enumerate(ctx.needs_input_grad[4:]) if needed]
        if wanted:
            with torch.enable_grad():
                # Views: the solution depends on the tensors as well, and that path is not followed.
                views = [tensor.view_as(tensor) for tensor in tensors]
                value = ctx.function(solution, *views)
                found = torch.autograd.grad(
                    value,
                    [views[i] for i in wanted],
                    adjoint,
                    create_graph=again,
                    materialize_grads=True,
                )
            for i, gradient in zip(wanted, found, strict=True):
                gradients[i] = gradient
        return None, None, None, None, *gradients


class _Adjoint:
    """z -> g + J^T z, with g, x and t as its tensors."""

    def __init__(self, function: Map) -> None:
        self._function = function

    def __call__(self, unknowns: Tensor, *tensors: Tensor) -> Tensor:
        weight, solution, *rest = tensors
        with torch.enable_grad():
            # The derivative by the solution alone, not along the path to what made it.
            point = solution.view_as(solution)
            if not point.requires_grad:
                point = point.detach().requires_grad_(True)
            value = self._function(point, *rest)
            (pulled,) = torch.autograd.grad(value, point, unknowns, create_graph=True)
        return weight + pulled

    def frozen(self, *tensors: Tensor) -> Callable[[Tensor], Tensor]:
        weight, solution, *rest = (tensor.detach() for tensor in tensors)
        with torch.enable_grad():
            point = solution.requires_grad_(True)
            value = self._function(point, *rest)

        def pull(unknowns: Tensor) -> Tensor:
            (pulled,) = torch.autograd.grad(value, point, unknowns, retain_graph=True)
            return weight + pulled

        return pull
