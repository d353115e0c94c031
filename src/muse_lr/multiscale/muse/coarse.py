r"""Messages between coarse nodes, with tensors up to l = 2 for any order of the backbone."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from muse_lr.math.filtered_sums import AnySums
from muse_lr.math.pair_sums import PairSums
from muse_lr.multiscale.muse.tensors import (
    RadialGaussians,
    TensorFeatures,
    bounded,
    dense,
    gather_directed,
    gather_filtered,
    inner,
    matrices_from_standard,
    matrices_to_standard,
    matrix_of,
    soft_norm,
    unit_linear,
)

#: Number of radial functions of the coarse edges.
RADIAL = 12


@dataclass(frozen=True)
class CoarseEdges:
    """Edges between nodes, with all images and in both directions.

    Attributes
    ----------
    edge_index : Tensor
        (2, n_edges) indices of the sender and receiver nodes.
    vectors : Tensor
        (n_edges, 3) vector from the receiver to the image of the sender, A.
    lengths : Tensor
        (n_edges,) distance in A.
    weights : Tensor
        (n_edges,) quadrature weights; their sum over the edges of a node is below 1.
    pairs : PairSums
        Sums over the edges, with senders as sources and receivers as targets.
    sums : AnySums
        The same with filters.
    """

    edge_index: Tensor
    vectors: Tensor
    lengths: Tensor
    weights: Tensor
    pairs: PairSums
    sums: AnySums


class CoarseLayer(nn.Module):
    r"""Message-passing layer with a gated update.

    .. math::
       (\mu_0 .. \mu_4)_{KL} = \phi(H_L) F(R_{KL}) W_{KL}, \quad
       H_K \mathrel{+}= \sum_L \mu_0, \quad
       V_K \mathrel{+}= \sum_L \mu_1 \hat u + \mu_2 V_L, \quad
       T_K \mathrel{+}= \sum_L \mu_3 Y_2(\hat u) + \mu_4 T_L

    with learned radial functions F and the quadrature weights W of
    :func:`~muse_lr.multiscale.muse.edges.coarse_edges`. Then H, V and T are updated by gates that
    depend on the invariants V.V', |V|, T:T', |T| and Y2(V):T.
    """

    def __init__(self, channels: int, tensor_channels: int, cutoff: float, l_max: int) -> None:
        super().__init__()
        self.l_max, self.tensor_channels = l_max, tensor_channels
        self.radial = RadialGaussians(RADIAL, cutoff)
        size = channels + 2 * l_max * tensor_channels
        self.content = dense(channels, size, channels)
        self.filter = unit_linear(self.radial.size, size, self.radial.power)
        self.mixes = nn.ModuleList(
            unit_linear(tensor_channels, 2 * tensor_channels) for _ in range(l_max)
        )
        invariants = (0, 2, 5)[l_max] * tensor_channels
        self.gates = dense(channels + invariants, channels + l_max * tensor_channels, channels)

    def forward(self, nodes: TensorFeatures, edges: CoarseEdges) -> TensorFeatures:
        """Compute the updated features of the nodes."""
        return self._update(bounded(self._exchange(nodes, edges)))

    def _exchange(self, nodes: TensorFeatures, edges: CoarseEdges) -> TensorFeatures:
        width = self.tensor_channels
        widths = [nodes.scalars.shape[1], *[width] * 2 * self.l_max]
        contents = self.content(nodes.scalars).split(widths, dim=-1)
        filters = self.filter.weight.T.split(widths, dim=-1)
        radial = self.radial(edges.lengths) * edges.weights[:, None]
        # The products of contents and tensors are formed on the nodes, not on the edges.
        sent = [contents[0]]
        if self.l_max > 0:
            sent.append(contents[2][:, None] * nodes.vectors)
        if self.l_max > 1:  # with five components instead of nine
            sent.append(contents[4][:, None] * matrices_to_standard(nodes.matrices))
        received = gather_filtered(edges.sums, edges.sums.pad(radial), sent, filters[::2])
        scalars, vectors, matrices = nodes.scalars + received[0], nodes.vectors, nodes.matrices
        if self.l_max > 0:
            direction = edges.vectors / edges.lengths[:, None]
            about = contents[1::2], filters[1::2], direction
            along = gather_directed(edges.pairs, edges.pairs.pad(radial), *about)
            vectors = vectors + received[1] + along[0]
        if self.l_max > 1:
            matrices = matrices + matrices_from_standard(received[2] + along[1])
        return TensorFeatures(scalars, vectors, matrices)

    def _update(self, nodes: TensorFeatures) -> TensorFeatures:
        invariants = [nodes.scalars]
        mixed = []
        tensors = (nodes.vectors, nodes.matrices)[: self.l_max]
        for mix, values in zip(self.mixes, tensors, strict=True):
            first, second = mix(values).chunk(2, dim=-1)
            mixed.append(first)
            invariants += [inner(first, second), soft_norm(second)]
        if self.l_max > 1:
            invariants.append(inner(matrix_of(nodes.vectors), nodes.matrices))
        gates = self.gates(torch.cat(invariants, dim=-1))
        channels = nodes.scalars.shape[1]
        scale = gates.split([channels, *[self.tensor_channels] * self.l_max], dim=-1)
        vectors, matrices = nodes.vectors, nodes.matrices
        if self.l_max > 0:
            vectors = vectors + scale[1][:, None] * mixed[0]
        if self.l_max > 1:
            matrices = matrices + scale[2][:, None, None] * mixed[1]
        return TensorFeatures(nodes.scalars + scale[0], vectors, matrices)
