"""The hierarchy of coarse nodes, with smooth coarse-graining for any backbone."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import nn

from muse_lr.backbones.base import Backbone
from muse_lr.config.registry import lookup
from muse_lr.config.schema import validate
from muse_lr.errors import InputError
from muse_lr.math.multipoles import from_standard_order, to_standard_order
from muse_lr.multiscale.base import (
    Multiscale,
    MultiscaleConfig,
    MultiscaleContext,
    MultiscaleInputs,
    MultiscaleOutput,
)
from muse_lr.multiscale.muse.config import MuseConfig
from muse_lr.multiscale.muse.level import Level, LevelSize
from muse_lr.multiscale.muse.pooling import AtomTensors, Edges, LocalTensors
from muse_lr.multiscale.muse.tensors import READOUT_INIT_SCALE, dense, matrices_to_standard
from muse_lr.multiscale.muse.thinning import (
    EveryAtom,
    GivenNodes,
    NodeChoice,
    SpeciesNodes,
    ThinnedNodes,
)
from muse_lr.structures.batch import AtomsBatch
from muse_lr.structures.graph import FeatureSize, Graph, NodeFeatures, sum_nodes
from muse_lr.structures.state import NO_GROUP


class Muse(Multiscale):
    """Hierarchy of coarse levels that exchange information through the features of the atoms.

    The idea is that of the Multiscale Structural Ensemble (A. Sole et al., arXiv:2605.25710):
    smooth fractional assignments of atoms to coarse nodes, on which the modules of the force field
    operate. The construction is independent. Its equations are those of
    :mod:`muse_lr.multiscale.muse.thinning`, ``assignment``, ``pooling`` and ``coarse``, not those
    of the paper. The energy is E = sum_i e(h_i) + sum over levels and nodes m_K e_c(K).
    """

    Config: ClassVar[type[MultiscaleConfig]] = MuseConfig
    size_consistent = True

    def __init__(self, config: MuseConfig, context: MultiscaleContext) -> None:
        super().__init__()
        self.config = config
        size = context.features
        vectors = size.tensors.get(1, 0) if config.l_max > 0 else 0
        self.reads_tensors = vectors > 0
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
                scalars=size.scalars,
                vectors=vectors,
                channels=channels,
                tensor_channels=config.tensor_channels,
                l_max=config.l_max,
                layers=config.layers,
                radius=radius,
                inner=config.inner_fraction * radius,
                cutoff=cutoff,
                moments=config.pooling == "moments",
            )
            interactions = _interactions(config, context, channels, cutoff)
            self.levels.append(Level(level_size, _choice(config), interactions))
        self.readout = dense(size.scalars, 1, size.scalars, READOUT_INIT_SCALE)
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
                f"{size.cutoff:g} A"
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
        tensors = {order: [values] for order, values in features.tensors.items()}
        energy = geometry.positions.new_zeros(geometry.num_graphs)
        levels = []
        for level in self.levels:
            unpooled, coarse_energy, nodes, assignment = level(atoms, graph, geometry)
            energy = energy + coarse_energy
            levels.append((nodes, assignment))
            atoms = AtomTensors(
                unpooled.scalars, atoms.vectors, atoms.local_vectors, atoms.local_matrices
            )
            if unpooled.vectors is not None:
                tensors.setdefault(1, []).append(to_standard_order(unpooled.vectors))
            if unpooled.matrices is not None:
                tensors.setdefault(2, []).append(matrices_to_standard(unpooled.matrices))
        local = self.readout(atoms.scalars)[:, 0]
        energy = energy + sum_nodes(local, geometry.graph_index, geometry.num_graphs)
        joined = {order: torch.cat(parts, dim=-1) for order, parts in sorted(tensors.items())}
        return MultiscaleOutput(NodeFeatures(atoms.scalars, joined), energy, tuple(levels))

    def _atom_tensors(self, features: NodeFeatures, graph: Graph) -> AtomTensors:
        scalars = features.scalars
        vectors = None
        if self.reads_tensors:
            vectors = from_standard_order(features.tensors[1])
        if self.local is None:
            return AtomTensors(scalars, vectors, scalars.new_zeros((len(scalars), 3, 0)), None)
        near = graph.within(self.local_cutoff)
        sender, receiver = near.edge_index
        directions = near.edge_vectors / near.edge_lengths[:, None]
        edges = Edges(sender, receiver, directions, near.edge_lengths)
        return AtomTensors(scalars, vectors, *self.local(scalars, edges))


#: Keys of backbones that do not apply to coarse graphs.
_ATOMS_ALONE = ("embed", "file", "frozen", "so3lr", "trust")


def _choice(config: MuseConfig) -> NodeChoice:
    if config.nodes == "all":
        return EveryAtom()
    if config.nodes == "species":
        return SpeciesNodes(config.species)
    kind = GivenNodes if config.nodes == "given" else ThinnedNodes
    return kind(config.delta, config.kappa, config.softening, config.crowding_fraction)


def _interactions(
    config: MuseConfig, context: MultiscaleContext, channels: int, cutoff: float
) -> Backbone | None:
    """Build one layer of a backbone for the coarse graph of a level."""
    section = config.backbone or context.backbone.kind
    if section == "none":
        return None
    asked = {"kind": section} if isinstance(section, str) else section
    part = lookup("backbone", asked.get("kind"))
    own = {"cutoff": cutoff, "channels": channels, "layers": 1}
    for key in asked.keys() & {*own, *_ATOMS_ALONE}:
        reason = "the level says this" if key in own else "this is for the backbone of the atoms"
        raise InputError(f"model.multiscale.backbone.{key}: {reason}; remove the key")
    where = f"model.multiscale: the {asked['kind']} modules of a coarse level"
    backbone: Backbone = part(validate(part.Config, {**asked, **own}, where), context.elements)
    idle = backbone.tensor_parameters
    if config.l_max == 0:  # the nodes do not use their tensors
        for name in idle:
            backbone.get_parameter(name).requires_grad_(False)
    elif idle and max(backbone.tensor_channels) > config.l_max:
        raise InputError(
            f"{where} have tensors of l = {max(backbone.tensor_channels)}, which the nodes do not "
            f"use with model.multiscale.l_max: {config.l_max}; set their l_max to this value"
        )
    return backbone
