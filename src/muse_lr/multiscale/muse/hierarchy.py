"""The hierarchy of coarse nodes, with smooth coarse-graining for any backbone."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from typing import ClassVar, cast

import torch
from torch import Tensor, nn

from muse_lr.errors import InputError
from muse_lr.math.multipoles import from_standard_order, to_standard_order
from muse_lr.multiscale.base import (
    Multiscale,
    MultiscaleConfig,
    MultiscaleContext,
    MultiscaleInputs,
    MultiscaleOutput,
)
from muse_lr.multiscale.muse.bridge import coarse_backbone, effective_section
from muse_lr.multiscale.muse.choices import (
    EveryAtom,
    GivenNodes,
    NodeChoice,
    SpeciesNodes,
    ThinnedNodes,
)
from muse_lr.multiscale.muse.config import MuseConfig
from muse_lr.multiscale.muse.level import Level, LevelSize
from muse_lr.multiscale.muse.pooling import AtomTensors, Edges, LocalTensors
from muse_lr.multiscale.muse.tensors import (
    OUTPUT_FACTOR,
    bounded_scalars,
    dense,
    matrices_to_standard,
)
from muse_lr.multiscale.muse.unpooling import Unpooled
from muse_lr.structures.batch import AtomsBatch
from muse_lr.structures.geometry import Geometry
from muse_lr.structures.graph import FeatureSize, Graph, NodeFeatures, sum_nodes
from muse_lr.structures.state import NO_GROUP


class Muse(Multiscale):
    r"""Hierarchy of coarse levels that exchange information through the features of the atoms.

    The idea is that of the Multiscale Structural Ensemble (A. Sole et al., arXiv:2605.25710):
    smooth fractional assignments of atoms to coarse nodes, on which the modules of the force field
    operate. The construction is independent. Its equations are those of
    :mod:`muse_lr.multiscale.muse.thinning`, ``assignment``, ``pooling`` and ``coarse``, not those
    of the paper. The energy is

    .. math:: E = \sum_i g_i e(h_i) + \sum_l \sum_K M_K g_K e_l(K), \qquad g = n / (1 + n),

    with the contents M of the nodes and the windowed number n of the other atoms within the radius
    of a level. It vanishes for an isolated atom, so that E0 is the energy of the isolated atom.

    With several levels, each one reads the atoms that the finer ones have updated. The finer levels
    are then visited again, from the coarsest to the finest.
    """

    Config: ClassVar[type[MultiscaleConfig]] = MuseConfig
    config: MuseConfig
    size_consistent = True
    revision = 4

    def __init__(self, config: MuseConfig, context: MultiscaleContext) -> None:
        super().__init__()
        size = context.features
        pooled = {o: size.tensors[o] for o in range(1, config.l_max + 1) if o in size.tensors}
        if config.pooling == "moments":  # these are still read by unpooling
            pooled = {order: count for order, count in pooled.items() if order == 1}
        self.reads_tensors = bool(pooled)
        self.local_cutoff = context.backbone.cutoff
        radii = [config.radius * 2**level for level in range(config.levels)]
        self.cutoff = radii[-1]
        self.local = None
        if config.l_max > 0:
            self.local = LocalTensors(
                size.scalars, config.tensor_channels, self.local_cutoff, config.l_max
            )
        channels = config.channels or context.backbone.channels
        self.level_count = config.levels
        self.levels = nn.ModuleList()
        for level, radius in enumerate(radii):
            cutoff = config.cutoff * 2**level
            level_size = LevelSize(
                elements=len(context.elements),
                scalars=size.scalars,
                tensors=pooled,
                channels=channels,
                tensor_channels=config.tensor_channels,
                l_max=config.l_max,
                layers=config.layers,
                radius=radius,
                inner=config.inner_fraction * radius,
                cutoff=cutoff,
                moments=config.pooling == "moments",
                returns=level < config.levels - 1,
            )
            modules = coarse_backbone(config.backbone, context, channels, config.l_max)
            self.levels.append(Level(level_size, _choice(config), modules))
        section = "none" if modules is None else effective_section(modules)
        self.config = config.model_copy(update={"backbone": section})
        self.readout = dense(size.scalars, 1, size.scalars, bias=False)
        self.features = FeatureSize(size.scalars, self._output_tensors(size.tensors))

    def _output_tensors(self, known: dict[int, int]) -> dict[int, int]:
        """Channels of each order: those of the backbone, then those of each level."""
        orders = set(known) | set(range(1, self.config.l_max + 1))
        added = self.config.levels * self.config.tensor_channels
        return {
            order: known.get(order, 0) + (added if order <= self.config.l_max else 0)
            for order in sorted(orders)
        }

    def describe(self) -> list[str]:
        """See :meth:`Part.describe`."""
        parts = []
        for i, level in enumerate(self.levels, start=1):
            assert isinstance(level, Level)
            size = level.size
            parts.append(
                f"level {i}: atoms within {size.radius:g} A of a node, nodes exchange within "
                f"{size.cutoff:g} A, mean content M_0 = {float(level.mean_content):.3g} atoms"
            )
        return ["; ".join(parts)]

    def check(self, batch: AtomsBatch) -> None:
        """See :meth:`Multiscale.check`."""
        if self.config.nodes != "given":
            return
        grouped = (batch.coarse_index != NO_GROUP).long()
        counts = grouped.new_zeros(batch.num_graphs).index_add(0, batch.batch, grouped)
        if bool((counts == 0).any()):
            raise InputError(
                f"structure {int((counts == 0).nonzero()[0])} has no groups of atoms, but "
                "model.multiscale.nodes is given; set atoms.arrays['coarse_index'] to a whole "
                "number from 0 on for each atom"
            )

    def forward(self, inputs: MultiscaleInputs) -> MultiscaleOutput:
        """See :meth:`Multiscale.forward`."""
        features, graph, geometry = inputs.features, inputs.graph, inputs.geometry
        atoms = self._atom_tensors(features, graph)
        change = torch.zeros_like(features.scalars)
        levels = [cast("Level", level) for level in self.levels]
        states, unpooled = [], []
        for level in levels:
            found, state = level(atoms, graph, geometry)
            change = change + found.scalars
            atoms = replace(atoms, scalars=bounded_scalars(features.scalars + change))
            states.append(state)
            unpooled.append(found)
        for index in reversed(range(len(levels) - 1)):
            unpooled[index], states[index] = levels[index].revisit(atoms, states[index])
            change = change + unpooled[index].scalars
            atoms = replace(atoms, scalars=bounded_scalars(features.scalars + change))
        local = OUTPUT_FACTOR * self.readout(atoms.scalars)[:, 0] * states[-1].crowded
        energy = sum_nodes(local, geometry.graph_index, geometry.num_graphs)
        for level, state in zip(levels, states, strict=True):
            energy = energy + level.energy(state, geometry.num_graphs)
        joined = NodeFeatures(features.scalars + change, _joined(features.tensors, unpooled))
        found_levels = tuple((state.nodes, state.assignment) for state in states)
        return MultiscaleOutput(joined, energy, found_levels)

    def not_compiled(self) -> str:
        """See :meth:`Part.not_compiled`.

        It can be traced, with tables made beforehand, but AOTInductor of torch 2.13 makes programs
        of it in float32 whose energies are wrong by 7 %.
        """
        return "the compiler of torch makes wrong programs of it"

    def tracing(self) -> AbstractContextManager[None]:
        """See :meth:`Part.tracing`."""
        bridge = cast("Level", self.levels[0]).bridge
        return nullcontext() if bridge is None else bridge.interactions.tracing()

    def prepare(self, geometry: Geometry, graph: Graph) -> None:
        """See :meth:`Part.prepare`."""
        if self.local is not None:
            self._local_edges(graph).pairs(graph.num_nodes)
        for level in self.levels:
            cast("Level", level).prepare(geometry)

    def _local_edges(self, graph: Graph) -> Edges:
        """Edges of the atoms within the local cutoff."""
        near = graph.within(self.local_cutoff)
        sender, receiver = near.edge_index
        directions = near.edge_vectors / near.edge_lengths[:, None]
        tables = graph.tables.child(f"local edges within {self.local_cutoff!r}")
        return Edges(sender, receiver, directions, near.edge_lengths, tables)

    def calibrate(self, geometries: Sequence[Geometry]) -> None:
        """See :meth:`Multiscale.calibrate`: set M_0 of each level.

        It is the mean over the atoms of the contents of their nodes, sum_K M_K^2 / sum_K M_K, with
        equal affinities.
        """
        for level in (cast("Level", level) for level in self.levels):
            squares, total = 0.0, 0.0
            for geometry in geometries:
                content = level.place(geometry)[1].content.double()
                squares += float(content.square().sum())
                total += float(content.sum())
            if total > 0:
                level.mean_content.fill_(squares / total)

    def _atom_tensors(self, features: NodeFeatures, graph: Graph) -> AtomTensors:
        scalars = bounded_scalars(features.scalars)
        vectors = features.tensors.get(1)
        own = (None if vectors is None else from_standard_order(vectors), features.tensors.get(2))
        if self.local is None:
            return AtomTensors(scalars, *own, scalars.new_zeros((scalars.shape[0], 3, 0)), None)
        edges = self._local_edges(graph)
        return AtomTensors(scalars, *own, *self.local(scalars, edges))


def _joined(own: dict[int, Tensor], unpooled: Sequence[Unpooled]) -> dict[int, Tensor]:
    """Tensors of the backbone, then those from each level, by order."""
    tensors = {order: [values] for order, values in own.items()}
    for found in unpooled:
        if found.vectors is not None:
            tensors.setdefault(1, []).append(to_standard_order(found.vectors))
        if found.matrices is not None:
            tensors.setdefault(2, []).append(matrices_to_standard(found.matrices))
    return {order: torch.cat(parts, dim=-1) for order, parts in sorted(tensors.items())}


def _choice(config: MuseConfig) -> NodeChoice:
    if config.nodes == "all":
        return EveryAtom()
    if config.nodes == "species":
        return SpeciesNodes(config.species)
    kind = GivenNodes if config.nodes == "given" else ThinnedNodes
    return kind(config.delta, config.kappa, config.softening, config.crowding_fraction)
