"""Inputs of a compiled program: the tensors of a batch, and tables that are made beforehand."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from muse_lr.config.part import Part
from muse_lr.model.energies import atomic_graph
from muse_lr.structures.batch import AtomsBatch, AtomsData
from muse_lr.structures.geometry import Geometry, strained_geometry
from muse_lr.structures.host_tables import HostTables
from muse_lr.structures.neighbor_tables import ImageTable, NeighborTables

if TYPE_CHECKING:
    from muse_lr.model.energy_model import EnergyModel

#: Attributes of a batch that parts read, with the names of the sizes that change.
OF_BATCH: dict[str, tuple[str | int, ...]] = {
    "positions": ("atoms", 3),
    "cell": ("graphs", 3, 3),
    "numbers": ("atoms",),
    "pbc": ("graphs", 3),
    "has_volume": ("graphs",),
    "field": ("graphs", 3),
    "coarse_index": ("atoms",),
    "total_charge": ("graphs",),
    "spin": ("graphs",),
    "batch": ("atoms",),
    "ptr": ("graphs + 1",),
}
OF_EDGES: dict[str, tuple[str | int, ...]] = {
    "edge_index": (2, "edges"),
    "image_shifts": ("images", 3),
    "image_graph": ("images",),
    "row_of_edge": ("edges",),
}


@dataclass(frozen=True)
class ProgramInputs:
    """Inputs of a program for one batch.

    Attributes
    ----------
    tensors : dict of str to Tensor
        Those of :data:`OF_BATCH` and :data:`OF_EDGES`.
    tables : HostTables
        Tables of the parts.
    reach : float
        Largest cutoff of the parts, A. There are no longer edges.
    geometry : Geometry
        The whole geometry of the batch, with all edges, without gradients.
    """

    tensors: dict[str, Tensor]
    tables: HostTables
    reach: float
    geometry: Geometry

    def named(self) -> dict[str, Tensor]:
        """All tensors by name, in the order of the arguments of the program."""
        return {**self.tensors, **dict(self.tables.tensors("table "))}

    def sizes(self) -> dict[str, tuple[str | int, ...]]:
        """Names of the sizes of each tensor; a table has sizes of its own."""
        known = OF_BATCH | OF_EDGES
        return {
            name: known.get(name) or tuple(f"{name} {axis}" for axis in range(tensor.dim()))
            for name, tensor in self.named().items()
        }


def traced_parts(model: EnergyModel) -> list[Part]:
    """The parts whose equations a compiled program contains."""
    slots: list[Part | None] = [model.backbone, model.multiscale, model.charges]
    heads = [head for head in model.heads.values() if head.traced]
    return [part for part in (*slots, *heads) if part is not None]


@torch.no_grad()
def program_inputs(model: EnergyModel, batch: AtomsBatch) -> ProgramInputs:
    """Make all tables of a batch that the parts of a model read."""
    parts = traced_parts(model)
    reach = max((part.cutoff for part in parts), default=0.0)
    whole = strained_geometry(batch, batch.positions.detach(), None)
    geometry = _shortened(whole, reach)
    assert model.backbone is not None  # models without a backbone are not compiled
    about = model.composition(batch), batch.total_charge
    graph = atomic_graph(model.backbone, batch, geometry, *about)
    for part in parts:
        part.prepare(geometry, graph)
    images = geometry.tables.images
    tensors = {name: getattr(batch, name).detach() for name in OF_BATCH}
    tensors |= {
        "edge_index": geometry.edge_index,
        "image_shifts": images.shifts,
        "image_graph": images.graph,
        "row_of_edge": images.row_of_edge,
    }
    return ProgramInputs(tensors, geometry.host, reach, whole)


def _shortened(geometry: Geometry, reach: float) -> Geometry:
    """The geometry with only the edges shorter than ``reach``, and with empty general tables."""
    kept = (geometry.edge_lengths < reach).nonzero()[:, 0]
    edge_index = geometry.edge_index.index_select(1, kept)
    images = geometry.tables.images
    rows = images.row_of_edge.index_select(0, kept)
    short = replace(images, row_of_edge=rows)
    where = geometry.graph_index, geometry.num_graphs
    return replace(
        geometry,
        edge_index=edge_index,
        edge_shift=short.shifts.new_zeros((0, 3)),
        batch_tables=NeighborTables.with_images(edge_index, short, *where),
        reach=reach,
        host=HostTables(general=True),
    )


def rebuilt(
    tensors: Sequence[Tensor], like: ProgramInputs
) -> tuple[AtomsBatch, NeighborTables, HostTables]:
    """Batch and tables from the arguments of the program, in the order of ``like.named()``."""
    named: Mapping[str, Tensor] = dict(zip(like.named(), tensors, strict=True))
    batch = AtomsBatch(_base_cls=AtomsData)
    for name in OF_BATCH:
        batch[name] = named[name]
    graphs = named["cell"].shape[0]
    batch._num_graphs = graphs
    images = ImageTable(named["image_shifts"], named["image_graph"], named["row_of_edge"])
    edge_index = named["edge_index"]
    batch.edge_index, batch.edge_shift = edge_index, images.shifts
    tables = NeighborTables.with_images(edge_index, images, named["batch"], graphs)
    start = len(OF_BATCH) + len(OF_EDGES)
    return batch, tables, like.tables.filled(iter(tensors[start:]))
