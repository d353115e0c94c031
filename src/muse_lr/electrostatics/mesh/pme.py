r"""Smooth particle-mesh Ewald in plain torch, for large crystals and slabs.

B-splines of order p assign the charges to a mesh. The reciprocal sum is that of the reference
solver, with structure factors from a Fourier transform of the mesh,

.. math::
   E_\mathrm{rec} = \sum_{k \ne 0} \frac{2 \pi}{V k^2} e^{-\eta^2 k^2} |S(k)|^2, \qquad
   S(k) \approx \prod_a \mathrm{sinc}(m_a / n_a)^{-p} \; \mathrm{FFT}[\sum_i q_i M_p]

(U. Essmann et al., J. Chem. Phys. 103, 8577 (1995)). The energy is computed from
this sum, so that forces are its exact derivatives and no second interpolation is needed. A spline
of order p has p - 2 continuous derivatives. At high accuracy, the mesh of order 8 is two to four
times coarser along each axis than those of order 5 and 6, which are faster at low accuracy.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor

from muse_lr.electrostatics.base import EVERY_DERIVATIVE, Derivative
from muse_lr.electrostatics.ewald.lattice import lattice_cells
from muse_lr.electrostatics.ewald.point_charges import PointCharges, PointChargeSolver
from muse_lr.electrostatics.mesh.mesh import MeshError, mesh_sizes, mesh_spacings
from muse_lr.electrostatics.mesh.mesh_batches import sum_by_mesh
from muse_lr.electrostatics.mesh.mesh_sums import mesh_energy
from muse_lr.electrostatics.mesh.splines import spread
from muse_lr.structures.geometry import Geometry

#: Smallest accuracy for which each spline order is the fastest, and its mesh error. Low orders have
#: fewer points per charge, high orders coarser meshes.
MESHES = (
    (2e-3, MeshError(7.5e-4, 5)),
    (5e-6, MeshError(2.7e-4, 6)),
    (0.0, MeshError(3.5e-5, 8)),
)
#: Mesh points of a graph up to which the mesh is always used, and the number for each atom beyond.
#: A larger mesh of a sparse structure takes gigabytes and is not faster than the sum over k.
MESH_POINTS, MESH_POINTS_OF_ATOM = 30_000_000, 20_000


class PMESolver(PointChargeSolver):
    """Smooth particle-mesh Ewald in plain torch, with B-splines of order 5, 6 or 8.

    Graphs with equal mesh sizes are processed in one batch. The mesh size only depends on the graph
    itself, so that the energy of a graph does not depend on the batch. Where the mesh size changes
    with the cell, the energy has a step that is smaller than the accuracy. All derivatives are
    correct within the accuracy of the mesh. At a constant mesh size they are exact derivatives of
    the energy.
    """

    supported_derivatives: ClassVar[frozenset[Derivative]] = EVERY_DERIVATIVE
    name: ClassVar[str] = "pme"
    mesh: ClassVar[bool] = True
    best_accuracy: ClassVar[float] = 1e-9

    def __init__(self, widths: Sequence[float], accuracy: float, cutoff: float) -> None:
        super().__init__(widths, accuracy, cutoff)
        self.mesh_error = next(error for finest, error in MESHES if accuracy >= finest)
        self.order = self.mesh_error.power
        self._last: tuple[Tensor, tuple[int, int, int], Tensor] | None = None

    def forget(self) -> None:
        """See :meth:`Solver.forget`."""
        self._last = None

    @torch.no_grad()
    def fits(self, geometry: Geometry, chosen: Tensor) -> Tensor:
        """(n_graphs,) of bool: chosen graphs that are dense enough for a mesh."""
        result = torch.zeros_like(chosen)
        for solver, _, graphs in self.by_rung(geometry, chosen):
            splitting, counts = solver.ewald.splitting, geometry.nodes_per_graph[graphs]
            cells = lattice_cells(geometry, graphs, splitting)
            options = self.mesh_error, self.accuracy, splitting, cells.volume, counts
            sizes = mesh_sizes(cells.cell, mesh_spacings(*options), self.order)
            points = counts.new_tensor([math.prod(size) for size in sizes])
            result[graphs] = points <= (MESH_POINTS_OF_ATOM * counts).clamp(min=MESH_POINTS)
        return result

    def reciprocal(self, system: PointCharges) -> Tensor:
        """See :meth:`PointChargeSolver.reciprocal`."""
        energy = sum_by_mesh(self, system)
        squares, total = system.sum(system.charges**2), system.sum(system.charges)
        eta = self.ewald.splitting
        background = 2 * math.pi * total**2 * eta**2 / system.volume
        return energy - squares / (2 * math.sqrt(math.pi) * eta) - background

    def same_mesh(self, graphs: Tensor, size: tuple[int, int, int], system: PointCharges) -> Tensor:
        """(g,) sums over k, in e^2/A, of graphs with the same mesh size."""
        row, charges, positions = system.row, system.charges, system.positions
        if len(graphs) < len(system.cell):
            place = torch.full_like(system.counts, -1).index_copy(
                0, graphs, torch.arange(len(graphs), device=graphs.device)
            )
            row = place[row]
            atoms = (row >= 0).nonzero()[:, 0]
            row, charges, positions = row[atoms], charges[atoms], positions[atoms]
        inverse = torch.linalg.inv(system.cell[graphs])
        to_mesh = inverse * inverse.new_tensor(size)
        if len(graphs) == 1:
            scaled = positions @ to_mesh[0]
        else:
            scaled = torch.einsum("na,nab->nb", positions, to_mesh.index_select(0, row))
        mesh = spread(charges, scaled, row, len(graphs), size, self.order)
        weights = self._weights(inverse, size)
        return mesh_energy(mesh, weights) * 2 * math.pi / system.volume[graphs]

    def _weights(self, inverse: Tensor, size: tuple[int, int, int]) -> Tensor:
        """Call :func:`wave_weights` and cache the result for constant cells."""
        # Tensors created in inference mode cannot be used outside of it.
        if inverse.requires_grad or torch.is_inference_mode_enabled():
            return wave_weights(inverse, size, self.order, self.ewald.splitting)
        last = self._last
        same = last is not None and last[0].device == inverse.device and last[1] == size
        if last is None or not same or not torch.equal(last[0], inverse):
            weights = wave_weights(inverse, size, self.order, self.ewald.splitting)
            last = self._last = (inverse, size, weights)
        return last[2]


def wave_weights(
    inverse: Tensor, size: tuple[int, int, int], order: int, splitting: float
) -> Tensor:
    """Weights exp(-eta^2 k^2) / k^2 of the k vectors, divided by the power of the splines.

    Parameters
    ----------
    inverse : Tensor
        (g, 3, 3) inverse cells, 1/A.
    size : tuple of int
        Mesh points along each cell vector.
    order : int
        Order of the splines.
    splitting : float
        eta in A.

    Returns
    -------
    Tensor
        (g, n1, n2, n3 // 2 + 1). Vectors k that also represent -k have twice the weight.
    """
    # k^2 as a quadratic form of (m1, m2, m3) needs few operations with the size of the mesh.
    metric = (2 * math.pi) ** 2 * inverse.mT @ inverse
    m1, m2, m3 = (
        frequencies(n, 1 / n, dtype=inverse.dtype, device=inverse.device)
        for n, frequencies in zip(
            size, (torch.fft.fftfreq,) * 2 + (torch.fft.rfftfreq,), strict=True
        )
    )
    first, second, third = (
        torch.sinc(m / n).pow(-2 * order) for m, n in zip((m1, m2, m3), size, strict=True)
    )
    mirror = torch.full_like(m3, 2.0)
    mirror[0] = 1
    if size[2] % 2 == 0:
        mirror[-1] = 1
    x, y = m1[:, None], m2[None, :]
    entry = metric[:, :, :, None, None]
    plane = entry[:, 0, 0] * x**2 + 2 * entry[:, 0, 1] * x * y + entry[:, 1, 1] * y**2
    slope = 2 * (entry[:, 0, 2] * x + entry[:, 1, 2] * y)
    squared = plane[..., None] + m3 * (slope[..., None] + entry[:, 2, 2, :, :, None] * m3)
    zero = torch.zeros(squared.shape[1:], dtype=torch.bool, device=squared.device)
    zero[0, 0, 0] = True
    squared = squared.masked_fill(zero, 1.0)
    spline = (first[:, None] * second)[..., None] * (third * mirror)
    weights = torch.exp(-(splitting**2) * squared) / squared * spline
    return weights.masked_fill(zero, 0.0)
