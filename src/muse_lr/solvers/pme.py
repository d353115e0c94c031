r"""Smooth particle-mesh Ewald in plain torch, for large crystals and slabs.

Charges are spread with B-splines of order p onto a mesh, transformed, and the sum is taken over
the mesh's waves, as in the reference solver,

.. math::
   E_\mathrm{rec} = \sum_{k \ne 0} \frac{2 \pi}{V k^2} e^{-\eta^2 k^2} |S(k)|^2, \qquad
   S(k) \approx \prod_a \mathrm{sinc}(m_a / n_a)^{-p} \; \mathrm{FFT}[\sum_i q_i M_p]

(U. Essmann et al., J. Chem. Phys. 103, 8577 (1995)). The energy is the sum itself, so that forces
are its exact derivatives and the potential needs no second interpolation. A spline of order 8 has
six continuous derivatives and its mesh is two to four times coarser along each axis than that of
order 5 or 6 at high accuracy.
"""

from __future__ import annotations

import math
from typing import ClassVar

import torch
from torch import Tensor

from muse_lr.solvers.base import EVERY_DERIVATIVE, Derivative
from muse_lr.solvers.mesh import MeshError
from muse_lr.solvers.mesh_batches import sum_by_mesh
from muse_lr.solvers.point_charges import PointCharges, PointChargeSolver


class PMESolver(PointChargeSolver):
    """Smooth particle-mesh Ewald in plain torch with B-splines of order eight.

    Graphs with meshes of equal size are summed in one batch, others one after the other; the size
    follows from the graph alone, so that a graph alone and in a batch has the same energy. Where
    the size changes with the cell the energy makes a step below the accuracy. Every derivative is
    right to the accuracy of the mesh; those of fixed size are exact derivatives of the energy.
    """

    right: ClassVar[frozenset[Derivative]] = EVERY_DERIVATIVE
    name: ClassVar[str] = "pme"
    mesh: ClassVar[bool] = True
    best_accuracy: ClassVar[float] = 1e-9
    order: ClassVar[int] = 8
    mesh_error: ClassVar[MeshError] = MeshError(3.5e-5, 8)

    def reciprocal(self, system: PointCharges) -> Tensor:
        """See :meth:`PointChargeSolver.reciprocal`."""
        energy = sum_by_mesh(self, system)
        squares, total = system.sum(system.charges**2), system.sum(system.charges)
        eta = self.ewald.splitting
        background = 2 * math.pi * total**2 * eta**2 / system.volume
        return energy - squares / (2 * math.sqrt(math.pi) * eta) - background

    def same_mesh(self, graphs: Tensor, size: tuple[int, int, int], system: PointCharges) -> Tensor:
        """(g,) sums over k of the graphs, which share the size of the mesh."""
        place = torch.full_like(system.counts, -1).index_copy(
            0, graphs, torch.arange(len(graphs), device=graphs.device)
        )
        row = place[system.row]
        atoms = (row >= 0).nonzero()[:, 0]
        row, inverse = row[atoms], torch.linalg.inv(system.cell[graphs])
        fractional = torch.einsum("na,nab->nb", system.positions[atoms], inverse[row])
        mesh = spread(system.charges[atoms], fractional, row, len(graphs), size, self.order)
        factor = torch.fft.rfftn(mesh, dim=(1, 2, 3))
        power = factor.real**2 + factor.imag**2
        weights = wave_weights(inverse, size, self.order, self.ewald.splitting)
        return (weights * power).sum((1, 2, 3)) * 2 * math.pi / system.volume[graphs]


def spline_weights(offset: Tensor, order: int) -> Tensor:
    """M_p(t + p - 1 - j) for j = 0 .. p - 1, the weights of the p points up to the one below.

    Parameters
    ----------
    offset : Tensor
        (...) t in [0, 1), from the point below in units of the spacing.
    order : int
        p, at least 2.

    Returns
    -------
    Tensor
        (..., p); they sum to 1.
    """
    weights = [1 - offset, offset]
    for n in range(3, order + 1):
        # M_n(x) = [x M_{n-1}(x) + (n - x) M_{n-1}(x - 1)] / (n - 1)
        lower = [None, *weights, None]
        raised = []
        for j in range(n):
            x = offset + (n - 1 - j)
            own, next_ = lower[j], lower[j + 1]
            total = torch.zeros_like(offset)
            if own is not None:
                total = total + x * own
            if next_ is not None:
                total = total + (n - x) * next_
            raised.append(total / (n - 1))
        weights = raised
    return torch.stack(weights, -1)


def spread(
    charges: Tensor,
    fractional: Tensor,
    row: Tensor,
    n_graphs: int,
    size: tuple[int, int, int],
    order: int,
) -> Tensor:
    """(g, n1, n2, n3) charges on the mesh points, from (n,) charges at (n, 3) coordinates."""
    n1, n2, n3 = size
    scaled = fractional * fractional.new_tensor(size)
    below = scaled.detach().floor()
    a, b, c = spline_weights(scaled - below, order).unbind(1)
    points = below.long()[..., None] + torch.arange(1 - order, 1, device=row.device)
    i, j, k = (points[:, axis] % size[axis] for axis in range(3))
    plane = (row[:, None] * n1 + i)[:, :, None] * n2 + j[:, None, :]
    flat = plane[..., None] * n3 + k[:, None, None, :]
    share = (charges[:, None] * a)[:, :, None] * b[:, None, :]
    share = share[..., None] * c[:, None, None, :]
    mesh = charges.new_zeros(n_graphs * n1 * n2 * n3)
    return mesh.index_add(0, flat.flatten(), share.flatten()).unflatten(0, (n_graphs, *size))


def wave_weights(
    inverse: Tensor, size: tuple[int, int, int], order: int, splitting: float
) -> Tensor:
    """(g, n1, n2, n3 // 2 + 1) exp(-eta^2 k^2) / k^2 over the splines' power, mirror waves counted.

    Parameters
    ----------
    inverse : Tensor
        (g, 3, 3) of the cells, 1/A.
    size : tuple of int
        Points of the mesh.
    order : int
        Of the splines.
    splitting : float
        eta in A.
    """
    spline = inverse.new_ones(())
    waves = torch.zeros((), dtype=inverse.dtype, device=inverse.device)
    for axis, n in enumerate(size):
        shape = [1, 1, 1, 1]
        shape[axis + 1] = -1
        frequencies = torch.fft.rfftfreq if axis == 2 else torch.fft.fftfreq
        m = frequencies(n, 1 / n, dtype=inverse.dtype, device=inverse.device)
        spline = spline * torch.sinc(m / n).pow(-2 * order).reshape(shape)
        column = inverse[:, :, axis, None, None, None]
        waves = waves + 2 * math.pi * m.reshape(shape)[:, None] * column
    squared = waves.square().sum(1)
    mirror = torch.full((size[2] // 2 + 1,), 2.0, dtype=inverse.dtype, device=inverse.device)
    mirror[0] = 1
    if size[2] % 2 == 0:
        mirror[-1] = 1
    zero = torch.zeros_like(squared, dtype=torch.bool)
    zero[:, 0, 0, 0] = True
    squared = torch.where(zero, 1.0, squared)
    weights = torch.exp(-(splitting**2) * squared) / squared * spline * mirror
    return torch.where(zero, 0.0, weights)
