"""The lattice shifts that occur in a neighbour list, each once: there are few for many edges."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class ImageTable:
    """Rows of (graph, lattice shift).

    Attributes
    ----------
    shifts : Tensor
        (t, 3) of int64.
    graph : Tensor
        (t,) of int64.
    row_of_edge : Tensor
        (n_edges,) of int64.
    """

    shifts: Tensor
    graph: Tensor
    row_of_edge: Tensor

    def vectors(self, cell: Tensor) -> Tensor:
        """(t, 3) shift vectors in (n_graphs, 3, 3) cells, A."""
        rows = cell.index_select(0, self.graph)
        return torch.einsum("ta,tab->tb", self.shifts.to(cell.dtype), rows)

    def pull_to_cells(self, slopes: Tensor, n_graphs: int) -> Tensor:
        """(n_graphs, 3, 3) derivative by the cells from (t, 3) derivatives by the vectors."""
        outer = self.shifts.to(slopes.dtype)[:, :, None] * slopes[:, None, :]
        return slopes.new_zeros((n_graphs, 3, 3)).index_add(0, self.graph, outer)


@torch.no_grad()
def image_table(edge_shift: Tensor, graph_of_edge: Tensor, num_graphs: int) -> ImageTable:
    """The table of a neighbour list.

    Parameters
    ----------
    edge_shift : Tensor
        (n_edges, 3), whole numbers.
    graph_of_edge : Tensor
        (n_edges,).
    num_graphs : int
    """
    shifts = edge_shift.long()
    if len(shifts) == 0:
        return ImageTable(shifts, graph_of_edge, graph_of_edge)
    reach = int(shifts.abs().max())
    n = 2 * reach + 1
    x, y, z = shifts.unbind(1)
    row = ((graph_of_edge * n + x) * n + y) * n + z + reach * (n * n + n + 1)
    codes = torch.arange(num_graphs * n**3, device=row.device)
    if len(codes) > len(row):  # far images of small cells
        codes, row = torch.unique(row, return_inverse=True)
    digits = torch.stack([codes // (n * n) % n, codes // n % n, codes % n], dim=1)
    return ImageTable(digits - reach, codes // n**3, row)
