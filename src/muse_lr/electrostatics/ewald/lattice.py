"""Cells of the lattice sums of crystals and slabs.

The sum of a slab uses a cell with its two periodic vectors and a normal vector of length L, which
leaves a gap between the slab and its images. For all k vectors with an in-plane component h, the
interaction with the images decays as exp(-h gap). The slab term of the reference solver corrects
the k vectors along the normal.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import torch
from torch import Tensor

from muse_lr.structures.geometry import Geometry, plane_areas, slab_normals
from muse_lr.structures.reciprocal import reduced_basis, shortest_in_plane

#: The gap reduces the interaction with the images of a slab to exp(-SLAB_DECAY).
SLAB_DECAY = 28.0
#: Minimum gap in units of the splitting, so that the Gaussian charges of images do not overlap.
SLAB_GAP = 12.0


@dataclass(frozen=True)
class LatticeCells:
    """Cells for the lattice sums of the selected graphs.

    Attributes
    ----------
    cell : Tensor
        (G, 3, 3) in A. The open vector of a slab is normal to its plane, with length ``height``.
    slab : Tensor
        (G,) of bool: graphs that are slabs.
    has_slabs : bool
        Whether there are any slabs.
    normal : Tensor
        (G, 3) unit normal of slabs. ``normal``, ``height`` and ``area`` are placeholders for
        crystals.
    height : Tensor
        (G,) L in A. It is detached, because the energy does not depend on it.
    area : Tensor
        (G,) of the periodic plane of slabs, A^2.
    """

    cell: Tensor
    slab: Tensor
    has_slabs: bool
    normal: Tensor
    height: Tensor
    area: Tensor

    @cached_property
    def volume(self) -> Tensor:
        """(G,) in A^3."""
        return torch.linalg.det(self.cell).abs()

    def reduced(self) -> LatticeCells:
        """Cells of the same lattices with short vectors."""
        cell = self.cell.detach()
        steps = torch.round(reduced_basis(cell) @ torch.linalg.inv(cell))
        return replace(self, cell=steps @ self.cell)


def lattice_cells(geometry: Geometry, chosen: Tensor, splitting: float) -> LatticeCells:
    """Cells of the selected graphs, which are periodic in two or three directions."""
    cell, pbc = geometry.cell, geometry.pbc
    if not bool(chosen.all()):
        cell, pbc = cell[chosen], pbc[chosen]
    slab = ~pbc.all(1)
    if not bool(slab.any()):
        one = cell.new_ones(len(cell))
        return LatticeCells(cell, slab, False, torch.zeros_like(cell[:, 0]), one, one)
    # The open axis; 0 for crystals, whose results are not used.
    axis = (~pbc).long().argmax(1)
    area, normal = plane_areas(cell, pbc), slab_normals(cell, pbc)
    height = _heights(geometry, chosen, cell, normal, splitting)
    open_row = torch.nn.functional.one_hot(axis, 3).bool() & slab[:, None]
    cell = torch.where(open_row[:, :, None], (normal * height[:, None])[:, None, :], cell)
    return LatticeCells(cell, slab, True, normal, height, area)


@torch.no_grad()
def _heights(
    geometry: Geometry,
    chosen: Tensor,
    cell: Tensor,
    normal: Tensor,
    splitting: float,
) -> Tensor:
    """(G,) extent of the atoms along the normal plus the gap to the images."""
    row_of_graph = torch.cumsum(chosen, 0) - 1
    atoms = chosen[geometry.graph_index].nonzero()[:, 0]
    row = row_of_graph[geometry.graph_index[atoms]]
    z = (geometry.positions[atoms] * normal[row]).sum(1)
    empty = z.new_zeros(len(cell))
    extent = empty.scatter_reduce(0, row, z, "amax", include_self=False)
    extent = extent - empty.scatter_reduce(0, row, z, "amin", include_self=False)
    return extent + gaps_to_images(cell, geometry.pbc[chosen], normal, splitting)


@torch.no_grad()
def gaps_to_images(cell: Tensor, pbc: Tensor, normal: Tensor, splitting: float) -> Tensor:
    """(G,) gap between a slab and its images along the normal in A, beyond which they decouple.

    Parameters
    ----------
    cell, pbc, normal : Tensor
        (G, 3, 3), (G, 3) and (G, 3) cells, periodic directions and unit normals.
    splitting : float
        Width of the smooth charges of the sum, A.
    """
    decay = SLAB_DECAY / shortest_in_plane(cell, pbc, normal)
    return decay.clamp(min=SLAB_GAP * splitting)
