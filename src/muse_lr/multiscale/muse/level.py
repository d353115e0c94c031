"""One level of the hierarchy: choice of nodes, pooling, messages and unpooling."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from muse_lr.backbones.base import Backbone
from muse_lr.math.switching import switch_off
from muse_lr.multiscale.base import Assignment, CoarseNodes
from muse_lr.multiscale.muse.assignment import assign, kept_nodes, pairs_with_nodes
from muse_lr.multiscale.muse.bridge import Bridge
from muse_lr.multiscale.muse.choices import NodeChoice, WindowedEdges
from muse_lr.multiscale.muse.coarse import CoarseEdges, CoarseLayer
from muse_lr.multiscale.muse.edges import MessageWindow, coarse_edges
from muse_lr.multiscale.muse.moments import MomentPooling
from muse_lr.multiscale.muse.pooling import AtomTensors, MapSize, Pooling
from muse_lr.multiscale.muse.tensors import (
    OUTPUT_FACTOR,
    READOUT_INIT_SCALE,
    TensorFeatures,
    bounded,
    dense,
    gather,
    soft_norm,
    unit_linear,
)
from muse_lr.multiscale.muse.unpooling import Unpooled, Unpooling
from muse_lr.structures.geometry import Geometry
from muse_lr.structures.graph import Graph
from muse_lr.structures.host_tables import HostTables

#: Width of the queries and keys of the affinity between atoms and nodes.
AFFINITY = 8
#: Factor of their scores, which are small at the start.
AFFINITY_SCALE = 0.5
#: Default of the mean content M_0 of a node, atoms.
MEAN_CONTENT = 10.0
#: Factor of log(1 + n) for numbers of atoms n up to some hundreds.
COUNT_SCALE = 0.2


@dataclass(frozen=True)
class LevelSize:
    """Sizes of a level.

    Attributes
    ----------
    elements : int
        Number of elements of the model.
    scalars : int
        Channels of the backbone features with l = 0.
    tensors : Mapping
        Channels of the backbone features by order l >= 1, for the orders that the level pools.
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
    returns : bool
        Whether the level is visited again after the coarser levels.
    """

    elements: int
    scalars: int
    tensors: Mapping[int, int]
    channels: int
    tensor_channels: int
    l_max: int
    layers: int
    radius: float
    inner: float
    cutoff: float
    moments: bool = False
    returns: bool = False


@dataclass(frozen=True)
class LevelState:
    """A level in one evaluation.

    Attributes
    ----------
    nodes : CoarseNodes
    assignment : Assignment
    weights : Tensor
        Weights of :meth:`~muse_lr.multiscale.muse.pooling.TensorMaps.weights`.
    edges : CoarseEdges
    features : TensorFeatures
        Features of the nodes.
    energies : Tensor
        (n_nodes,) energies of the interaction modules for each atom of a node, eV.
    crowded : Tensor
        (n_atoms,) n / (1 + n) with the sum n of the windows of the other atoms within the radius;
        0 for an isolated atom.
    """

    nodes: CoarseNodes
    assignment: Assignment
    weights: Tensor
    edges: CoarseEdges
    features: TensorFeatures
    energies: Tensor
    crowded: Tensor


class Level(nn.Module):
    """One level of the hierarchy.

    Parameters
    ----------
    size : LevelSize
    choice : NodeChoice
        Selects the atoms that are nodes.
    interactions : Backbone or None
        Backbone that is applied to the coarse graph after the tensor messages.

    Attributes
    ----------
    mean_content : Tensor
        M_0 of :func:`~muse_lr.multiscale.muse.edges.coarse_edges`.
    """

    mean_content: Tensor

    def __init__(self, size: LevelSize, choice: NodeChoice, interactions: Backbone | None) -> None:
        super().__init__()
        self.size = size
        self.choice = choice
        self.register_buffer("mean_content", torch.tensor(MEAN_CONTENT))
        self.query = nn.Linear(size.scalars, AFFINITY, bias=False)
        self.key = nn.Linear(size.scalars, AFFINITY, bias=False)
        width = (size.channels, size.tensor_channels)
        shape = MapSize(size.scalars, size.tensors, *width, size.radius, size.l_max)
        self.pooling: nn.Module = Pooling(shape)
        if size.moments:
            self.pooling = MomentPooling(size.scalars, *width, size.radius, size.l_max)
        self.counts = unit_linear(size.elements, size.channels)
        self.layers = nn.ModuleList(
            CoarseLayer(*width, size.cutoff, size.l_max) for _ in range(size.layers)
        )
        self.bridge = None
        if interactions is not None:
            self.bridge = Bridge(*width, size.l_max, size.cutoff, interactions)
        self.unpooling = Unpooling(shape)
        self.back = Return(shape, size.cutoff) if size.returns else None
        invariants = size.channels + size.l_max * size.tensor_channels
        self.readout = dense(invariants, 1, size.channels, READOUT_INIT_SCALE, bias=False)

    def forward(
        self, atoms: AtomTensors, graph: Graph, geometry: Geometry
    ) -> tuple[Unpooled, LevelState]:
        """Features for the atoms, and the state of the level."""
        near = self.choice.edges(geometry, self.size.inner, self.size.radius)
        nodes, assignment = self.place(geometry, atoms.scalars, near)
        crowded = _crowded(near, atoms.scalars.shape[0]).to(atoms.scalars.dtype)
        count = nodes.atoms.shape[0]
        weights = self.unpooling.weights(assignment)
        features = self.pooling(atoms, assignment, weights)
        counted = self._counts(graph, assignment, count)
        features = bounded(replace(features, scalars=features.scalars + counted))
        window = MessageWindow(self.size.radius, self.size.cutoff)
        about = nodes, assignment.content, geometry, window, self.mean_content
        edges = coarse_edges(*about, self._tables(geometry))
        for layer in self.layers:
            features = layer(features, edges)
        energies = torch.zeros_like(nodes.mass)
        if self.bridge is not None:
            features, energies = self.bridge(features, nodes, assignment, edges, graph)
            features = bounded(features)
        state = LevelState(nodes, assignment, weights, edges, features, energies, crowded)
        found = self.unpooling(atoms, features, assignment, weights, nodes.mass)
        return self._returned(found, state), state

    def revisit(self, atoms: AtomTensors, state: LevelState) -> tuple[Unpooled, LevelState]:
        """Another round of messages, with what the coarser levels have told the atoms."""
        assert self.back is not None
        unpooled, features = self.back(atoms, state)
        state = replace(state, features=features)
        return self._returned(unpooled, state), state

    def place(
        self,
        geometry: Geometry,
        scalars: Tensor | None = None,
        near: WindowedEdges | None = None,
    ) -> tuple[CoarseNodes, Assignment]:
        """Nodes and assignment, without ``scalars`` (n, F) those of equal affinities.

        They are in the precision of the level. ``near`` has the edges of its choice, if known.
        """
        size, dtype = self.size, self.mean_content.dtype
        near = near or self.choice.edges(geometry, size.inner, size.radius)
        mass = self.choice.masses(geometry, near, size.radius).to(dtype)
        tables = self._tables(geometry)
        nodes = kept_nodes(mass, geometry, tables)
        found = geometry, size.radius, self.choice.allowed(geometry), tables
        atom, node, vectors, lengths = pairs_with_nodes(nodes, *found)
        pairs = (atom, node, vectors.to(dtype), lengths.to(dtype))
        affinity = None if scalars is None else self._affinity(scalars, nodes, atom, node)
        windows = size.inner, size.radius
        return nodes, assign(nodes, pairs, affinity, *windows, mass.shape[0], tables)

    def prepare(self, geometry: Geometry) -> None:
        """Make the tables of the level."""
        nodes, assignment = self.place(geometry)
        window = MessageWindow(self.size.radius, self.size.cutoff)
        about = nodes, assignment.content, geometry, window, self.mean_content
        coarse_edges(*about, self._tables(geometry))

    def _tables(self, geometry: Geometry) -> HostTables:
        return geometry.host.child(f"{self.choice.label(self.size.radius)}, level")

    def energy(self, state: LevelState, num_graphs: int) -> Tensor:
        """(n_graphs,) sum over the nodes of M_K times the energy of an atom, eV, float64."""
        nodes = state.nodes
        each = OUTPUT_FACTOR * (self._energies(state.features) + state.energies)
        weight = state.assignment.content * state.crowded.index_select(0, nodes.atoms)
        return gather((weight * each).double(), nodes.graph_index, num_graphs)

    def _returned(self, unpooled: Unpooled, state: LevelState) -> Unpooled:
        """An isolated atom keeps the features of the backbone."""
        return replace(unpooled, scalars=unpooled.scalars * state.crowded[:, None])

    def _affinity(self, scalars: Tensor, nodes: CoarseNodes, atom: Tensor, node: Tensor) -> Tensor:
        """(p,) b = exp(tanh(query . key)), between 1/e and e."""
        queries, keys = self.query(scalars), self.key(scalars).index_select(0, nodes.atoms)
        score = (queries.index_select(0, atom) * keys.index_select(0, node)).sum(1)
        return torch.exp(torch.tanh(score * (AFFINITY_SCALE / math.sqrt(AFFINITY))))

    def _counts(self, graph: Graph, assignment: Assignment, n_nodes: int) -> Tensor:
        """Linear function of log(1 + n) with the windowed number n of atoms of each element."""
        window = switch_off(assignment.lengths, self.size.inner, self.size.radius)
        atoms = graph.composition.index_select(0, assignment.atom) * window[:, None]
        counted: Tensor = self.counts(torch.log1p(gather(atoms, assignment.node, n_nodes)))
        return COUNT_SCALE * counted

    def _energies(self, features: TensorFeatures) -> Tensor:
        inputs = [features.scalars]
        if self.size.l_max > 0:
            inputs.append(soft_norm(features.vectors))
        if self.size.l_max > 1:
            inputs.append(soft_norm(features.matrices))
        energies: Tensor = self.readout(torch.cat(inputs, dim=-1))[:, 0]
        return energies


class Return(nn.Module):
    """Second visit of a level: the nodes read the updated atoms and exchange messages again."""

    def __init__(self, size: MapSize, cutoff: float) -> None:
        super().__init__()
        self.value = nn.Linear(size.scalars, size.channels, bias=False)
        self.layer = CoarseLayer(size.channels, size.tensor_channels, cutoff, size.l_max)
        self.unpooling = Unpooling(size)

    def forward(self, atoms: AtomTensors, state: LevelState) -> tuple[Unpooled, TensorFeatures]:
        """Features for the atoms and features of the nodes."""
        assignment, features = state.assignment, state.features
        # The first radial function is 1.
        sums = assignment.pairs.gather(state.weights[..., :1], self.value(atoms.scalars))[:, 0]
        mean = sums / assignment.near[:, None]
        features = bounded(replace(features, scalars=features.scalars + mean))
        features = self.layer(features, state.edges)
        about = state.weights, state.nodes.mass
        return self.unpooling(atoms, features, assignment, *about), features


def _crowded(near: WindowedEdges, n_atoms: int) -> Tensor:
    """(n_atoms,) n / (1 + n) with the windowed number n of the other atoms."""
    others = near.window.new_zeros(n_atoms).index_add(0, near.index[1], near.window)
    return others / (1 + others)
