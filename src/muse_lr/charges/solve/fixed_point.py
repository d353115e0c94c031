r"""Self-consistent solutions x = F(x; t), differentiable to any order.

With J = dF/dx at the solution, the gradient of a loss with respect to the tensors t is

.. math:: \bar t = (\partial_t F)^T z, \qquad z = \bar x + J^T z,

and z is again the self-consistent solution of a differentiable map. Derivatives of any order are
therefore such solutions. They do not depend on the path of the iteration and are exact up to the
tolerance, also for nonlinear maps.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import torch
from torch import Tensor

from muse_lr.charges.solve.anderson import Iteration, anderson


class Map(Protocol):
    """The map F, a function of the unknowns x and of tensors t."""

    def __call__(self, unknowns: Tensor, *tensors: Tensor) -> Tensor:
        """F(x; t), differentiable to any order in all arguments."""

    def frozen(self, *tensors: Tensor) -> Callable[[Tensor], Tensor]:
        """The map x -> F(x; t) for the iteration, not differentiable; t is preprocessed once."""


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
        (n, ...) initial values, which get no gradient.
    tensors : tuple of Tensor
        The tensors t: all differentiable arguments of F.
    options : Iteration
    metric : Tensor or None
        (n, ...) positive weights w for which w J is symmetric (to first order if F is nonlinear).
        With them, unstable solutions are detected; None if there are no such weights.

    Raises
    ------
    InputError
        If the iteration does not converge, or if the solution is unstable, so that the response to
        a small change grows without bound.
    """
    solution: Tensor = _FixedPoint.apply(function, start.detach(), options, metric, *tensors)
    return solution


class _FixedPoint(torch.autograd.Function):
    """The solution. Its backward pass solves the adjoint equation."""

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
                # Views: the dependence of the solution on the tensors is not differentiated.
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
    """The map z -> g + J^T z with the tensors g, x and t."""

    def __init__(self, function: Map) -> None:
        self._function = function

    def __call__(self, unknowns: Tensor, *tensors: Tensor) -> Tensor:
        weight, solution, *rest = tensors
        with torch.enable_grad():
            # A view, so that only the explicit dependence on the solution is differentiated.
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
