"""A soft coarse-graining hierarchy over any backbone."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

import torch
from pydantic import Field, field_validator, model_validator
from torch import nn

from muse_lr.backbones.base import Backbone
from muse_lr.config.registry import lookup
from muse_lr.config.schema import check_elements, validate
from muse_lr.errors import InputError
from muse_lr.math.multipoles import from_standard_order, to_standard_order
from muse_lr.multiscale.base import (
    Multiscale,
    MultiscaleConfig,
    MultiscaleContext,
    MultiscaleInputs,
    MultiscaleOutput,
)
from muse_lr.multiscale.muse.level import Level, LevelSize
from muse_lr.multiscale.muse.pooling import AtomTensors, Edges, LocalTensors
from muse_lr.multiscale.muse.tensors import READOUT_INIT_SCALE, dense, matrices_to_standard
from muse_lr.multiscale.muse.thinning import (
    CROWDING,
    EveryAtom,
    GivenNodes,
    NodeChoice,
    SpeciesNodes,
    ThinnedNodes,
)
from muse_lr.structures.batch import NO_GROUP, AtomsBatch
from muse_lr.structures.graph import FeatureSize, Graph, NodeFeatures, sum_nodes


class MuseConfig(MultiscaleConfig):
    """Keys of the hierarchy."""

    renamed: ClassVar[dict[str, str]] = {
        "inner": "inner_fraction",
        "crowding": "crowding_fraction",
    }

    kind: Literal["muse"] = "muse"
    levels: int = Field(1, ge=1, le=3, description="Coarse levels; radii double from each to next.")
    radius: float = Field(7.0, gt=0, le=20, description="Reach of a node of the first level, A.")
    inner_fraction: float = Field(
        0.8, gt=0, lt=1, description="Share of the radius at which a node's window starts to fall."
    )
    cutoff: float = Field(
        16.0,
        gt=0,
        le=40,
        description="Cutoff of the edges between nodes of the first level, A; neighbors can "
        "be two radii apart.",
    )
    channels: int | None = Field(
        None, ge=1, description="Width of the nodes' features; default the backbone's channels."
    )
    tensor_channels: int = Field(16, ge=1, description="Width of their vectors and matrices.")
    l_max: int = Field(2, ge=0, le=2, description="Highest order of the nodes' features.")
    layers: int = Field(1, ge=1, description="Rounds of tensor messages on each coarse graph.")
    backbone: str | dict[str, Any] | None = Field(
        None,
        description="Kind of backbone whose interaction modules run on the coarse graphs beside "
        "the tensor messages, with that kind's defaults, or its section, {kind: mace, l_max: 2}; "
        "default the atoms' kind, none for none.",
    )
    pooling: Literal["tensors", "moments"] = Field(
        "tensors",
        description="What nodes receive: features and local tensors, radially resolved, or as a "
        "control the moments r^l Y_l of the atoms' scalars alone.",
    )
    nodes: Literal["thinning", "species", "given", "all"] = Field(
        "thinning",
        description="Which atoms carry nodes; given: some of each group in the array coarse_index "
        "of the structures.",
    )
    species: tuple[str, ...] = Field((), description="Elements of the nodes, for nodes: species.")
    kappa: float = Field(1.5, gt=0, le=3, description="Strength of the thinning.")
    delta: float = Field(
        0.1, gt=0, description="Difference of priority that suppresses fully, at least."
    )
    softening: float = Field(
        40.0,
        ge=0,
        description="Time in fs over which one atom begins to suppress another at 300 K: delta "
        "grows with the rate of the priorities. Less thins more and is stiffer; 0 for the same "
        "delta everywhere.",
    )
    crowding_fraction: float = Field(
        CROWDING, gt=0, le=1, description="Share of the radius that the priority looks at."
    )

    @model_validator(mode="before")
    @classmethod
    def _nodes_of_before(cls, data: Any) -> Any:
        """Models of the rule before, which had this key, would give other energies now."""
        if not isinstance(data, dict) or "priority" not in data:
            return data
        if data.get("nodes") in ("all", "species"):  # which no priority chooses
            return {key: value for key, value in data.items() if key != "priority"}
        raise InputError(
            "the key priority is gone, since nodes are chosen by another rule (see softening): "
            "leave it out and train again; models that were trained with it give other energies"
        )

    @field_validator("species")
    @classmethod
    def _are_elements(cls, species: tuple[str, ...]) -> tuple[str, ...]:
        check_elements(species)
        return species

    @model_validator(mode="after")
    def _fits(self) -> MuseConfig:
        if self.species and self.nodes != "species":
            raise InputError(f"species is read with nodes: species alone, not {self.nodes}")
        if self.nodes == "species" and not self.species:
            raise InputError("nodes is species: say which in species: [O, ...]")
        if self.nodes == "thinning" and self.cutoff <= self.radius:
            raise InputError(
                f"a cutoff of {self.cutoff:g} A does not reach from node to node: neighbors can "
                f"be two radii ({self.radius:g} A) apart, and edges fade from half of it on"
            )
        return self


class Muse(Multiscale):
    """Coarse levels thinned from the atoms, each exchanging through the atoms' features.

    An independent construction after the idea of the Multiscale Structural Ensemble (A. Sole et
    al., arXiv:2605.25710): smooth fractional assignments of atoms to coarse nodes, on which the
    modules of the force field operate. Its equations are those of
    :mod:`muse_lr.multiscale.muse.thinning`, ``assignment``, ``pooling`` and ``coarse``, and not
    that paper's. E = sum_i e(h_i) + sum over levels and nodes m_K e_c(K).
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
        """Channels of each order: the backbone's, then those of each level."""
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
                f"structure {int((counts == 0).nonzero()[0])} has no groups of atoms, which "
                "model.multiscale.nodes: given needs: set atoms.arrays['coarse_index'], a whole "
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


#: Keys of backbones that mean nothing on a coarse graph.
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
    """One layer of a backbone for a coarse graph."""
    section = config.backbone or context.backbone.kind
    if section == "none":
        return None
    asked = {"kind": section} if isinstance(section, str) else section
    part = lookup("backbone", asked.get("kind"))
    own = {"cutoff": cutoff, "channels": channels, "layers": 1}
    for key in asked.keys() & {*own, *_ATOMS_ALONE}:
        reason = "the level says this" if key in own else "this is for the backbone of atoms"
        raise InputError(f"model.multiscale.backbone.{key}: {reason}, leave it out")
    where = f"model.multiscale: the {asked['kind']} modules of a coarse level"
    backbone: Backbone = part(validate(part.Config, {**asked, **own}, where), context.elements)
    idle = backbone.tensor_parameters
    if config.l_max == 0:  # nobody reads their tensors
        for name in idle:
            backbone.get_parameter(name).requires_grad_(False)
    elif idle and max(backbone.tensor_channels) > config.l_max:
        raise InputError(
            f"{where} have tensors of l = {max(backbone.tensor_channels)}, which the nodes, with "
            f"model.multiscale.l_max: {config.l_max}, do not read: give them that l_max"
        )
    return backbone
