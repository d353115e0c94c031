"""Reciprocal space: structure factors of Gaussian multipoles in crystals and slabs.

The sum of a slab uses a cell with its two periodic vectors and a normal vector of length L, which
leaves a gap between the slab and its images. For all k vectors with an in-plane component h, the
interaction with the images decays as exp(-h gap). The slab term of the reference solver corrects
the k vectors along the normal.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from muse_lr.density import ChargeDensity
from muse_lr.electrostatics.ewald.wave_sums import wave_energy
from muse_lr.electrostatics.ewald.waves import KeptWaves, lattice_waves, phases
from muse_lr.math.harmonics import solid_harmonics
from muse_lr.structures.geometry import Geometry

#: The gap reduces the interaction with the images of a slab to exp(-SLAB_DECAY).
SLAB_DECAY = 28.0
#: Minimum gap in units of the splitting, so that the Gaussian charges of images do not overlap.
SLAB_GAP = 12.0
#: Steps of the basis reduction. Each step before the last shortens the basis by at least sqrt(3).
GAUSS_STEPS = 16


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
    rows = torch.arange(len(cell), device=cell.device)
    plane = torch.linalg.cross(cell[rows, (axis + 1) % 3], cell[rows, (axis + 2) % 3])
    area = torch.linalg.vector_norm(plane, dim=1)
    normal = plane / area[:, None]
    height = _heights(geometry, chosen, cell, axis, normal, splitting)
    open_row = torch.nn.functional.one_hot(axis, 3).bool() & slab[:, None]
    cell = torch.where(open_row[:, :, None], (normal * height[:, None])[:, None, :], cell)
    return LatticeCells(cell, slab, True, normal, height, area)


@torch.no_grad()
def _heights(
    geometry: Geometry,
    chosen: Tensor,
    cell: Tensor,
    axis: Tensor,
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
    # In-plane reciprocal vectors: rows of the inverse transpose of the cell with the unit normal.
    rows = torch.arange(len(cell), device=cell.device)
    closed = cell.clone()
    closed[rows, axis] = normal
    reciprocal = 2 * math.pi * torch.linalg.inv(closed).mT
    slowest = shortest_vector(reciprocal[rows, (axis + 1) % 3], reciprocal[rows, (axis + 2) % 3])
    return extent + (SLAB_DECAY / slowest).clamp(min=SLAB_GAP * splitting)


def shortest_vector(first: Tensor, second: Tensor) -> Tensor:
    """(G,) length of the shortest vector of each two-dimensional lattice, by Gauss reduction.

    Parameters
    ----------
    first, second : Tensor
        (G, 3) basis vectors, which can be skewed.
    """
    for _ in range(GAUSS_STEPS):
        shorter = first.square().sum(1) <= second.square().sum(1)
        first, second = (
            torch.where(shorter[:, None], first, second),
            torch.where(shorter[:, None], second, first),
        )
        along = (first * second).sum(1) / first.square().sum(1)
        second = second - along.round()[:, None] * first
    lengths = torch.linalg.vector_norm(torch.stack([first, second]), dim=2)
    return lengths.amin(0)


class ReciprocalSpace:
    """Structure factors of the selected graphs, computed in one batch.

    exp(i k.r) factorizes over the three fractional coordinates, so that a structure factor is a
    matrix product instead of a sine and cosine for each atom and k vector. Only the k vectors with
    n3 >= 0 are included; those with n3 > 0 also represent their inverses -k.

    Parameters
    ----------
    cells : LatticeCells
    geometry : Geometry
    chosen : Tensor
        (n_graphs,) of bool.
    cutoff : float
        |k| up to which the sum is complete for crystals, 1/A.
    dtype : torch.dtype
        dtype of the phases.
    kept : KeptWaves, optional
        Cache of the k vectors of constant cells.
    """

    def __init__(
        self,
        cells: LatticeCells,
        geometry: Geometry,
        chosen: Tensor,
        cutoff: float,
        dtype: torch.dtype,
        kept: KeptWaves | None = None,
    ) -> None:
        self.cells = cells
        self.dtype = dtype
        inverse = torch.linalg.inv(cells.cell)
        self._index_atoms(geometry, chosen)
        self._fractional = self._fractional_coordinates(geometry, inverse)
        find = lattice_waves if kept is None else kept.find
        self._waves = find(cells.cell, cells.slab, inverse, cutoff)
        self._numbers = self._waves.numbers.to(dtype)
        self.squared, self._window = self._waves.squared, self._waves.window
        self._inverse = inverse

    def _index_atoms(self, geometry: Geometry, chosen: Tensor) -> None:
        graph, counts = geometry.graph_index, geometry.nodes_per_graph
        self._atoms: Tensor | slice = slice(None)
        self._row = graph
        if len(self.cells.cell) < len(chosen):
            self._atoms = chosen[graph].nonzero()[:, 0]
            graph, counts = graph[self._atoms], counts[chosen]
            self._row = (torch.cumsum(chosen, 0) - 1)[graph]
        self._shape = (len(counts), int(counts.max()))
        self._full = len(graph) == self._shape[0] * self._shape[1]
        if not self._full:
            atoms = torch.arange(len(geometry.graph_index), device=graph.device)
            self._column = atoms[self._atoms] - geometry.ptr[graph]

    def _padded(self, values: Tensor) -> Tensor:
        """(n_chosen_atoms, c) -> (G, n_max, c), padded with zeros."""
        if self._full:
            return values.unflatten(0, self._shape)
        empty = values.new_zeros((*self._shape, values.shape[1]))
        return empty.index_put((self._row, self._column), values)

    def _fractional_coordinates(self, geometry: Geometry, inverse: Tensor) -> Tensor:
        """(G, n_max, 3) fractional coordinates, wrapped into the cell."""
        positions = geometry.positions[self._atoms]
        fractional = torch.einsum("ia,iab->ib", positions, inverse[self._row])
        # Lattice translations do not change the phases. Removing them preserves float32 precision.
        return self._padded(fractional - fractional.detach().floor()).to(self.dtype)

    @cached_property
    def waves(self) -> Tensor:
        """(G, K, 3) k = 2 pi C^-1 n in 1/A, so that k.r = 2 pi n.s for fractional coordinates s."""
        grid = self._waves.numbers.all
        return 2 * math.pi * torch.einsum("kb,gab->gka", grid, self._inverse)

    def structure_factor(self, density: ChargeDensity) -> Tensor:
        r"""S(k) = sum_i [q_i + i k.mu_i - (1/3) sum_m R_2m(k) Q_i,2m] exp(i k.r_i), (G, K) complex.

        The Fourier transform of a unit multipole is :math:`(-i)^l R_{lm}(k) / (2l - 1)!!` times the
        Gaussian factor, which is part of the weights.
        """
        moments = self._padded(density.moments[self._atoms].to(self.dtype))
        channels = moments.shape[2]
        lines, planes = phases(self._fractional, self._numbers)
        # (G, n, c k1): only the phases of the first axis are multiplied with the moments.
        lines = (moments[..., None] * lines[:, :, None, :]).flatten(2)
        sums = (lines.mT @ planes).unflatten(1, (channels, -1)).flatten(2)
        sums = sums.mT  # (G, K, c)
        factor = sums[..., 0]
        if channels > 1:
            along = (solid_harmonics(1, self.waves).to(self.dtype) * sums[..., 1:4]).sum(-1)
            factor = factor + 1j * along
        if channels > 4:
            second = solid_harmonics(2, self.waves).to(self.dtype)
            factor = factor - (second * sums[..., 4:9]).sum(-1) / 3
        return factor

    def phases(self, waves: Tensor) -> Tensor:
        """(G, n_max, K) exp(i k.r) for k vectors with the indices (K,); 1 for padded atoms."""
        lines, planes = phases(self._fractional, self._numbers)
        return lines[:, :, waves // planes.shape[2]] * planes[:, :, waves % planes.shape[2]]

    def energy(self, density: ChargeDensity, splitting: float) -> Tensor:
        """(G,) sum_k w(k) |S(k)|^2 of charges, in e^2/A."""
        charges = self._padded(density.moments[self._atoms].to(self.dtype))[:, :, 0]
        return wave_energy(self._fractional, charges, self.weights(splitting), self._numbers)

    def weights(self, splitting: float) -> Tensor:
        """(G, K) 2 pi exp(-eta^2 k^2) / V k^2 times the window, in 1/A; 0 for k = 0."""
        decay = torch.exp(-(splitting**2) * self.squared) / self.squared
        return 2 * math.pi * self._window * decay / self.cells.volume[:, None]
