r"""Wide gaps in slabs, which the reciprocal sums leave out.

The number of k vectors of a slab grows with its extent along the normal. Over a gap d, the terms
with an in-plane component h decay as exp(-h d), so that a gap beyond that to the periodic images
can be shortened without a change. What remains is the interaction of the plane-averaged charges,
:math:`-2 \pi |z| / A`, whose difference is

.. math:: -\frac{2 \pi}{A} \sum_{i<j} q_i q_j (|z_i - z_j| - |z_i' - z_j'|)
          = -\frac{2 \pi}{A} \sum_{i<j} q_i q_j |o_i - o_j|,

where :math:`o_i` is the length that was removed below atom i. Dipoles and quadrupoles have no such
term, since the second derivative of |z| is zero.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from muse_lr.electrostatics.ewald.lattice import gaps_to_images
from muse_lr.structures.geometry import Geometry, plane_areas, slab_normals
from muse_lr.structures.graph import sum_nodes

#: A slab farther from the origin is moved there, because the terms of its plane-averaged charges
#: contain squares of the heights, A.
DISTANT = 1e4
#: A gap is shortened if it is longer than the gap to the images by this factor.
WIDE = 4.0


@dataclass(frozen=True)
class ClosedGaps:
    """A geometry whose wide gaps are shortened.

    Attributes
    ----------
    geometry : Geometry
        Its edges are those of the original geometry, but not their vectors.
    removed : Tensor or None
        (n_atoms,) length removed below each atom, A; None if there is no wide gap.
    order : Tensor or None
        (n_atoms,) atoms sorted by graph and height.
    """

    geometry: Geometry
    removed: Tensor | None = None
    order: Tensor | None = None

    def interaction(self, probe: Tensor, source: Tensor) -> Tensor:
        """(n_graphs,) energy of the (n_atoms,) charges of a probe and a source, in e^2/A.

        For equal charges it is twice the energy.
        """
        energies = probe * self.potential(source)
        return sum_nodes(energies, self.geometry.graph_index, self.geometry.num_graphs)

    def potential(self, source: Tensor) -> Tensor:
        """(n_atoms,) potential of (n_atoms,) charges, in e/A."""
        if self.removed is None or self.order is None:
            return torch.zeros_like(source, dtype=torch.float64)
        area = plane_areas(self.geometry.cell, self.geometry.pbc)[self.geometry.graph_index]
        return -2 * math.pi / area * self._distances(source, self.removed, self.order)

    def _distances(self, source: Tensor, removed: Tensor, order: Tensor) -> Tensor:
        """(n_atoms,) sum_j q_j |o_i - o_j| within each graph."""
        graph, count = self.geometry.graph_index, self.geometry.num_graphs
        charges = source.double()
        moments = torch.stack([charges, charges * removed], 1)
        totals = torch.stack([sum_nodes(m, graph, count) for m in moments.unbind(1)], 1)
        # Sums over the atoms of the same graph that are not higher.
        below = moments[order].cumsum(0)
        before = torch.cumsum(totals, 0) - totals
        sums = torch.zeros_like(moments).index_put((order,), below) - before[graph]
        charge, first = (2 * sums - totals[graph]).unbind(1)
        return removed * charge - first


def close_gaps(geometry: Geometry, chosen: Tensor, splitting: float) -> ClosedGaps:
    """Shorten the wide gaps along the normals of the chosen (n_graphs,) slabs.

    Parameters
    ----------
    geometry : Geometry
    chosen : Tensor
        (n_graphs,) of bool.
    splitting : float
        Width of the smooth charges of the sum, A.
    """
    slab = chosen & (geometry.pbc.sum(1) == 2)
    if not bool(slab.any()):
        return ClosedGaps(geometry)
    found = _removed_lengths(geometry, slab, splitting)
    if found is None:
        return ClosedGaps(geometry)
    order, lengths = found
    graph = geometry.graph_index
    normal = slab_normals(geometry.cell, geometry.pbc)
    # A strain changes all lengths along the normal by the same factor.
    rows = torch.arange(geometry.num_graphs, device=graph.device)
    open_row = geometry.cell[rows, (~geometry.pbc).long().argmax(1)]
    along = (open_row * normal).sum(1)
    factor = torch.where(slab, along / along.detach(), 1.0)
    removed = lengths * factor[graph]
    positions = geometry.positions - removed[:, None] * normal[graph]
    return ClosedGaps(replace(geometry, positions=positions), removed, order)


@torch.no_grad()
def _removed_lengths(
    geometry: Geometry, slab: Tensor, splitting: float
) -> tuple[Tensor, Tensor] | None:
    """Atoms sorted by graph and height, and the length to remove below each atom."""
    graph, cell = geometry.graph_index, geometry.cell.detach()
    normal = slab_normals(cell, geometry.pbc)
    z = (geometry.positions.detach() * normal[graph]).sum(1)
    gap = torch.full_like(cell[:, 0, 0], math.inf)
    gap[slab] = gaps_to_images(cell[slab], geometry.pbc[slab], normal[slab], splitting)
    order = torch.argsort(z, stable=True)
    order = order[torch.argsort(graph[order], stable=True)]
    height, row = z[order], graph[order]
    step = torch.zeros_like(height)
    step[1:] = height.diff()
    step[1:][row.diff() != 0] = 0.0
    excess = torch.where(step > WIDE * gap[row], step - gap[row], 0.0)
    lowest = height[geometry.ptr[:-1].clamp(max=len(z) - 1)]
    base = torch.where(slab & (lowest.abs() > DISTANT), lowest, 0.0)
    if not bool(excess.any() or base.any()):
        return None
    total = excess.cumsum(0)
    start = total[geometry.ptr[:-1].clamp(max=len(z) - 1)]
    lengths = torch.zeros_like(z)
    lengths[order] = total + (base - start)[row]
    return order, lengths
