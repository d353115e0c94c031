r"""Sparse periodic structures: rungs of density, and pairs beyond the neighbor list.

At a constant splitting, the number of k vectors of a lattice sum grows with the volume of the cell.
Structures of low density therefore use a splitting that is larger by :math:`2^r`. The rung r only
depends on the number density,

.. math:: r = \lceil \tfrac13 \log_2 (\rho_0 V / N) \rceil \quad\text{(crystals)}, \qquad
          r = \lceil \tfrac12 \log_2 (n_0 A / N) \rceil \quad\text{(slabs)},

and is not negative. It is the same for supercells and equivalent cells, and 0 for molecules. The
sum of a slab includes a gap of 4.5 times the longest period L of the plane. From rung 1 on, a slab
therefore has at least the rung of a crystal of the volume 4.5 L A, which can be higher in a
supercell. The real-space cutoff grows with the splitting. Pairs beyond the neighbor list are found
here.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from muse_lr.structures.geometry import plane_areas, slab_normals
from muse_lr.structures.neighbor_tables import NeighborTables
from muse_lr.structures.neighbors import neighbor_list
from muse_lr.structures.reciprocal import shortest_in_plane

if TYPE_CHECKING:
    from muse_lr.structures.geometry import Geometry

#: Number density of crystals below which the rung is 1 or higher, 1/A^3.
SPARSE_DENSITY = 1e-3
#: Number of atoms per area of slabs below which the rung is 1 or higher, 1/A^2.
SPARSE_AREA_DENSITY = 0.04
#: Gap between a slab and its images in units of the longest period of the plane.
GAP_PER_PERIOD = 4.5
#: Rounding errors of the density do not change the rung.
ROUNDING = 1e-6
#: Pairs within this distance beyond the cutoff are listed, A. The list is valid until an atom has
#: moved by half of it.
SKIN = 1.0


@torch.no_grad()
def density_rungs(cell: Tensor, pbc: Tensor, counts: Tensor) -> Tensor:
    """(n_graphs,) of int64, rung of each graph.

    Parameters
    ----------
    cell : Tensor
        (n_graphs, 3, 3) in A.
    pbc : Tensor
        (n_graphs, 3) of bool.
    counts : Tensor
        (n_graphs,) number of atoms.
    """
    atoms = counts.clamp(min=1)
    crystal = torch.log2(SPARSE_DENSITY * torch.linalg.det(cell).abs() / atoms) / 3
    area = plane_areas(cell, pbc)
    slab = torch.log2(SPARSE_AREA_DENSITY * area / atoms) / 2
    # The k vectors of a wide cell grow with its longest period too.
    period = 2 * math.pi / shortest_in_plane(cell, pbc, slab_normals(cell, pbc))
    wide = torch.log2(SPARSE_DENSITY * GAP_PER_PERIOD * period * area / atoms) / 3
    slab = torch.where(slab > ROUNDING, torch.maximum(slab, wide), slab)
    rung = torch.where(pbc.all(1), crystal, slab).sub(ROUNDING).ceil().clamp(min=0)
    return torch.where(pbc.any(1), rung, 0.0).long()


@dataclass(frozen=True)
class WideList:
    """Pairs of the graphs of one rung within a cutoff, and the structure that they were found in.

    Attributes
    ----------
    tables : NeighborTables
    positions, cell : Tensor
        Positions and cells at which the list was built.
    """

    tables: NeighborTables
    positions: Tensor
    cell: Tensor

    def holds(self, geometry: Geometry) -> bool:
        """Whether the list contains all pairs of this geometry within the cutoff."""
        positions, cell = geometry.positions.detach(), geometry.cell.detach()
        if positions.device != self.positions.device or not torch.equal(cell, self.cell):
            return False
        moved = (positions - self.positions).square().sum(1)
        return bool((moved < (SKIN / 2) ** 2).all())


class SparseGraphs:
    """Rungs of the graphs of a batch, and their wide neighbor lists.

    They are stored with the neighbor list of the batch. A strain or a displacement does not change
    the rung until the neighbor list is built again.

    Parameters
    ----------
    cell, pbc, counts : Tensor
        As in :func:`density_rungs`.
    """

    def __init__(self, cell: Tensor, pbc: Tensor, counts: Tensor) -> None:
        self._structure = (cell.detach(), pbc, counts)
        self.lists: dict[tuple[int, float], WideList] = {}

    @cached_property
    def rungs(self) -> Tensor:
        """(n_graphs,) of int64."""
        return density_rungs(*self._structure)

    @cached_property
    def present(self) -> tuple[int, ...]:
        """Different rungs of the graphs, ascending."""
        return tuple(torch.unique(self.rungs).tolist())


def rungs_of(geometry: Geometry, chosen: Tensor) -> list[tuple[int, Tensor]]:
    """Rungs of the chosen (n_graphs,) graphs, each with the mask of its graphs."""
    sparse = geometry.batch_tables.sparse
    if sparse is None or sparse.present in ((), (0,)):
        return [(0, chosen)]
    found = [(rung, chosen & (sparse.rungs == rung)) for rung in sparse.present]
    return [(rung, graphs) for rung, graphs in found if bool(graphs.any())]


def with_pairs(geometry: Geometry, rung: int, reach: float) -> Geometry:
    """Geometry whose edges are all pairs within ``reach`` (A) of the graphs of one rung.

    On rung 0, and without a reach, it is the same geometry. The list is kept with the neighbor list
    of the batch. It is found on the CPU on any device.
    """
    sparse = geometry.batch_tables.sparse
    if rung == 0 or reach == 0 or sparse is None:
        return geometry
    of_batch = geometry.edge_index is geometry.batch_tables.edge_index
    kept = sparse.lists.get((rung, reach)) if of_batch else None
    if kept is None or not kept.holds(geometry):
        kept = _wide_list(geometry, sparse, rung, reach)
        if of_batch and not torch.is_inference_mode_enabled():
            sparse.lists[rung, reach] = kept
    tables = kept.tables
    return replace(
        geometry,
        edge_index=tables.edge_index,
        edge_shift=tables.edge_shift,
        batch_tables=tables,
    )


@torch.no_grad()
def _wide_list(geometry: Geometry, sparse: SparseGraphs, rung: int, reach: float) -> WideList:
    positions, cell = geometry.positions.detach(), geometry.cell.detach()
    points, cells, pbc = positions.cpu().numpy(), cell.cpu().numpy(), geometry.pbc.cpu().numpy()
    ends = geometry.ptr.tolist()
    edges, shifts = [np.zeros((2, 0), np.int64)], [np.zeros((0, 3), np.int64)]
    for graph in (sparse.rungs == rung).nonzero()[:, 0].tolist():
        own = np.ascontiguousarray(points[ends[graph] : ends[graph + 1]])
        edge, shift = neighbor_list(own, cells[graph], pbc[graph], reach + SKIN)
        edges.append(edge + ends[graph])
        shifts.append(shift)
    index, images = (
        torch.from_numpy(array).to(positions.device)
        for array in (np.concatenate(edges, 1), np.concatenate(shifts))
    )
    tables = NeighborTables(index, images, geometry.graph_index, geometry.num_graphs, sparse)
    return WideList(tables, positions, cell)
