"""The named energies of a model, from its parts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from muse_lr.backbones.base import Backbone
from muse_lr.charges.base import ChargeInputs
from muse_lr.density import ChargeDensity
from muse_lr.electrostatics.base import Derivative
from muse_lr.errors import InputError
from muse_lr.heads.base import HeadInputs
from muse_lr.model.output import ModelOutput
from muse_lr.model.requests import Selection
from muse_lr.multiscale.base import MultiscaleInputs
from muse_lr.structures.geometry import Geometry
from muse_lr.structures.graph import Graph, NodeFeatures, sum_nodes

if TYPE_CHECKING:
    from muse_lr.model.energy_model import EnergyModel
    from muse_lr.structures.batch import AtomsBatch


@dataclass
class _Features:
    """Features of the backbone, features of the model, and coarse nodes."""

    local: NodeFeatures | None = None
    wide: NodeFeatures | None = None
    levels: tuple[Any, ...] = ()


def evaluate_energies(
    model: EnergyModel,
    batch: AtomsBatch,
    geometry: Geometry,
    derivatives: frozenset[Derivative],
    by_charges: bool,
    chosen: Selection,
    call: Callable[[int, HeadInputs], Tensor] | None = None,
) -> ModelOutput:
    """Evaluate the chosen energies of a model and what they need.

    Parameters
    ----------
    model, batch, geometry :
        The geometry is the strained one of the batch.
    derivatives : frozenset of str
        Derivatives of the energy that will be computed.
    by_charges : bool
        Whether the energy will be differentiated by the moments of the density.
    chosen : Selection
    call : callable, optional
        Evaluates the heads that a compiled program calls, from the number of the head and its
        inputs.

    Raises
    ------
    InputError
        If the energy ``charges`` is chosen and the charge model has none.
    """
    parts: dict[str, Tensor] = {}
    if chosen.has("e0"):
        parts["e0"] = sum_nodes(model.isolated_energies(batch), batch.batch, batch.num_graphs)
    composition = model.composition(batch)
    total_charge = batch.total_charge
    if model.charges is not None:
        total_charge = model.charges.total_charge(batch)
    found = _Features()
    if chosen.backbone and model.backbone is not None:
        graph = atomic_graph(model.backbone, batch, geometry, composition, total_charge)
        found = _features(model, graph, geometry, chosen, parts)
    density = None
    nothing = NodeFeatures(composition.new_zeros((composition.shape[0], 0)))
    if chosen.charges and model.charges is not None:
        source = found.local if model.charges.input == "backbone" else found.wide
        inputs = ChargeInputs(source or nothing, composition, geometry, batch)
        density = _density(model, inputs, by_charges, chosen, parts)
    read = found.wide or nothing, composition, derivatives, found.levels
    head_inputs = HeadInputs(geometry, density, *read)
    for number, (name, head) in enumerate(model.heads.items()):
        if chosen.has(name):
            evaluate = head if call is None or head.traced else partial(call, number)
            parts[name] = evaluate(head_inputs)
    return ModelOutput(
        torch.stack(list(parts.values())).sum(0),
        parts,
        density=density,
        features=found.wide,
        levels=found.levels,
        total_charge=total_charge,
    )


def _features(
    model: EnergyModel,
    graph: Graph,
    geometry: Geometry,
    chosen: Selection,
    parts: dict[str, Tensor],
) -> _Features:
    """Features of backbone and multiscale block; their chosen energies are added to ``parts``."""
    assert model.backbone is not None
    features, local = model.backbone.by_name(graph)
    if chosen.has("backbone"):
        for name, energies in local.items():
            parts[name] = sum_nodes(energies, graph.graph_index, graph.num_graphs)
    if model.multiscale is None or not chosen.multiscale:
        return _Features(features, features)
    wide = model.multiscale(MultiscaleInputs(features, graph, geometry))
    if chosen.has("multiscale"):
        parts["multiscale"] = wide.energy
    return _Features(features, wide.features, wide.levels)


def _density(
    model: EnergyModel,
    inputs: ChargeInputs,
    by_charges: bool,
    chosen: Selection,
    parts: dict[str, Tensor],
) -> ChargeDensity:
    """The charge density; the energy of the charge model is added to ``parts`` if chosen."""
    assert model.charges is not None
    density: ChargeDensity = model.charges(inputs)
    if not inputs.geometry.host.closed:  # else the caller checks the results
        density.check()
    if by_charges and not density.moments.requires_grad:
        density = replace(density, moments=density.moments.detach().requires_grad_(True))
    if density.energy is not None and chosen.has("charges"):
        parts["charges"] = density.energy
    elif chosen.names is not None and chosen.has("charges"):
        raise InputError("only: the charge model of this model has no energy 'charges'")
    return density


def atomic_graph(
    backbone: Backbone,
    batch: AtomsBatch,
    geometry: Geometry,
    composition: Tensor,
    total_charge: Tensor,
) -> Graph:
    """The graph of the atoms that a backbone gets, in the precision of the model."""
    dtype = composition.dtype
    graph = Graph(
        composition=composition,
        edge_index=geometry.edge_index,
        edge_vectors=geometry.edge_vectors.to(dtype),
        edge_lengths=geometry.edge_lengths.to(dtype),
        graph_index=geometry.graph_index,
        num_graphs=geometry.num_graphs,
        total_charge=total_charge,
        spin=batch.spin,
        reach=geometry.reach,
        one_hot=True,
        tables=geometry.host,
    )
    # Other parts of the model can need edges that are longer than those of the backbone.
    return graph.within(backbone.cutoff)
