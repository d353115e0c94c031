r"""Anderson's method for x = F(x) (D. G. Anderson, J. ACM 12, 547 (1965)).

Each step takes the combination of the last steps with the smallest residual and adds a fraction of
this residual,

.. math:: x' = x + \beta f - \sum_j \gamma_j (\Delta x_j + \beta \Delta f_j), \qquad f = F(x) - x.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from muse_lr.errors import InputError
from muse_lr.structures.graph import sum_nodes

#: Number of steps that are combined.
HISTORY = 8
#: Rounding-error thresholds of the stability test, for directions of the history relative to the
#: longest one, and for steps relative to the unknowns.
RANK, SMALL = 1e-8, 1e-7
#: Regularization of the normal equations, relative.
DAMPING = 1e-14
#: A solution is unstable if the response is amplified by more than the inverse of this.
MARGIN = 1e-6


@dataclass(frozen=True)
class Iteration:
    """Options of the iteration.

    Attributes
    ----------
    graph_index : Tensor
        (n,) graph of each row of the unknowns. All graphs are iterated together, and each stops
        when it has converged.
    num_graphs : int
    mixing : float
        Mixing parameter beta.
    tolerance : float
        Largest residual at convergence, relative to the larger of the largest initial and current
        values.
    limit : int
        Maximum number of iterations.
    """

    graph_index: Tensor
    num_graphs: int
    mixing: float
    tolerance: float
    limit: int


@torch.no_grad()
def anderson(
    function: Callable[[Tensor], Tensor],
    start: Tensor,
    options: Iteration,
    metric: Tensor | None,
) -> Tensor:
    """Iterate from ``start`` until every graph has converged.

    Parameters
    ----------
    function : callable
        The map F of (n, ...) unknowns.
    start : Tensor
        (n, ...) initial values.
    options : Iteration
    metric : Tensor or None
        (n, ...) positive weights w for which w dF/dx is symmetric. With None, stability is not
        tested.

    Raises
    ------
    InputError
        If it does not converge, or the solution is unstable.
    """
    unknowns, history = start, _History(options, metric)
    scale = _largest(start, options)
    active = torch.ones_like(scale, dtype=torch.bool)
    for _ in range(options.limit):
        residual = function(unknowns) - unknowns
        size = _largest(residual, options)
        # Not "size > ...", so that NaN counts as not converged.
        active = active & ~(size <= options.tolerance * _scale(scale, unknowns, options))
        if not bool(active.any()):
            if metric is not None:
                history.refuse_instability()
            return unknowns
        if not bool(torch.isfinite(size).all()):
            break
        history.add(unknowns, residual)
        step = history.step(residual)
        moving = active[options.graph_index].reshape(-1, *[1] * (unknowns.dim() - 1))
        unknowns = torch.where(moving, unknowns + step, unknowns)
    graph = int(active.nonzero()[0])
    raise InputError(
        f"structure {graph}: the response of the charges to their own field did not become "
        f"self-consistent in {options.limit} iterations (residual {float(size[graph]):.1e}): "
        "use smaller susceptibilities or wider charges (polarization catastrophe), or more "
        "iterations"
    )


def _largest(values: Tensor, options: Iteration) -> Tensor:
    """(n_graphs,) largest absolute value of each graph."""
    rows = values.flatten(1).abs().amax(1)
    empty = rows.new_zeros(options.num_graphs)
    return empty.scatter_reduce(0, options.graph_index, rows, "amax")


def _scale(first: Tensor, unknowns: Tensor, options: Iteration) -> Tensor:
    return torch.maximum(first, _largest(unknowns, options))


class _History:
    """The last steps of all graphs, from which the next step is computed.

    Parameters
    ----------
    options : Iteration
    metric : Tensor or None
        (n, ...) weights of the inner product; None for unit weights.
    """

    def __init__(self, options: Iteration, metric: Tensor | None) -> None:
        self._options = options
        self._metric = None if metric is None else metric.flatten(1)[:, None]
        self._last: tuple[Tensor, Tensor] | None = None
        self._moves: list[Tensor] = []
        self._changes: list[Tensor] = []

    def add(self, unknowns: Tensor, residual: Tensor) -> None:
        """Store a point and its residual."""
        if self._last is not None:
            self._moves.append(unknowns - self._last[0])
            self._changes.append(residual - self._last[1])
            del self._moves[:-HISTORY], self._changes[:-HISTORY]
        self._last = (unknowns, residual)

    def step(self, residual: Tensor) -> Tensor:
        """The change of the unknowns in the next step."""
        step = self._options.mixing * residual
        if not self._changes:
            return step
        changes = self._stack(self._changes)
        gram = self._products(changes, changes)
        right = self._products(changes, residual.flatten(1)[:, None])
        length = gram.diagonal(dim1=1, dim2=2).clamp(min=torch.finfo(gram.dtype).tiny).sqrt()
        gram = gram / (length[:, :, None] * length[:, None, :])
        gram.diagonal(dim1=1, dim2=2).add_(DAMPING)
        share = torch.linalg.lstsq(gram, right / length[:, :, None]).solution[:, :, 0] / length
        share = share[self._options.graph_index]
        moved = self._stack(self._moves) + self._options.mixing * changes
        return step - (share[:, :, None] * moved).sum(1).reshape(step.shape)

    def refuse_instability(self) -> None:
        """Raise an error if the response at the solution has an eigenvalue of 1 or more.

        The eigenvalues of the response in the space of the last steps (Ritz values) are lower
        bounds of its largest eigenvalue.

        Raises
        ------
        InputError
        """
        if not self._moves or self._last is None:
            return
        moves, changes = self._stack(self._moves), self._stack(self._changes)
        overlap = self._products(moves, moves)
        response = self._products(moves, moves + changes)
        response = (response + response.mT) / 2
        # Small steps are dominated by rounding errors.
        squares = torch.cat([self._last[0].flatten(1)[:, None], moves], dim=1).square().sum(2)
        sizes = sum_nodes(squares, self._options.graph_index, self._options.num_graphs)
        told = sizes[:, 1:] > SMALL**2 * sizes[:, :1]
        length = torch.where(told, overlap.diagonal(dim1=1, dim2=2), torch.inf).sqrt()
        norm = length[:, :, None] * length[:, None, :]
        values, vectors = torch.linalg.eigh(overlap / norm)
        kept = values > RANK * values[:, -1:].clamp(min=1)
        basis = vectors * torch.where(kept, values.clamp(min=RANK).rsqrt(), 0.0)[:, None, :]
        ritz = torch.linalg.eigvalsh(basis.mT @ (response / norm) @ basis)
        unstable = ritz[:, -1] > 1 - MARGIN
        if bool(unstable.any()):
            graph = int(unstable.nonzero()[0])
            raise InputError(
                f"structure {graph}: the response of the charges to their own field grows without "
                "bound (polarization catastrophe); the susceptibilities are too large for these "
                "distances and widths"
            )

    def _stack(self, values: list[Tensor]) -> Tensor:
        """Stack m tensors (n, ...) to (n, m, c)."""
        return torch.stack([value.flatten(1) for value in values], dim=1)

    def _products(self, first: Tensor, second: Tensor) -> Tensor:
        """(n_graphs, a, b) inner products of (n, a, c) and (n, b, c)."""
        weighted = first if self._metric is None else first * self._metric
        pairs = weighted @ second.mT
        return sum_nodes(pairs, self._options.graph_index, self._options.num_graphs)
