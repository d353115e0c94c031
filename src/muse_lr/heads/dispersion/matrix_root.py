r"""Square roots of Hermitian matrices with derivatives of any order.

The derivative of an eigenvalue problem divides by differences of eigenvalues, which are zero for
symmetric structures. The root :math:`R = A^{1/2}` itself is smooth. Its derivative solves
:math:`R\, dR + dR\, R = dA`. In terms of the eigenvalues r and eigenvectors V of R,

.. math:: L_R(G) = V \frac{V^\dagger G V}{r_i + r_j} V^\dagger ,

which divides only by sums of positive numbers. Its derivatives are solutions of the same equation.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


class NotPositiveError(ValueError):
    """A matrix has an eigenvalue that is not positive.

    Parameters
    ----------
    values : Tensor
        (..., n) eigenvalues.
    """

    def __init__(self, values: Tensor) -> None:
        super().__init__("a matrix is not positive definite")
        self.values = values


def matrix_root(matrix: Tensor) -> Tensor:
    """Positive square root of Hermitian matrices, (..., n, n).

    Parameters
    ----------
    matrix : Tensor
        (..., n, n), real or complex, positive definite.

    Raises
    ------
    NotPositiveError
        If a matrix is not positive definite.
    """
    root: Tensor = _Root.apply(matrix)
    return root


class _Root(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, matrix: Tensor) -> Tensor:
        values, vectors = torch.linalg.eigh(matrix)
        if not bool((values > 0).all()):
            raise NotPositiveError(values)
        values = values.sqrt()
        root: Tensor = (vectors * values[..., None, :]) @ vectors.mH
        ctx.spectrum = values, vectors
        ctx.save_for_backward(root)
        return root

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        (root,) = ctx.saved_tensors
        solution: Tensor = _Solution.apply(root, gradient, *ctx.spectrum)
        return solution


class _Solution(torch.autograd.Function):
    """Solution X of R X + X R = G."""

    @staticmethod
    def forward(ctx: Any, root: Tensor, right: Tensor, values: Tensor, vectors: Tensor) -> Tensor:
        inner = vectors.mH @ right.to(vectors.dtype) @ vectors
        inner = inner / (values[..., :, None] + values[..., None, :])
        solution: Tensor = vectors @ inner @ vectors.mH
        ctx.spectrum = values, vectors
        ctx.save_for_backward(root, solution)
        return solution

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        root, solution = ctx.saved_tensors
        by_right = _Solution.apply(root, gradient, *ctx.spectrum)
        by_root = -(by_right @ solution.mH + solution.mH @ by_right)
        return by_root, by_right, None, None
