r"""Interaction matrices of charges, for direct solvers.

.. math:: E = \tfrac12 \sum_{ij} q_i A_{ij} q_j

is the energy of :class:`~muse_lr.electrostatics.ewald.reference.ReferenceSolver` and of
:func:`~muse_lr.electrostatics.ewald.open_sum.open_energy`, with the same conventions. The diagonal
includes the interaction of a charge with its periodic images, but not with itself.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from muse_lr.electrostatics.base import REAL_TAPER
from muse_lr.electrostatics.ewald.gaps import close_gaps
from muse_lr.electrostatics.ewald.lattice import LatticeCells, lattice_cells
from muse_lr.electrostatics.ewald.reciprocal_space import ReciprocalSpace
from muse_lr.electrostatics.ewald.reference import ReferenceSolver
from muse_lr.electrostatics.kernels import POINT_VARIANCE, short_range_kernel
from muse_lr.electrostatics.portions import PORTION_BYTES
from muse_lr.math.switching import switch_off
from muse_lr.structures.geometry import Geometry
from muse_lr.units import COULOMB_CONSTANT

#: Memory of a phase in bytes, with its product with the weights.
PHASE_BYTES = 32


class PaddedGraphs:
    """Positions of the atoms of the selected graphs in padded arrays of shape (G, n_max).

    Attributes
    ----------
    graphs : Tensor
        (G,) indices of the graphs in the batch.
    atoms : Tensor
        (n,) indices of the atoms in the batch.
    row, column : Tensor
        (n,) positions of the atoms in padded arrays.
    shape : tuple of int
        (G, n_max).
    present : Tensor
        (G, n_max) of bool, False for padding.
    """

    def __init__(self, geometry: Geometry, chosen: Tensor) -> None:
        self._row_of_graph = torch.cumsum(chosen, 0) - 1
        self._geometry = geometry
        self.graphs = chosen.nonzero()[:, 0]
        self.atoms = chosen[geometry.graph_index].nonzero()[:, 0]
        self.row, self.column = self.place(self.atoms)
        counts = geometry.nodes_per_graph[chosen]
        self.shape = (len(counts), int(counts.max()) if len(counts) else 0)
        places = torch.arange(self.shape[1], device=counts.device)
        self.present = places < counts[:, None]

    def place(self, atoms: Tensor) -> tuple[Tensor, Tensor]:
        """(n,) rows and columns of atoms with indices in the batch; they are in selected graphs."""
        graph = self._geometry.graph_index[atoms]
        return self._row_of_graph[graph], atoms - self._geometry.ptr[graph]

    def pad(self, values: Tensor) -> Tensor:
        """(n_atoms, ...) of the batch -> (G, n_max, ...), padded with zeros."""
        empty = values.new_zeros((*self.shape, *values.shape[1:]))
        return empty.index_put((self.row, self.column), values[self.atoms])


@torch.no_grad()
def charge_matrix(
    width: Tensor, geometry: Geometry, chosen: Tensor, solver: ReferenceSolver
) -> Tensor:
    """(G, n_max, n_max) matrices A of the selected graphs in eV/e^2, padded with zeros.

    Parameters
    ----------
    width : Tensor
        (n_atoms,) Gaussian standard deviations, A, float64.
    geometry : Geometry
        Can contain FFF, TTF and TTT. The cutoff of its edges is at least ``solver.ewald.cutoff``.
    chosen : Tensor
        (n_graphs,) of bool: selected graphs.
    solver : ReferenceSolver
        Solver for these widths.
    """
    padded = PaddedGraphs(geometry, chosen)
    matrix = width.new_zeros((*padded.shape, padded.shape[1]))
    opened = geometry.open_graphs[padded.graphs].nonzero()[:, 0]
    if len(opened):
        positions, widths = padded.pad(geometry.positions)[opened], padded.pad(width)[opened]
        present = padded.present[opened]
        pairs = gaussian_rows(positions, widths, positions, widths)
        matrix[opened] = pairs * (present[:, :, None] & present[:, None, :])
    lattice = chosen & ~geometry.open_graphs
    if bool(lattice.any()):
        for part, wide, graphs in solver.by_rung(geometry, lattice):
            rows = graphs[padded.graphs].nonzero()[:, 0]
            matrix[rows] += _waves(width, geometry, graphs, part, padded.shape[1])
            if part.ewald.cutoff > 0:
                _add_edges(matrix, padded, width, wide, graphs, part)
    return COULOMB_CONSTANT * matrix


def gaussian_rows(positions: Tensor, width: Tensor, others: Tensor, other_width: Tensor) -> Tensor:
    """(..., n, m) erf(r / sqrt(2 s^2)) / r in 1/A with s^2 = sigma^2 + sigma'^2; 0 for r = 0.

    Parameters
    ----------
    positions, others : Tensor
        (..., n, 3) and (..., m, 3) in A.
    width, other_width : Tensor
        (..., n) and (..., m) in A.
    """
    squared = sum(
        (positions[..., :, None, axis] - others[..., None, :, axis]).square_() for axis in range(3)
    )
    assert isinstance(squared, Tensor)
    inverse = torch.where(squared > 0, squared, torch.inf).rsqrt_()
    variance = width.square()[..., :, None] + other_width.square()[..., None, :]
    scaled = squared.div_(variance.clamp_(min=POINT_VARIANCE).mul_(2)).sqrt_()
    return inverse.mul_(torch.erf(scaled))


def _add_pairs(
    matrix: Tensor, padded: PaddedGraphs, first: Tensor, second: Tensor, values: Tensor
) -> None:
    row, i = padded.place(first)
    _, j = padded.place(second)
    matrix.index_put_((row, i, j), values, accumulate=True)


def _add_edges(
    matrix: Tensor,
    padded: PaddedGraphs,
    width: Tensor,
    geometry: Geometry,
    lattice: Tensor,
    solver: ReferenceSolver,
) -> None:
    """Add the real-space part. The neighbor list contains each pair twice."""
    sender, receiver = geometry.edge_index
    near = geometry.edge_lengths < solver.ewald.cutoff
    edges = (near & lattice[geometry.graph_index[receiver]]).nonzero()[:, 0]
    sender, receiver = sender[edges], receiver[edges]
    distance = geometry.edge_lengths[edges]
    variance = width[sender] ** 2 + width[receiver] ** 2
    kernel = short_range_kernel(distance, variance, solver.ewald.splitting)
    kernel = kernel * switch_off(distance, REAL_TAPER * solver.ewald.cutoff, solver.ewald.cutoff)
    _add_pairs(matrix, padded, receiver, sender, kernel)


def _waves(
    width: Tensor, geometry: Geometry, lattice: Tensor, solver: ReferenceSolver, columns: int
) -> Tensor:
    """(G, columns, columns) reciprocal part, including the terms for k = 0, in 1/A."""
    splitting = solver.ewald.splitting
    gaps = close_gaps(geometry, lattice, splitting)
    geometry = gaps.geometry
    cells = lattice_cells(geometry, lattice, splitting)
    space = ReciprocalSpace(cells, geometry, lattice, solver.ewald.reciprocal_cutoff, width.dtype)
    padded = PaddedGraphs(geometry, lattice)
    count, largest = padded.shape
    matrix = width.new_zeros((count, largest, largest))
    size = max(1, PORTION_BYTES // max(1, PHASE_BYTES * count * largest))
    for pairs in space.portions(0):
        part = space.part(pairs)
        # Rounding errors at the end of the window can make weights negative.
        weights = part.weights(splitting).clamp(min=0)
        for waves in (weights > 0).any(0).nonzero()[:, 0].split(size):
            phases = torch.view_as_real(part.phases(waves))
            phases = phases * (2 * weights[:, waves]).sqrt()[:, None, :, None]
            phases = phases.flatten(2)
            matrix += phases @ phases.mT
    matrix.diagonal(dim1=1, dim2=2).sub_(1 / (math.sqrt(math.pi) * splitting))
    matrix += _wave_zero(width, geometry, padded, cells, splitting)
    if gaps.removed is not None:
        height = padded.pad(gaps.removed)
        distance = (height[:, :, None] - height[:, None, :]).abs()
        matrix -= 2 * math.pi * distance / cells.area[:, None, None]
    matrix *= padded.present[:, :, None] & padded.present[:, None, :]
    return torch.nn.functional.pad(matrix, (0, columns - largest, 0, columns - largest))


def _wave_zero(
    width: Tensor,
    geometry: Geometry,
    padded: PaddedGraphs,
    cells: LatticeCells,
    splitting: float,
) -> Tensor:
    """(G, n, n) terms for k = 0: background of crystals and slab term of slabs, in 1/A."""
    spread = padded.pad(width**2)
    crystal = spread[:, :, None] + spread[:, None, :] - 2 * splitting**2
    normal = cells.normal[padded.row]
    along = (geometry.positions[padded.atoms] * normal).sum(1)
    z = along.new_zeros(padded.shape).index_put((padded.row, padded.column), along)
    tail = cells.height**2 / 6 + 2 * splitting**2
    slab = -((z[:, :, None] - z[:, None, :]) ** 2) - tail[:, None, None]
    volume = torch.where(cells.slab, cells.area * cells.height, cells.volume)
    term = torch.where(cells.slab[:, None, None], slab, crystal)
    return 2 * math.pi / volume[:, None, None] * term
