"""Batching of graphs with equal mesh sizes."""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor

from muse_lr.electrostatics.base import EwaldParameters
from muse_lr.electrostatics.ewald.point_charges import PointCharges
from muse_lr.electrostatics.mesh.mesh import MeshError, mesh_sizes, mesh_spacings


class BatchedMesh(Protocol):
    """A mesh solver that processes graphs with equal mesh sizes in one batch."""

    accuracy: float
    ewald: EwaldParameters

    @property
    def order(self) -> int: ...
    @property
    def mesh_error(self) -> MeshError: ...

    def same_mesh(self, graphs: Tensor, size: tuple[int, int, int], system: PointCharges) -> Tensor:
        """(g,) energies in e^2/A of graphs with the same mesh size."""


def sum_by_mesh(solver: BatchedMesh, system: PointCharges) -> Tensor:
    """(G,) energies in e^2/A, with one batch for each mesh size."""
    spacings = mesh_spacings(
        solver.mesh_error, solver.accuracy, solver.ewald.splitting, system.volume, system.counts
    )
    sizes = mesh_sizes(system.cell, spacings, solver.order)
    energy = system.charges.new_zeros(len(system.cell))
    for size in sorted(set(sizes)):
        graphs = torch.tensor(
            [graph for graph, own in enumerate(sizes) if own == size], device=energy.device
        )
        energy = energy.index_add(0, graphs, solver.same_mesh(graphs, size, system))
    return energy
