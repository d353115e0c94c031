"""Strained geometry shared by all parts of a model."""

from __future__ import annotations

import math
from dataclasses import dataclass
from dataclasses import field as dataclass_field
from functools import cached_property
from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor

from muse_lr.structures.host_tables import HostTables, edges_within
from muse_lr.structures.neighbor_tables import ImageTable, NeighborTables

if TYPE_CHECKING:
    from muse_lr.structures.batch import AtomsBatch

#: Boundary conditions: T for periodic and F for open directions. The open direction of a slab can
#: be any cell vector.
Boundary = Literal["FFF", "TTF", "TTT"]
PeriodicBoundary = Literal["TTF", "TTT"]
ALL_BOUNDARIES: frozenset[Boundary] = frozenset({"FFF", "TTF", "TTT"})
#: Names of the boundary conditions, indexed by the number of periodic directions.
BOUNDARY_NAMES = ("FFF", "one periodic axis", "TTF", "TTT")


@dataclass(frozen=True)
class Geometry:
    """Differentiable strained positions, cells and edges of a batch, in float64.

    Attributes
    ----------
    positions : Tensor
        (n_atoms, 3) in A.
    cell : Tensor
        (n_graphs, 3, 3) in A.
    edge_index, edge_shift, numbers, pbc, has_volume, graph_index, ptr, num_graphs :
    field, coarse_index :
        As in :class:`~muse_lr.structures.batch.AtomsBatch`.
    batch_tables : NeighborTables
        Tables of the neighbor list of the batch, which are stored with the batch.
    reach : float
        All edges are known to be shorter, A.
    host : HostTables
        Tables of this geometry.
    """

    positions: Tensor
    cell: Tensor
    edge_index: Tensor
    edge_shift: Tensor
    numbers: Tensor
    pbc: Tensor
    has_volume: Tensor
    graph_index: Tensor
    ptr: Tensor
    num_graphs: int
    field: Tensor
    coarse_index: Tensor
    batch_tables: NeighborTables
    reach: float = math.inf
    host: HostTables = dataclass_field(default_factory=HostTables)

    @cached_property
    def tables(self) -> NeighborTables:
        """Tables of the neighbor list; new ones if the edges differ from those of the batch."""
        if self.batch_tables.edge_index is self.edge_index:
            return self.batch_tables
        return NeighborTables(self.edge_index, self.edge_shift, self.graph_index, self.num_graphs)

    @property
    def edge_images(self) -> ImageTable:
        """Distinct lattice shifts of the edges."""
        return self.tables.images

    @cached_property
    def edge_vectors(self) -> Tensor:
        """(n_edges, 3) in A, from the receiver to the image of the sender."""
        # The first access may happen in no_grad mode while later ones need gradients.
        with torch.set_grad_enabled(self.positions.requires_grad or self.cell.requires_grad):
            sender, receiver = self.edge_index
            vectors = self.positions.index_select(0, sender)
            vectors = vectors - self.positions.index_select(0, receiver)
            images = self.edge_images
            return vectors + images.vectors(self.cell).index_select(0, images.row_of_edge)

    @cached_property
    def edge_lengths(self) -> Tensor:
        """(n_edges,) in A."""
        with torch.set_grad_enabled(self.edge_vectors.requires_grad):
            return torch.linalg.vector_norm(self.edge_vectors, dim=1)

    def within(self, cutoff: float) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Senders, receivers, vectors (A) and lengths (A) of the edges shorter than ``cutoff``."""
        sender, receiver = self.edge_index
        edges = sender, receiver, self.edge_vectors, self.edge_lengths
        kept = None
        if self.reach > cutoff:
            kept = edges_within(self.host, self.edge_lengths, cutoff, self.reach)
        if kept is None:
            return edges
        sender, receiver, vectors, lengths = (each.index_select(0, kept) for each in edges)
        return sender, receiver, vectors, lengths

    @property
    def open_graphs(self) -> Tensor:
        """(n_graphs,) of bool, True for graphs without periodic directions."""
        return ~self.pbc.any(1)

    @property
    def periodic_graphs(self) -> Tensor:
        """(n_graphs,) of bool, True for graphs that are periodic in all three directions."""
        return self.pbc.all(1)

    @property
    def nodes_per_graph(self) -> Tensor:
        """(n_graphs,) number of atoms of each graph."""
        return self.ptr[1:] - self.ptr[:-1]

    @property
    def volume(self) -> Tensor:
        """(n_graphs,) |det cell| in A^3, without meaning where ``has_volume`` is False."""
        return torch.linalg.det(self.cell).abs()


def slab_normals(cell: Tensor, pbc: Tensor) -> Tensor:
    """(n_graphs, 3) unit normals of slabs; placeholders for other boundaries.

    ``cell`` and ``pbc`` are as in :func:`open_projection`.
    """
    normal = _planes(cell, pbc)
    return normal / torch.linalg.vector_norm(normal, dim=1, keepdim=True)


def plane_areas(cell: Tensor, pbc: Tensor) -> Tensor:
    """(n_graphs,) areas of the periodic planes of slabs, A^2; placeholders for other boundaries."""
    return torch.linalg.vector_norm(_planes(cell, pbc), dim=1)


def _planes(cell: Tensor, pbc: Tensor) -> Tensor:
    """(n_graphs, 3) products of the vectors after the first open axis."""
    rows = torch.arange(cell.shape[0], device=cell.device)
    axis = (~pbc).long().argmax(1)
    return torch.linalg.cross(cell[rows, (axis + 1) % 3], cell[rows, (axis + 2) % 3])


def open_projection(cell: Tensor, pbc: Tensor) -> Tensor:
    """Projection of vectors on the open directions, in which a dipole is defined.

    Parameters
    ----------
    cell : Tensor
        (n_graphs, 3, 3) in A.
    pbc : Tensor
        (n_graphs, 3) of bool.

    Returns
    -------
    Tensor
        (n_graphs, 3, 3): the identity for open systems, the projection on the normal for slabs and
        zero for crystals. Structures with one periodic axis are not supported and give zero.
    """
    normal = slab_normals(cell, pbc)
    projection = normal[:, :, None] * normal[:, None, :]
    slab = (pbc.sum(1) == 2)[:, None, None]
    identity = torch.eye(3, dtype=cell.dtype, device=cell.device)
    projection = torch.where(slab, projection, torch.zeros_like(projection))
    return torch.where(pbc.any(1)[:, None, None], projection, identity)


def strained_geometry(batch: AtomsBatch, positions: Tensor, strain: Tensor | None) -> Geometry:
    """Apply a strain to the positions and cells.

    r' = r + r.e and C' = C + C.e, where e is the symmetric part of ``strain``.

    Parameters
    ----------
    batch : AtomsBatch
    positions : Tensor
        (n_atoms, 3) in A; usually the leaf tensor for derivatives.
    strain : Tensor or None
        (n_graphs, 3, 3); usually zeros that require gradients.
    """
    cell = batch.cell.to(positions.dtype)
    if strain is not None:
        symmetric = (strain + strain.mT) / 2
        positions = positions + torch.einsum("ia,iab->ib", positions, symmetric[batch.batch])
        cell = cell + cell @ symmetric
    return Geometry(
        positions=positions,
        cell=cell,
        edge_index=batch.edge_index,
        edge_shift=batch.edge_shift,
        numbers=batch.numbers,
        pbc=batch.pbc,
        has_volume=batch.has_volume,
        graph_index=batch.batch,
        ptr=batch.ptr,
        num_graphs=batch.num_graphs,
        field=batch.field,
        coarse_index=batch.coarse_index,
        batch_tables=batch.tables,
    )
