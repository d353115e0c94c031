r"""Minima of quadratic energies at fixed total charges, differentiable to any order.

The minimum of :math:`\tfrac12 x^T H x - b^T x` with :math:`\sum_{i \in g} x_i = Q_g` in each graph
g satisfies

.. math:: H x + 1 \lambda = b, \qquad 1^T x = Q,

Its gradients with respect to b and the tensors t, which define H, are

.. math:: \bar b = z, \qquad \bar t = -\partial_t (z^T H x), \qquad
          H z + 1 \zeta = \bar x, \quad 1^T z = 0.

The derivative of a solution is thus a solution of the same equations. Since z is differentiable in
the same way, derivatives of any order are available. H is not stored for them.
"""

from __future__ import annotations

from typing import Any, Protocol

import torch
from torch import Tensor


class Quadratic(Protocol):
    """A symmetric H, positive definite for charges that sum to zero in each graph."""

    def solve(self, force: Tensor, totals: Tensor) -> Tensor:
        """(n,) solution x of H x + lambda = b with the totals Q, not differentiable.

        Parameters
        ----------
        force : Tensor
            (n,) b, eV/e.
        totals : Tensor
            (n_graphs,) Q, e.
        """

    def product(self, first: Tensor, second: Tensor, *tensors: Tensor) -> Tensor:
        """The scalar z.H.x with H from ``tensors``, differentiable in all arguments."""


def minimum(form: Quadratic, force: Tensor, totals: Tensor, tensors: tuple[Tensor, ...]) -> Tensor:
    """(n,) position x of the minimum, differentiable in ``force`` and ``tensors`` to any order.

    Parameters
    ----------
    form : Quadratic
        Its ``solve`` must use the current values of ``tensors``.
    force : Tensor
        (n,) b, eV/e.
    totals : Tensor
        (n_graphs,) Q, e.
    tensors : tuple of Tensor
        The tensors t, which define H.
    """
    solution: Tensor = _Minimum.apply(form, force, totals, *tensors)
    return solution


class _Minimum(torch.autograd.Function):
    """The solution. Its backward pass solves the same equations."""

    @staticmethod
    def forward(
        ctx: Any, form: Quadratic, force: Tensor, totals: Tensor, *tensors: Tensor
    ) -> Tensor:
        solution = form.solve(force, totals)
        ctx.form = form
        ctx.save_for_backward(solution, totals, *tensors)
        return solution

    @staticmethod
    def backward(ctx: Any, weight: Tensor) -> tuple[Tensor | None, ...]:
        solution, totals, *tensors = ctx.saved_tensors
        again = torch.is_grad_enabled()
        adjoint = minimum(ctx.form, weight, torch.zeros_like(totals), tuple(tensors))
        gradients: list[Tensor | None] = [None] * len(tensors)
        wanted = [i for i, needed in enumerate(ctx.needs_input_grad[3:]) if needed]
        if wanted:
            with torch.enable_grad():
                # Views: the dependence of the solution on the tensors is not differentiated.
                views = [tensor.view_as(tensor) for tensor in tensors]
                value = -ctx.form.product(adjoint, solution, *views)
                found = torch.autograd.grad(
                    value, [views[i] for i in wanted], create_graph=again, materialize_grads=True
                )
            for i, gradient in zip(wanted, found, strict=True):
                gradients[i] = gradient
        return None, adjoint, None, *gradients


def bordered_solve(
    factors: tuple[Tensor, Tensor], present: Tensor, force: Tensor, totals: Tensor
) -> Tensor:
    """(G, n) solutions of G bordered systems, from the factors of :func:`bordered_factors`.

    Parameters
    ----------
    factors : tuple of Tensor
    present : Tensor
        (G, n) of bool, False for padding.
    force : Tensor
        (G, n) b.
    totals : Tensor
        (G,) Q.
    """
    right = torch.cat([force * present, totals[:, None]], dim=1)
    return torch.linalg.lu_solve(*factors, right[:, :, None])[:, :-1, 0]


def bordered_factors(matrix: Tensor, present: Tensor) -> tuple[Tensor, Tensor]:
    """LU factors of G systems H x + 1 lambda = b, 1.x = Q.

    Parameters
    ----------
    matrix : Tensor
        (G, n, n) symmetric H, zero in the padding.
    present : Tensor
        (G, n) of bool, False for padding.
    """
    count, size = present.shape
    bordered = matrix.new_zeros((count, size + 1, size + 1))
    bordered[:, :size, :size] = matrix
    bordered[:, :size, size] = bordered[:, size, :size] = present.to(matrix.dtype)
    bordered.diagonal(dim1=1, dim2=2)[:, :size] += ~present
    # A graph without atoms has no charge to constrain.
    bordered[:, size, size] += ~present.any(1)
    factors, pivots = torch.linalg.lu_factor(bordered)
    return factors, pivots
