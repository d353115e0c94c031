r"""Sums over edges with filters that are linear in a few functions of the edge.

.. math:: y_{icm} = \sum_{e \to i} \Bigl(\sum_r F_{rc}\, w_{emr}\Bigr) x_{s(e)c}
          = \sum_r F_{rc} \sum_{e \to i} w_{emr}\, x_{s(e)c}

with a few sets m of weights. The second form has a matrix product for each receiver i. Its inner
sums have R times as many entries as the result, and are only formed for a few receivers at a time,
in the gradient too (:mod:`muse_lr.math.pair_sums`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.fx.experimental.proxy_tensor import get_proxy_mode

from muse_lr.math.pair_sums import PairSums, Spread, Weighed, arrange_pairs, pair_sums
from muse_lr.math.plain_derivatives import wanted_inputs

#: Largest ratio of pairs of nodes to edges for which one product of large matrices is faster than
#: many of small ones.
DENSE = 3


@dataclass(frozen=True)
class FilteredSums:
    """Sums over the edges of a graph.

    Attributes
    ----------
    pairs : PairSums
    """

    pairs: PairSums

    def pad(self, weights: Tensor) -> Tensor:
        """See :meth:`PairSums.pad`."""
        return self.pairs.pad(weights)

    def __call__(self, weights: Tensor, values: Tensor, filters: Tensor) -> Tensor:
        """Sums y. Where gradients are themselves differentiated, the inner sums are kept.

        Parameters
        ----------
        weights : Tensor
            Padded weights w of the edges (e, sets * r).
        values : Tensor
            (n_nodes, c) x.
        filters : Tensor
            (r, c) F.

        Returns
        -------
        Tensor
            (n_nodes, sets, c).
        """
        if _traced():
            inner = self.pairs.gather(weights, values).unflatten(1, (-1, len(filters)))
            return (inner * filters).sum(2)
        # Views, because torch cannot report whether the gradient of a leaf tensor is needed.
        inputs = (value.view_as(value) for value in (weights, values, filters))
        sums: Tensor = _Filtered.apply(*inputs, self.pairs)
        return sums


@dataclass(frozen=True)
class TracedSums:
    """Sums over edges by operations whose sizes do not depend on values, for compiled programs.

    A compiler fuses the operations, so that arrays of all edges and channels are not formed.

    Attributes
    ----------
    sender, receiver : Tensor
        (e,) of int64.
    n_nodes : int
        Number of nodes.
    """

    sender: Tensor
    receiver: Tensor
    n_nodes: int

    def pad(self, weights: Tensor) -> Tensor:
        """The weights: they need no padding."""
        return weights

    def __call__(self, weights: Tensor, values: Tensor, filters: Tensor) -> Tensor:
        """See :class:`FilteredSums`."""
        rows, channels = filters.shape
        gates = weights.unflatten(1, (-1, rows)) @ filters  # (e, sets, c)
        gates = gates * values.index_select(0, self.sender)[:, None]
        sums = values.new_zeros((self.n_nodes, gates.shape[1], channels))
        return sums.index_add(0, self.receiver, gates)


@dataclass(frozen=True)
class DenseSums:
    r"""Sums over the edges of a graph in which most nodes are neighbors.

    The weights of all edges between two nodes, of all images, are added first. Then there is one
    matrix product for all receivers, with no rows that are taken or added by index:

    .. math:: y_{icm} = \sum_r F_{rc} \sum_j w_{(ji)mr}\, x_{jc}, \qquad
              w_{(ji)mr} = \sum_{e: j \to i} w_{emr}

    Attributes
    ----------
    place : Tensor
        (e,) of int64, sender times ``n_nodes`` plus receiver.
    n_nodes : int
        Number of nodes.
    """

    place: Tensor
    n_nodes: int

    def pad(self, weights: Tensor) -> Tensor:
        """Weights of all pairs of nodes from those of the edges: (e, k) -> (n_nodes^2, k)."""
        pairs = weights.new_zeros((self.n_nodes**2, weights.shape[1]))
        return pairs.index_add(0, self.place, weights)

    def __call__(self, weights: Tensor, values: Tensor, filters: Tensor) -> Tensor:
        """See :class:`FilteredSums`."""
        (rows, channels), width, n = filters.shape, weights.shape[1], self.n_nodes
        matrix = weights.view(n, n * width)  # (senders, receivers * sets * rows)
        sums = (matrix.mT @ values).view(n, width // rows, rows, channels)
        return (sums * filters).sum(2)


#: Any of the sums over edges with filters.
AnySums = FilteredSums | DenseSums | TracedSums


def dense_sums(edge_index: Tensor, n_nodes: int) -> DenseSums | None:
    """Dense sums if they are faster: if there are many edges for the number of pairs of nodes."""
    if n_nodes**2 > DENSE * edge_index.shape[1]:
        return None
    return DenseSums(edge_index[0] * n_nodes + edge_index[1], n_nodes)


def filtered_sums(edge_index: Tensor, n_nodes: int) -> AnySums:
    """Sums over edges (2, e) from senders to receivers, fastest if sorted by receiver."""
    if _traced():
        return TracedSums(edge_index[0], edge_index[1], n_nodes)
    dense = dense_sums(edge_index, n_nodes)
    if dense is not None:
        return dense
    tables = arrange_pairs(edge_index[0], edge_index[1], n_nodes)
    return FilteredSums(pair_sums(tables, n_nodes, n_nodes))


def _traced() -> bool:
    return get_proxy_mode() is not None or torch.compiler.is_compiling()


class _Filtered(torch.autograd.Function):
    """Sums y, and their gradient without arrays of the inner sums."""

    @staticmethod
    def forward(
        ctx: Any, weights: Tensor, values: Tensor, filters: Tensor, pairs: PairSums
    ) -> Tensor:
        ctx.save_for_backward(weights, values, filters)
        ctx.pairs = pairs
        rows, channels = filters.shape
        found = values.new_empty((len(weights), weights.shape[2] // rows, channels))
        for sources, first, out in pairs.portions(channels, weights.mT, found):
            sums = _sums(sources, first, values).unflatten(1, (found.shape[1], rows))
            torch.sum(sums.mul_(filters), 2, out=out)
        return pairs.blocks.sum_blocks(found)

    @staticmethod
    def backward(ctx: Any, slope: Tensor) -> tuple[Tensor | None, ...]:
        weights, values, filters = ctx.saved_tensors
        wanted, pairs = wanted_inputs(ctx, 3), ctx.pairs
        by_filters = None
        if wanted[2]:
            sums = pairs.gather(weights, values).unflatten(1, (slope.shape[1], len(filters)))
            by_filters = (sums * slope[:, :, None]).sum((0, 1))
        if torch.is_grad_enabled():
            outer = (slope[:, :, None] * filters).flatten(1, 2)
            by_weights = Weighed.apply(values, outer, pairs) if wanted[0] else None
            by_values = Spread.apply(weights, outer, pairs) if wanted[1] else None
        else:
            by_weights, by_values = _filtered_gradient(ctx, slope)
        return by_weights, by_values, by_filters, None


def _sums(sources: Tensor, weights: Tensor, values: Tensor) -> Tensor:
    """Inner sums of a portion: (s,), (b, r, width), (n_sources, c) -> (b, r, c)."""
    taken = values.index_select(0, sources).view(-1, weights.shape[2], values.shape[1])
    return torch.bmm(weights, taken)


def _filtered_gradient(ctx: Any, slope: Tensor) -> tuple[Tensor, Tensor]:
    """Gradients by weights and values."""
    weights, values, filters = ctx.saved_tensors
    pairs, channels = ctx.pairs, values.shape[1]
    by_weights = values.new_empty(weights.mT.shape)
    by_values = torch.zeros_like(values)
    own = pairs.blocks.of_blocks(slope)
    for sources, first, slopes, out in pairs.portions(channels, weights, own, by_weights):
        outer = (slopes[:, :, None] * filters).flatten(1, 2)
        taken = values.index_select(0, sources).view(-1, first.shape[1], channels)
        torch.bmm(outer, taken.mT, out=out)
        by_values.index_add_(0, sources, torch.bmm(first, outer).view(-1, channels))
    return by_weights.mT, by_values
