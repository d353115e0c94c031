"""Reciprocal sums with nvalchemi-toolkit-ops (Warp kernels for CPU and GPU; extra ``fast``)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cache
from importlib import import_module
from types import ModuleType
from typing import ClassVar

import torch
from torch import Tensor

from muse_lr.electrostatics.base import Derivative
from muse_lr.electrostatics.ewald.point_charges import PointCharges, PointChargeSolver
from muse_lr.electrostatics.mesh.mesh import MeshError
from muse_lr.electrostatics.mesh.mesh_batches import sum_by_mesh
from muse_lr.errors import InputError


@cache
def load_library() -> ModuleType:
    """Import the electrostatics of nvalchemiops at its first use, because it takes seconds.

    Raises
    ------
    InputError
        If nvalchemi-toolkit-ops is not installed.
    """
    try:
        # Suppress the startup message of warp, which would appear in the output of commands.
        import_module("warp").config.quiet = True
        return import_module("nvalchemiops.torch.interactions.electrostatics")
    except ImportError as error:
        raise InputError(
            "this solver needs nvalchemi-toolkit-ops, which cannot be imported "
            f"({error}): pip install 'muse_lr[fast]'"
        ) from error


class NvalchemiSolver(PointChargeSolver):
    """Ewald sum with nvalchemi-toolkit-ops, with all graphs in one batch.

    The k vectors of each graph are those with |k| below the reciprocal cutoff, so that the energy
    of a graph does not depend on the batch. The cutoff is sharp, because the kernels have no
    window. Under strain the energy therefore has steps, smaller than the accuracy, where a k vector
    crosses the cutoff.

    Second derivatives are correct, and third derivatives raise an error. The solver only supports
    charges, because the multipole sums of the library silently return wrong second derivatives.
    This affects the direct sum (positions with moments, and the cell with any variable) and the
    mesh (the cell with positions or moments).
    """

    name: ClassVar[str] = "nvalchemi"
    supported_derivatives: ClassVar[frozenset[Derivative]] = frozenset(
        {"forces", "stress", "force_loss", "stress_loss"}
    )

    def __init__(self, widths: Sequence[float], accuracy: float, cutoff: float) -> None:
        super().__init__(widths, accuracy, cutoff)
        load_library()

    def reciprocal(self, system: PointCharges) -> Tensor:
        """See :meth:`PointChargeSolver.reciprocal`."""
        alpha = system.charges.new_full((len(system.cell),), 0.5 / self.ewald.splitting)
        energy: Tensor = load_library().ewald_reciprocal_space(
            system.positions,
            system.charges,
            system.cell,
            wave_vectors(system.cell, self.ewald.reciprocal_cutoff),
            alpha,
            batch_idx=system.row.int(),
            energy_reduction="system",
        )
        return energy


def wave_vectors(cell: Tensor, cutoff: float) -> Tensor:
    """k vectors below a cutoff, only one of k and -k, padded with zeros.

    Parameters
    ----------
    cell : Tensor
        (G, 3, 3) in A.
    cutoff : float
        Largest |k|, 1/A.

    Returns
    -------
    Tensor
        (G, K, 3) in 1/A, differentiable with respect to the cell. K is the largest number of k
        vectors of any graph.
    """
    reciprocal = 2 * math.pi * torch.linalg.inv(cell).mT
    with torch.no_grad():
        lengths = torch.linalg.vector_norm(cell, dim=2).amax(0)
        limits = (cutoff * lengths / (2 * math.pi)).floor().long().tolist()
        n1, n2, n3 = (torch.arange(-n, n + 1, device=cell.device) for n in limits)
        grid = torch.cartesian_prod(n1, n2, n3[limits[2] :])
        # Keep one half of the plane n3 = 0 and one half of its line n2 = 0.
        h, k, m = grid.T
        grid = grid[(m > 0) | ((k > 0) & (m == 0)) | ((h > 0) & (k == 0) & (m == 0))]
        inside = (grid.to(cell.dtype) @ reciprocal).square().sum(2) < cutoff**2
        most = int(inside.sum(1).max()) if len(grid) else 0
        first = inside.long().argsort(dim=1, descending=True, stable=True)[:, :most]
        kept = inside.gather(1, first)
        integers = (grid[first] * kept[..., None]).to(cell.dtype)
    return integers @ reciprocal


class NvalchemiMeshSolver(PointChargeSolver):
    """Particle-mesh Ewald with nvalchemi-toolkit-ops and B-splines of order six.

    Graphs with equal mesh sizes are processed in one batch. The mesh size only depends on the graph
    itself, so that the energy of a graph does not depend on the batch. Where the mesh size changes
    with the cell, the energy has a step that is smaller than the accuracy.

    The library omits spline weights below 1e-8, which causes a relative error of 1e-7 in the
    energy. Second derivatives are correct within the accuracy of the mesh, and third derivatives
    raise an error.
    """

    name: ClassVar[str] = "nvalchemi_pme"
    mesh: ClassVar[bool] = True
    supported_derivatives: ClassVar[frozenset[Derivative]] = frozenset(
        {"forces", "stress", "force_loss", "stress_loss"}
    )
    best_accuracy: ClassVar[float] = 1e-6
    order: ClassVar[int] = 6
    mesh_error: ClassVar[MeshError] = MeshError(2.3e-4, 6)

    def __init__(self, widths: Sequence[float], accuracy: float, cutoff: float) -> None:
        super().__init__(widths, accuracy, cutoff)
        load_library()

    def reciprocal(self, system: PointCharges) -> Tensor:
        """See :meth:`PointChargeSolver.reciprocal`."""
        return sum_by_mesh(self, system)

    def same_mesh(self, graphs: Tensor, size: tuple[int, int, int], system: PointCharges) -> Tensor:
        """(g,) energies in e^2/A of graphs with the same mesh size."""
        place = torch.full_like(system.counts, -1).index_copy(
            0, graphs, torch.arange(len(graphs), device=graphs.device)
        )
        row = place[system.row]
        atoms = (row >= 0).nonzero()[:, 0]
        energy: Tensor = load_library().pme_reciprocal_space(
            system.positions[atoms],
            system.charges[atoms],
            system.cell[graphs],
            system.charges.new_full((len(graphs),), 0.5 / self.ewald.splitting),
            mesh_dimensions=size,
            spline_order=self.order,
            batch_idx=row[atoms].int(),
            energy_reduction="system",
        )
        return energy
