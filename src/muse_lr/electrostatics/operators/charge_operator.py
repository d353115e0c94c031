r"""Potentials of many sets of charges in one large structure, for iterative solvers.

All quantities that only depend on the geometry are computed once. For a molecule this is the matrix
of interactions. For a lattice it is a sparse real-space matrix and the B-splines on the mesh of
:mod:`muse_lr.electrostatics.mesh.pme`. The potential is the derivative of the energy of that
solver with respect to the charges, with the same conventions. It is detached from autograd.
"""

from __future__ import annotations

import math
import warnings

import torch
from torch import Tensor

from muse_lr.electrostatics.base import REAL_TAPER
from muse_lr.electrostatics.ewald.gaps import close_gaps
from muse_lr.electrostatics.ewald.lattice import lattice_cells
from muse_lr.electrostatics.kernels import short_range_kernel
from muse_lr.electrostatics.mesh.mesh import mesh_sizes, mesh_spacings
from muse_lr.electrostatics.mesh.mesh_sums import mesh_energy
from muse_lr.electrostatics.mesh.pme import PMESolver, wave_weights
from muse_lr.electrostatics.mesh.splines import spline_weights
from muse_lr.math.switching import switch_off
from muse_lr.structures.geometry import Geometry
from muse_lr.units import COULOMB_CONSTANT

#: Rows of a molecular matrix in one strip. A strip is loaded once and used twice from the cache.
ROWS = 64
#: erfc(FAR) is below rounding errors.
FAR = 6.2


class MoleculeOperator:
    """Potentials in an open structure.

    Only the upper triangle of the symmetric matrix is stored, in strips of rows.

    Parameters
    ----------
    width : Tensor
        (n,) Gaussian standard deviations, A.
    positions : Tensor
        (n, 3) in A.
    """

    @torch.no_grad()
    def __init__(self, width: Tensor, positions: Tensor) -> None:
        self._count = len(width)
        # Gaussians interact as point charges beyond this distance.
        reach = 2 * FAR * float(width.max())
        self._strips = [
            _strip(positions, width, start, reach) for start in range(0, self._count, ROWS)
        ]

    def __call__(self, charges: Tensor) -> Tensor:
        """(n,) potentials in V."""
        potential = torch.zeros_like(charges)
        for number, strip in enumerate(self._strips):
            start, end = number * ROWS, number * ROWS + len(strip)
            potential[start:end] += strip @ charges[start:]
            potential[end:] += charges[start:end] @ strip[:, len(strip) :]
        return potential

    def upper(self) -> Tensor:
        """(n, n) upper triangle of the interactions in eV/e^2, for direct solvers."""
        matrix = self._strips[0].new_zeros((self._count, self._count))
        for number, strip in enumerate(self._strips):
            start = number * ROWS
            matrix[start : start + len(strip), start:] = strip
        return matrix


def _strip(positions: Tensor, width: Tensor, start: int, reach: float) -> Tensor:
    """(rows, n - start) interactions of a strip with itself and all later atoms, eV/e^2."""
    rows = slice(start, start + ROWS)
    exact = "donot_use_mm_for_euclid_dist"
    distance = torch.cdist(positions[rows], positions[start:], compute_mode=exact)
    i, j = (distance < reach).nonzero().unbind(1)
    near = distance[i, j]
    variance = width[rows][i].square() + width[start:][j].square()
    near = torch.where(i == j, 0.0, torch.erf(near / (2 * variance).sqrt()) / near)
    return distance.reciprocal_().index_put_((i, j), near).mul_(COULOMB_CONSTANT)


class LatticeOperator:
    """Potentials in a crystal or slab, at a cost of O(n log n).

    Parameters
    ----------
    width : Tensor
        (n_atoms,) Gaussian standard deviations of all atoms of the batch, A, float64.
    geometry : Geometry
        Geometry of the batch. The cutoff of its edges is at least ``solver.ewald.cutoff``.
    graph : int
        Index of the graph in the batch.
    solver : PMESolver
        Solver for these widths.
    """

    @torch.no_grad()
    def __init__(self, width: Tensor, geometry: Geometry, graph: int, solver: PMESolver) -> None:
        chosen = torch.zeros(geometry.num_graphs, dtype=torch.bool, device=width.device)
        chosen[graph] = True
        ((solver, geometry, chosen),) = solver.by_rung(geometry, chosen)
        self._splitting = solver.ewald.splitting
        start, end = (int(end) for end in geometry.ptr[graph : graph + 2])
        self._variance = width[start:end].square()
        self._real = None
        if solver.ewald.cutoff > 0:
            self._real = _real_space(width, geometry, start, end, solver)
        gaps = close_gaps(geometry, chosen, self._splitting)
        self._gaps, self._atoms = gaps, slice(start, end)
        cells = lattice_cells(gaps.geometry, chosen, self._splitting)
        self._slab, self._volume = bool(cells.slab), float(cells.volume)
        self._height = float(cells.height)
        positions = gaps.geometry.positions[start:end]
        self._along = (positions * cells.normal).sum(1)
        inverse = torch.linalg.inv(cells.cell)
        counts = geometry.nodes_per_graph[chosen]
        spacings = mesh_spacings(
            solver.mesh_error, solver.accuracy, self._splitting, cells.volume, counts
        )
        (self._size,) = mesh_sizes(cells.cell, spacings, solver.order)
        self._weights = wave_weights(inverse, self._size, solver.order, self._splitting)
        scaled = positions @ inverse[0] * positions.new_tensor(self._size)
        points, shares = _splines(scaled, self._size, solver.order)
        charges = torch.arange(end - start, device=points.device).repeat_interleave(points.shape[1])
        shape = (end - start, math.prod(self._size))
        self._gather = compressed(charges, points.flatten(), shares.flatten(), shape)
        order = points.flatten().argsort()
        charges, points, shares = charges[order], points.flatten()[order], shares.flatten()[order]
        self._spread = compressed(points, charges, shares, shape[::-1])

    @torch.no_grad()
    def __call__(self, charges: Tensor) -> Tensor:
        """(n,) potentials in V."""
        potential = 2 * math.pi / self._volume * (self._mesh(charges) + self._mean(charges))
        potential = potential - charges / (math.sqrt(math.pi) * self._splitting)
        if self._real is not None:
            potential = potential + self._real @ charges
        if self._gaps.removed is not None:
            every = charges.new_zeros(len(self._gaps.removed))
            every[self._atoms] = charges
            potential = potential + self._gaps.potential(every)[self._atoms]
        return COULOMB_CONSTANT * potential

    def _mesh(self, charges: Tensor) -> Tensor:
        """(n,) derivatives of the reciprocal sum."""
        with torch.enable_grad():
            mesh = (self._spread @ charges).reshape(1, *self._size).requires_grad_(True)
            energy = mesh_energy(mesh, self._weights).sum()
        (potential,) = torch.autograd.grad(energy, mesh)
        return self._gather @ potential.flatten()

    def _mean(self, charges: Tensor) -> Tensor:
        """(n,) terms for k = 0: background of crystals or slab term of slabs."""
        total = charges.sum()
        background = -2 * total * self._splitting**2
        if not self._slab:
            return background + (charges @ self._variance + total * self._variance)
        z = self._along
        slab = 2 * (charges @ z) * z - charges @ z.square() - total * z.square()
        return background + slab - total * self._height**2 / 6


def _real_space(
    width: Tensor, geometry: Geometry, start: int, end: int, solver: PMESolver
) -> Tensor:
    """(n, n) sparse matrix of the real-space interactions, in 1/A."""
    sender, receiver = geometry.edge_index
    cutoff = solver.ewald.cutoff
    own = (receiver >= start) & (receiver < end) & (geometry.edge_lengths < cutoff)
    edges = own.nonzero()[:, 0]
    sender, receiver = sender[edges], receiver[edges]
    distance = geometry.edge_lengths[edges]
    variance = width[sender].square() + width[receiver].square()
    kernel = short_range_kernel(distance, variance, solver.ewald.splitting)
    kernel = kernel * switch_off(distance, REAL_TAPER * cutoff, cutoff)
    order = torch.argsort(receiver, stable=True)
    shape = (end - start, end - start)
    return compressed(receiver[order] - start, sender[order] - start, kernel[order], shape)


def compressed(rows: Tensor, columns: Tensor, values: Tensor, shape: tuple[int, ...]) -> Tensor:
    """Create a sparse CSR matrix from entries in the order of rows.

    Parameters
    ----------
    rows, columns, values : Tensor
        (entries,) indices of rows and columns, int64, and values.
    shape : tuple of int
        Numbers of rows and columns.
    """
    counts = torch.bincount(rows, minlength=shape[0])
    ends = torch.nn.functional.pad(counts.cumsum(0), (1, 0))
    # torch warns that sparse CSR tensors are in beta state.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        # int32 indices, because the backends would convert int64 indices in each product.
        return torch.sparse_csr_tensor(
            ends.int(), columns.int(), values, shape, check_invariants=False
        )


def _splines(scaled: Tensor, size: tuple[int, int, int], order: int) -> tuple[Tensor, Tensor]:
    """(n, p^3) points of the flat mesh for each charge, and their spline weights."""
    columns = scaled.T.contiguous()
    below = columns.floor()
    a, b, c = spline_weights(columns - below, order)[0].mT  # (n, p) each
    steps = torch.arange(1 - order, 1, device=scaled.device)
    i, j, k = (
        torch.remainder(corner.long()[:, None] + steps, limit)
        for corner, limit in zip(below, size, strict=True)
    )
    planes = i[:, :, None] * size[1] + j[:, None, :]
    points = (planes * size[2])[..., None] + k[:, None, None, :]
    shares = (a[:, :, None] * b[:, None, :])[..., None] * c[:, None, None, :]
    return points.flatten(1), shares.flatten(1)
