"""One level of the hierarchy: choice of nodes, pooling, messages and unpooling."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from muse_lr.backbones.base import Backbone
from muse_lr.math.multipoles import from_standard_order, to_standard_order
from muse_lr.multiscale.base import Assignment, CoarseNodes
from muse_lr.multiscale.muse.assignment import assign, kept_nodes, pairs_with_nodes
from muse_lr.multiscale.muse.coarse import CoarseEdges, CoarseLayer
from muse_lr.multiscale.muse.edges import coarse_edges
from muse_lr.multiscale.muse.moments import MomentPooling
from muse_lr.multiscale.muse.pooling import AtomTensors, Pooling, Unpooled, Unpooling
from muse_lr.multiscale.muse.tensors import (
    READOUT_INIT_SCALE,
    TensorFeatures,
    bounded,
    dense,
    gather,
    matrices_from_standard,
    matrices_to_standard,
    soft_norm,
)
from muse_lr.multiscale.muse.thinning import NodeChoice
from muse_lr.structures.geometry import Geometry
from muse_lr.structures.graph import Graph, NodeFeatures

#: Width of the queries and keys of the affinity between atoms and nodes.
AFFINITY = 8


@dataclass(frozen=True)
class LevelSize:
    """Sizes of a level.

    Attributes
    ----------
    scalars, vectors : int
        Channels of the backbone features with l = 0 and 1.
    channels, tensor_channels : int
        Channels of the node features: scalars, and vectors and matrices.
    l_max : int
        Highest order of the node features.
    layers : int
        Number of message-passing layers.
    radius, inner : float
        Distances at which the window of pooling ends and starts to decay, A.
    cutoff : float
        Cutoff of the coarse edges, A. Their weights decay from half of it on.
    moments : bool
        Whether pooling is by :class:`~muse_lr.multiscale.muse.moments.MomentPooling`.
    """

    scalars: int
    vectors: int
    channels: int
    tensor_channels: int
    l_max: int
    layers: int
    radius: float
    inner: float
    cutoff: float
    moments: bool = False


class Level(nn.Module):
    """One level of the hierarchy.

    Parameters
    ----------
    size : LevelSize
    choice : NodeChoice
        Selects the atoms that are nodes.
    interactions : Backbone or None
        Backbone that is applied to the coarse graph after the tensor messages.
    """

    def __init__(self, size: LevelSize, choice: NodeChoice, interactions: Backbone | None) -> None:
        super().__init__()
        self.size = size
        self.choice = choice
        shape = (size.scalars, size.vectors, size.channels, size.tensor_channels)
        self.query = nn.Linear(size.scalars, AFFINITY, bias=False)
        self.key = nn.Linear(size.scalars, AFFINITY, bias=False)
        self.pooling: nn.Module = Pooling(*shape, size.radius, size.l_max)
        if size.moments:
            width = (size.scalars, size.channels, size.tensor_channels)
            self.pooling = MomentPooling(*width, size.radius, size.l_max)
        self.layers = nn.ModuleList(
            CoarseLayer(size.channels, size.tensor_channels, size.cutoff, size.l_max)
            for _ in range(size.layers)
        )
        self.bridge = None if interactions is None else Bridge(size, interactions)
        self.unpooling = Unpooling(*shape, size.radius, size.l_max)
        invariants = size.channels + size.l_max * size.tensor_channels
        self.readout = dense(invariants, 1, size.channels, READOUT_INIT_SCALE)

    def forward(
        self, atoms: AtomTensors, graph: Graph, geometry: Geometry
    ) -> tuple[Unpooled, Tensor, CoarseNodes, Assignment]:
        """Unpooled features, energy of each graph (eV, float64), nodes and assignment."""
        size = self.size
        mass = self.choice(geometry, size.inner, size.radius).to(atoms.scalars.dtype)
        nodes = kept_nodes(mass, geometry)
        allowed = self.choice.allowed(geometry)
        atom, node, vectors, lengths = pairs_with_nodes(nodes, geometry, size.radius, allowed)
        dtype = atoms.scalars.dtype
        pairs = (atom, node, vectors.to(dtype), lengths.to(dtype))
        affinity = self._affinity(atoms.scalars, nodes, atom, node)
        assignment = assign(nodes, pairs, affinity, size.inner, size.radius, len(mass))
        features = bounded(self.pooling(atoms, assignment, len(nodes.atoms)))
        edges = coarse_edges(nodes, geometry, size.cutoff / 2, size.cutoff, dtype)
        for layer in self.layers:
            features = layer(features, edges)
        own: Tensor | float = 0.0
        if self.bridge is not None:
            features, own = self.bridge(features, nodes, assignment, edges, graph)
            features = bounded(features)
        energies = nodes.mass * (self._energies(features) + own)
        energy = gather(energies.double(), nodes.graph_index, geometry.num_graphs)
        return self.unpooling(atoms, features, assignment), energy, nodes, assignment

    def _affinity(self, scalars: Tensor, nodes: CoarseNodes, atom: Tensor, node: Tensor) -> Tensor:
        """(p,) b = exp(tanh(query . key)), between 1/e and e."""
        queries, keys = self.query(scalars), self.key(scalars)[nodes.atoms]
        score = (queries[atom] * keys[node]).sum(1) / math.sqrt(AFFINITY)
        return torch.exp(torch.tanh(score))

    def _energies(self, features: TensorFeatures) -> Tensor:
        inputs = [features.scalars]
        if self.size.l_max > 0:
            inputs.append(soft_norm(features.vectors))
        if self.size.l_max > 1:
            inputs.append(soft_norm(features.matrices))
        return self.readout(torch.cat(inputs, dim=-1))[:, 0]


class Bridge(nn.Module):
    """Applies a backbone to the coarse graph.

    The composition of a node is the mean over its atoms. Messages are weighted by the mass of the
    sender and the window of the distance. The output is added to the features of the nodes.
    """

    def __init__(self, size: LevelSize, interactions: Backbone) -> None:
        super().__init__()
        self.size = size
        self.interactions = interactions
        width = interactions.config.channels
        self.scalars_in = nn.Linear(size.channels, width, bias=False)
        self.scalars_out = nn.Linear(interactions.scalar_channels, size.channels, bias=False)
        known = interactions.tensor_channels
        self.orders = [order for order in range(1, size.l_max + 1) if order in known]
        self.tensors_in = nn.ModuleList(
            nn.Linear(size.tensor_channels, known[order], bias=False) for order in self.orders
        )
        self.tensors_out = nn.ModuleList(
            nn.Linear(known[order], size.tensor_channels, bias=False) for order in self.orders
        )

    def forward(
        self,
        nodes: TensorFeatures,
        kept: CoarseNodes,
        assignment: Assignment,
        edges: CoarseEdges,
        graph: Graph,
    ) -> tuple[TensorFeatures, Tensor]:
        """Features of the nodes with the output of the backbone added, and energies (n,), eV."""
        pull = assignment.normalized_share[:, None]
        content = gather(graph.composition[assignment.atom] * pull, assignment.node, len(kept.mass))
        coarse = Graph(
            composition=content / content.sum(1, keepdim=True),
            edge_index=edges.edge_index,
            edge_vectors=edges.vectors,
            edge_lengths=edges.lengths,
            graph_index=kept.graph_index,
            num_graphs=graph.num_graphs,
            total_charge=graph.total_charge,
            spin=graph.spin,
            edge_weights=edges.weights,
        )
        tensors = {
            order: linear(_to_standard(nodes, order))
            for order, linear in zip(self.orders, self.tensors_in, strict=True)
        }
        initial = NodeFeatures(self.scalars_in(nodes.scalars), tensors)
        learned, energies = self.interactions(coarse, initial)
        updated = {1: nodes.vectors, 2: nodes.matrices}
        for order, linear in zip(self.orders, self.tensors_out, strict=True):
            values = linear(learned.tensors[order])
            updated[order] = updated[order] + (
                from_standard_order(values) if order == 1 else matrices_from_standard(values)
            )
        scalars = nodes.scalars + self.scalars_out(learned.scalars)
        return TensorFeatures(scalars, updated[1], updated[2]), energies


def _to_standard(nodes: TensorFeatures, order: int) -> Tensor:
    """(n, 2l + 1, C) components m = -l..l of the vectors or matrices."""
    return to_standard_order(nodes.vectors) if order == 1 else matrices_to_standard(nodes.matrices)
