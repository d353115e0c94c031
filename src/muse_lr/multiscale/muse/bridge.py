"""Backbones as interaction modules between coarse nodes."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from muse_lr.backbones.base import Backbone, BackboneConfig
from muse_lr.config.registry import lookup
from muse_lr.config.schema import validate
from muse_lr.errors import InputError
from muse_lr.math.multipoles import from_standard_order, to_standard_order
from muse_lr.multiscale.base import Assignment, CoarseNodes, MultiscaleContext
from muse_lr.multiscale.muse.coarse import CoarseEdges
from muse_lr.multiscale.muse.tensors import (
    READOUT_INIT_SCALE,
    TensorFeatures,
    gather,
    matrices_from_standard,
    matrices_to_standard,
)
from muse_lr.structures.graph import Graph, NodeFeatures
from muse_lr.structures.host_tables import HostTables

#: Keys of backbones that do not apply to coarse graphs.
ATOMS_ALONE = ("embed", "file", "frozen", "so3lr", "trust")
#: Keys of backbones that the level determines.
OF_LEVEL = ("cutoff", "layers")
#: Default width of the modules: a quarter of the channels of the nodes, and at least this.
LEAST_WIDTH = 16


class Bridge(nn.Module):
    """Applies a backbone to the coarse graph.

    The composition of a node is the mean over its atoms. Messages have the quadrature weights of
    the coarse edges. Distances are scaled so that the cutoff of the coarse edges becomes that of
    the backbone, whose radial functions are made for distances between atoms. The output is added
    to the features of the nodes.

    Parameters
    ----------
    channels, tensor_channels : int
        Channels of the node features: scalars, and vectors and matrices.
    l_max : int
        Highest order of the node features.
    cutoff : float
        Cutoff of the coarse edges, A.
    interactions : Backbone
    """

    def __init__(
        self,
        channels: int,
        tensor_channels: int,
        l_max: int,
        cutoff: float,
        interactions: Backbone,
    ) -> None:
        super().__init__()
        self.interactions = interactions
        self.scale = interactions.cutoff / cutoff
        width = interactions.config.channels
        self.scalars_in = nn.Linear(channels, width, bias=False)
        self.scalars_out = nn.Linear(interactions.scalar_channels, channels, bias=False)
        known = interactions.tensor_channels
        self.orders = [order for order in range(1, l_max + 1) if order in known]
        self.tensors_in = nn.ModuleList(
            nn.Linear(tensor_channels, known[order], bias=False) for order in self.orders
        )
        self.tensors_out = nn.ModuleList(
            _out_of_modules(known[order], tensor_channels) for order in self.orders
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
        weight = assignment.mean_weight[:, None]
        atoms = graph.composition.index_select(0, assignment.atom)
        coarse = Graph(
            composition=gather(atoms * weight, assignment.node, kept.mass.shape[0]),
            edge_index=edges.edge_index,
            edge_vectors=self.scale * edges.vectors,
            edge_lengths=self.scale * edges.lengths,
            graph_index=kept.graph_index,
            num_graphs=graph.num_graphs,
            total_charge=graph.total_charge,
            spin=graph.spin,
            edge_weights=edges.weights,
            reach=self.interactions.cutoff,
            tables=HostTables(graph.tables.general),
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
        features = TensorFeatures(scalars, updated[1], updated[2])
        return features, READOUT_INIT_SCALE * energies


def _out_of_modules(known: int, channels: int) -> nn.Linear:
    """Map from the tensors of the modules to those of the nodes.

    Modules with fewer channels than the nodes write the same tensors into many channels. Their
    initial weights are those of a module with the channels of the nodes, so that the tensors of the
    nodes start with the same size for every kind of module.
    """
    linear = nn.Linear(known, channels, bias=False)
    if known < channels:
        with torch.no_grad():
            linear.weight.mul_((known / channels) ** 0.5)
    return linear


def _to_standard(nodes: TensorFeatures, order: int) -> Tensor:
    """(n, 2l + 1, C) components m = -l..l of the vectors or matrices."""
    return to_standard_order(nodes.vectors) if order == 1 else matrices_to_standard(nodes.matrices)


def coarse_backbone(
    asked: str | dict[str, Any] | None,
    context: MultiscaleContext,
    channels: int,
    l_max: int,
) -> Backbone | None:
    """Build one layer of a backbone for the coarse graph of a level, with the cutoff of the atoms.

    Parameters
    ----------
    asked : str, dict or None
        ``model.multiscale.backbone``.
    context : MultiscaleContext
    channels, l_max : int
        Of the node features.

    Raises
    ------
    InputError
        If the section has keys that the level determines, or if the modules have tensors that the
        nodes do not use.
    """
    if asked == "none":
        return None
    section = _section(asked, context)
    part = lookup("backbone", section.get("kind"))
    own = {"cutoff": context.backbone.cutoff, "layers": 1}
    usual = {"channels": max(channels // 4, LEAST_WIDTH)}
    where = f"model.multiscale: the {section['kind']} modules of a coarse level"
    config: BackboneConfig = validate(part.Config, {**usual, **section, **own}, where)
    if config.needs_neighbor_count:  # the quadrature weights already divide by their sum
        config = config.model_copy(update={"avg_num_neighbors": 1.0})
    backbone: Backbone = part(config, context.elements)
    idle = backbone.tensor_parameters
    if l_max == 0:  # the nodes do not use their tensors
        for name in idle:
            backbone.get_parameter(name).requires_grad_(False)
    elif idle and max(backbone.tensor_channels) > l_max:
        raise InputError(
            f"{where} have tensors of l = {max(backbone.tensor_channels)}, which the nodes do not "
            f"use with model.multiscale.l_max: {l_max}; set their l_max to this value"
        )
    return backbone


def _section(asked: str | dict[str, Any] | None, context: MultiscaleContext) -> dict[str, Any]:
    """Section of the modules without the keys that the level determines."""
    if asked == "atoms":
        of_atoms = context.backbone.model_dump(exclude_unset=True)
        left_out = {*OF_LEVEL, *ATOMS_ALONE, "avg_num_neighbors"}
        kept = {key: value for key, value in of_atoms.items() if key not in left_out}
        return {**kept, "kind": context.backbone.kind}
    section = asked or context.backbone.kind
    section = {"kind": section} if isinstance(section, str) else section
    for key in section.keys() & {*OF_LEVEL, *ATOMS_ALONE}:
        own = key in OF_LEVEL
        reason = "the level says this" if own else "this is for the backbone of the atoms"
        raise InputError(f"model.multiscale.backbone.{key}: {reason}; remove the key")
    return section


def effective_section(backbone: Backbone) -> dict[str, Any]:
    """Complete section of the modules, for the configuration in a model file."""
    left_out = {*OF_LEVEL, *ATOMS_ALONE}
    return backbone.config.model_dump(mode="json", exclude=left_out)
