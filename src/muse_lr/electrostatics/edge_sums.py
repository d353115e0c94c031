"""Sums over the edges of periodic graphs."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from muse_lr.electrostatics.pair_sums import PORTION
from muse_lr.electrostatics.portions import sum_portions
from muse_lr.structures.geometry import Geometry


def sum_over_edges(
    function: Callable[..., Tensor],
    geometry: Geometry,
    edges: Tensor,
    rung: int,
    tensors: Sequence[Tensor],
) -> Tensor:
    """Sum over edges, at once on rung 0 and in portions of bounded memory on other rungs.

    The wide neighbor list of a cluster in a sparse cell can contain all of its pairs.

    Parameters
    ----------
    function : callable
        ``function(sender, receiver, length, vector, *tensors)`` is a tensor of sums over edges.
        All tensors that it differentiates are arguments.
    geometry : Geometry
    edges : Tensor
        (e,) indices of the edges.
    rung : int
        Rung of the density of the graphs (:mod:`muse_lr.structures.sparse`).
    tensors : sequence of Tensor
        Floating-point tensors.
    """
    sender, receiver = geometry.edge_index.index_select(1, edges)
    vectors = geometry.edge_vectors.index_select(0, edges)
    if rung == 0:
        lengths = geometry.edge_lengths.index_select(0, edges)
        return function(sender, receiver, lengths, vectors, *tensors)

    def of_portion(part: slice, vectors: Tensor, *values: Tensor) -> Tensor:
        own = vectors[part]
        lengths = torch.linalg.vector_norm(own, dim=1)
        return function(sender[part], receiver[part], lengths, own, *values)

    starts = range(0, max(1, len(edges)), PORTION)
    portions = [slice(start, start + PORTION) for start in starts]
    return sum_portions(of_portion, portions, (vectors, *tensors))
