"""Energies of a small cluster from mace-torch, to check a conversion."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from muse_lr.backbones.mace.imports import float64_construction
from muse_lr.errors import InputError
from muse_lr.structures.graph import Graph


def reference_graph(n_elements: int, cutoff: float) -> Graph:
    """A small cluster with distances of about 1.5 to 3 A and all its edges, in float64."""
    generator = torch.Generator().manual_seed(0)
    corners = torch.cartesian_prod(*3 * (torch.arange(2, dtype=torch.float64),))
    spacing = min(2.0, 0.7 * cutoff)
    jitter = 0.2 * torch.rand(corners.shape, generator=generator, dtype=torch.float64)
    positions = spacing * (corners + jitter)
    species = torch.arange(len(positions)) % n_elements
    vectors = positions.unsqueeze(0) - positions.unsqueeze(1)  # [receiver, sender]
    lengths = vectors.norm(dim=-1)
    receiver, sender = ((lengths > 0) & (lengths < cutoff)).nonzero().unbind(-1)
    return Graph(
        composition=torch.eye(n_elements, dtype=torch.float64)[species],
        edge_index=torch.stack([sender, receiver]),
        edge_vectors=vectors[receiver, sender],
        edge_lengths=lengths[receiver, sender],
        graph_index=torch.zeros(len(positions), dtype=torch.int64),
        num_graphs=1,
        total_charge=torch.zeros(1, dtype=torch.float64),
        spin=torch.ones(1, dtype=torch.float64),
    )


def reference_energies(
    model: Any, graph: Graph, head: int, selection: list[int], path: Path
) -> Tensor:
    """(n_nodes,) energies of the nodes from mace-torch, without E0, eV."""
    n_nodes, n_edges = graph.num_nodes, graph.edge_index.shape[1]
    attributes = graph.composition.new_zeros(n_nodes, len(model.atomic_numbers))
    attributes[:, selection] = graph.composition
    data = {
        # The shifts define all edge vectors, which point from the sender to the receiver here.
        "positions": attributes.new_zeros(n_nodes, 3),
        "shifts": -graph.edge_vectors,
        "unit_shifts": attributes.new_zeros(n_edges, 3),
        "cell": attributes.new_zeros(3, 3),
        "node_attrs": attributes,
        "edge_index": graph.edge_index,
        "batch": graph.graph_index,
        "ptr": torch.tensor([0, n_nodes]),
        "head": torch.tensor([head]),
    }
    try:
        with float64_construction():
            out = model(data, compute_force=False)
            e0 = model.atomic_energies_fn(attributes)
    except (RuntimeError, AttributeError, KeyError, TypeError, NotImplementedError) as error:
        line = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise InputError(
            f"{path}: the installed version of mace-torch cannot evaluate this model ({line})"
        ) from error
    return (out["node_energy"] - e0[:, min(head, e0.shape[1] - 1)]).detach()
