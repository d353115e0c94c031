"""Graphs and node features for message passing.

Atoms and coarse nodes use the same data structures, so that the same backbone modules can process
both. The composition of an atom is one-hot and that of a coarse node is continuous. Edge weights
scale the messages of coarse nodes that are only partially present.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from muse_lr.structures.host_tables import HostTables, edges_within, fixed_number


@dataclass(frozen=True)
class Graph:
    """Nodes, edges and global properties of a batch of graphs.

    Attributes
    ----------
    composition : Tensor
        (n_nodes, n_elements). For atoms, one-hot in the elements of the model. For coarse nodes,
        continuous; entries approach zero with vanishing first and second derivatives, so that
        backbones can skip entries that are zero.
    edge_index : Tensor
        (2, n_edges) of int64: sender (the neighbor) and receiver (the center), as in
        torch_geometric.
    edge_vectors : Tensor
        (n_edges, 3) in A, from the receiver to the image of the sender.
    edge_lengths : Tensor
        (n_edges,) in A.
    graph_index : Tensor
        (n_nodes,) of int64, graph of each node.
    num_graphs : int
        Number of graphs, including those without nodes.
    total_charge, spin : Tensor
        (n_graphs,) total charge in e and spin multiplicity 2S + 1.
    edge_weights : Tensor or None
        (n_edges,) weight of each message; None means 1.
    reach : float
        All edges are known to be shorter, A.
    one_hot : bool
        Whether every node is known to be of one element.
    tables : HostTables
        Tables of the nodes and edges.
    """

    composition: Tensor
    edge_index: Tensor
    edge_vectors: Tensor
    edge_lengths: Tensor
    graph_index: Tensor
    num_graphs: int
    total_charge: Tensor
    spin: Tensor
    edge_weights: Tensor | None = None
    reach: float = math.inf
    one_hot: bool = False
    tables: HostTables = field(default_factory=HostTables)

    @property
    def num_nodes(self) -> int:
        return self.composition.shape[0]

    def within(self, cutoff: float) -> Graph:
        """Return the graph with only the edges shorter than ``cutoff`` (A)."""
        if self.reach <= cutoff:
            return self
        kept = edges_within(self.tables, self.edge_lengths, cutoff, self.reach)
        if kept is None:
            return replace(self, reach=cutoff)
        weights = self.edge_weights
        return replace(
            self,
            reach=cutoff,
            edge_index=self.edge_index.index_select(1, kept),
            edge_vectors=self.edge_vectors.index_select(0, kept),
            edge_lengths=self.edge_lengths.index_select(0, kept),
            edge_weights=None if weights is None else weights.index_select(0, kept),
        )


@dataclass(frozen=True)
class NodeFeatures:
    """Invariant and equivariant features of nodes.

    Attributes
    ----------
    scalars : Tensor
        (n_nodes, channels), invariant.
    tensors : dict of int to Tensor
        l -> (n_nodes, 2l + 1, channels_l) for l >= 1; real spherical components m = -l..l with z as
        the polar axis. The components of l = 1 are (y, z, x).
    charges : Tensor or None
        (n_nodes,) partial charges in e, if the backbone predicts its own charges.
    """

    scalars: Tensor
    tensors: dict[int, Tensor] = field(default_factory=dict)
    charges: Tensor | None = None


@dataclass(frozen=True)
class FeatureSize:
    """Numbers of channels of node features; ``scalars`` is 0 without a backbone.

    ``charges`` is True if the features contain partial charges.
    """

    scalars: int
    tensors: dict[int, int]
    charges: bool = False


def sum_nodes(values: Tensor, graph_index: Tensor, num_graphs: int) -> Tensor:
    """Sum per-node values over each graph in float64: (n_nodes, ...) -> (n_graphs, ...)."""
    if fixed_number(num_graphs, 1):
        return values.sum(0, dtype=torch.float64)[None]
    out = values.new_zeros((num_graphs, *values.shape[1:]), dtype=torch.float64)
    return out.index_add(0, graph_index, values.to(torch.float64))
