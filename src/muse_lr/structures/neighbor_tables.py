"""Tables derived from a neighbor list: distinct lattice shifts and distinct pairs.

A neighbor list has many edges but few distinct lattice shifts. The tables are computed once and
remain valid for the lifetime of the list.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from muse_lr.structures.sparse import SparseGraphs

#: Largest integer that encodes a graph and its lattice shift.
LARGEST_CODE = 2**62


@dataclass(frozen=True)
class ImageTable:
    """Distinct combinations of a graph and a lattice shift.

    Attributes
    ----------
    shifts : Tensor
        (t, 3) of int64, lattice shifts in units of the cell vectors.
    graph : Tensor
        (t,) of int64, graph of each row.
    row_of_edge : Tensor
        (n_edges,) of int64, row of each edge.
    """

    shifts: Tensor
    graph: Tensor
    row_of_edge: Tensor

    def vectors(self, cell: Tensor) -> Tensor:
        """(t, 3) shift vectors in A for cells of shape (n_graphs, 3, 3)."""
        rows = cell.index_select(0, self.graph)
        return torch.einsum("ta,tab->tb", self.shifts.to(cell.dtype), rows)

    def pull_to_cells(self, slopes: Tensor, n_graphs: int) -> Tensor:
        """Backpropagate (t, 3) gradients of the shift vectors to (n_graphs, 3, 3) cells."""
        outer = self.shifts.to(slopes.dtype)[:, :, None] * slopes[:, None, :]
        return slopes.new_zeros((n_graphs, 3, 3)).index_add(0, self.graph, outer)


@torch.no_grad()
def image_table(edge_shift: Tensor, graph_of_edge: Tensor, num_graphs: int) -> ImageTable:
    """Create the table of images of a neighbor list.

    Parameters
    ----------
    edge_shift : Tensor
        (n_edges, 3), integers.
    graph_of_edge : Tensor
        (n_edges,), graph of each edge.
    num_graphs : int
    """
    shifts = edge_shift.long()
    if len(shifts) == 0:
        return ImageTable(shifts, graph_of_edge, graph_of_edge)
    reach = int(shifts.abs().max())
    n = 2 * reach + 1
    rows = num_graphs * n**3
    if rows > LARGEST_CODE:
        return _table_of_far_images(shifts, graph_of_edge)
    x, y, z = shifts.unbind(1)
    row = ((graph_of_edge * n + x) * n + y) * n + z + reach * (n * n + n + 1)
    # The dense table is larger than the list if small cells have distant images.
    if rows > len(row):
        codes, row = torch.unique(row, return_inverse=True)
    else:
        codes = torch.arange(rows, device=row.device)
    digits = torch.stack([codes // (n * n) % n, codes // n % n, codes % n], dim=1)
    return ImageTable(digits - reach, codes // n**3, row)


def _table_of_far_images(shifts: Tensor, graph_of_edge: Tensor) -> ImageTable:
    """The table of shifts that do not fit into one integer, in the same order."""
    row = graph_of_edge
    # The ranks of the values, unlike the values, are below the number of edges.
    for values in shifts.unbind(1):
        different, rank = torch.unique(values, return_inverse=True)
        different, row = torch.unique(row * len(different) + rank, return_inverse=True)
    table = shifts.new_empty((len(different), 3))
    graph = graph_of_edge.new_empty(len(different))
    table[row], graph[row] = shifts, graph_of_edge
    return ImageTable(table, graph, row)


@dataclass(frozen=True)
class HalfList:
    """Pairs of atoms, each once.

    Pairs of an atom and its own image occur twice, with a weight of 1/2.

    Attributes
    ----------
    first, second : Tensor
        (p,) receiver and sender of the edge of each pair.
    image : Tensor
        (p,) row of the image table with the lattice shift of the second atom.
    graph : Tensor or None
        (p,) graph of each pair; None if there is one graph.
    weight : Tensor or None
        (p,) float64, 1/2 if both atoms are the same and 1 otherwise; None if all weights are 1.
    """

    first: Tensor
    second: Tensor
    image: Tensor
    graph: Tensor | None
    weight: Tensor | None


@dataclass(frozen=True)
class NeighborTables:
    """Tables of one neighbor list, computed at their first use.

    Attributes
    ----------
    edge_index, edge_shift, graph_index, num_graphs :
        As in :class:`~muse_lr.structures.batch.AtomsBatch`.
    sparse : SparseGraphs or None
        Rungs of the density when the list was built; None if all graphs are dense.
    """

    edge_index: Tensor
    edge_shift: Tensor
    graph_index: Tensor
    num_graphs: int
    sparse: SparseGraphs | None = None

    @cached_property
    def images(self) -> ImageTable:
        """Distinct lattice shifts of the edges."""
        graph = self.graph_index.index_select(0, self.edge_index[1])
        return image_table(self.edge_shift, graph, self.num_graphs)

    @classmethod
    def with_images(
        cls, edge_index: Tensor, images: ImageTable, graph_index: Tensor, num_graphs: int
    ) -> NeighborTables:
        """Tables of edges whose images are known."""
        shifts = images.shifts.new_zeros((0, 3))  # only the images are read
        tables = cls(edge_index, shifts, graph_index, num_graphs)
        tables.__dict__["images"] = images
        return tables

    @cached_property
    def half(self) -> HalfList:
        """Distinct pairs of the edges."""
        sender, receiver = self.edge_index
        edge = (receiver <= sender).nonzero()[:, 0]
        first, second = receiver.index_select(0, edge), sender.index_select(0, edge)
        graph = self.graph_index.index_select(0, first) if self.num_graphs > 1 else None
        same = first == second
        weight = torch.where(same, 0.5, 1.0).double() if bool(same.any()) else None
        image = self.images.row_of_edge.index_select(0, edge)
        return HalfList(first, second, image, graph, weight)
