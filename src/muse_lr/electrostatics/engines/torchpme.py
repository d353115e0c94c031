"""Reciprocal sums with torch-pme: Ewald and particle-mesh Ewald, in a loop over graphs."""

from __future__ import annotations

import math
from abc import abstractmethod
from typing import Any, ClassVar

import torch
from torch import Tensor

from muse_lr.electrostatics.base import EVERY_DERIVATIVE, Derivative
from muse_lr.electrostatics.ewald.point_charges import PointCharges, PointChargeSolver
from muse_lr.electrostatics.mesh.mesh import MeshError, mesh_spacings


class _TorchPME(PointChargeSolver):
    """Base class that calls a torch-pme calculator without neighbors for each graph.

    The ``smearing`` of torch-pme is sqrt(2) times the splitting, and its potentials already include
    the factor 1/2. The calculation uses float64 for all dtypes of the model.
    """

    @abstractmethod
    def _calculator(self, potential: Any, cell: Tensor, count: Tensor) -> Any:
        """Create the calculator of a graph; it is not reused because it caches tensors."""

    def reciprocal(self, system: PointCharges) -> Tensor:
        """See :meth:`PointChargeSolver.reciprocal`."""
        stops = torch.cumsum(system.counts, 0).tolist()
        parts = [
            self._graph(graph, slice(start, stop), system)
            for graph, (start, stop) in enumerate(zip([0, *stops[:-1]], stops, strict=True))
        ]
        return torch.stack(parts)

    def _graph(self, graph: int, atoms: slice, system: PointCharges) -> Tensor:
        from torchpme import CoulombPotential

        charges, cell = system.charges[atoms], system.cell[graph]
        if len(charges) == 0:
            return charges.sum()
        potential = CoulombPotential(smearing=math.sqrt(2) * self.ewald.splitting)
        calculator = self._calculator(potential, cell, system.counts[graph])
        calculator.to(dtype=torch.float64, device=charges.device)
        no_pairs = torch.zeros((0, 2), dtype=torch.int64, device=charges.device)
        values = calculator(
            charges[:, None], cell, system.positions[atoms], no_pairs, charges.new_zeros(0)
        )
        return (charges * values[:, 0]).sum()


class TorchPMESolver(_TorchPME):
    """Ewald calculator of torch-pme.

    The calculator includes |k| <= 2 pi / lr_wavelength along each cell vector. Its default
    wavelength is not converged, so the wavelength is set to one half of the value that follows from
    the reciprocal cutoff. The calculator is plain torch, and all derivatives are correct. Its
    memory scales with the product of the numbers of atoms and k vectors.
    """

    name: ClassVar[str] = "torchpme"
    supported_derivatives: ClassVar[frozenset[Derivative]] = EVERY_DERIVATIVE

    def _calculator(self, potential: Any, cell: Tensor, count: Tensor) -> Any:
        from torchpme import EwaldCalculator

        wavelength = math.pi / self.ewald.reciprocal_cutoff
        return EwaldCalculator(potential, lr_wavelength=wavelength, full_neighbor_list=True)


class TorchPMEMeshSolver(_TorchPME):
    """PME calculator of torch-pme.

    Its Lagrange interpolation is not smooth. With six nodes the energy is continuous, but the
    forces have jumps, smaller than the accuracy, where an atom crosses a mesh point. Second
    derivatives with respect to the positions are therefore inaccurate. The second derivative with
    respect to the cell is NaN, because it contains that of a norm at 0. Losses need neither of
    them. The P3M calculator is smooth but incorrect for cells that are not orthorhombic. Mesh sizes
    are powers of two.
    """

    name: ClassVar[str] = "torchpme_pme"
    supported_derivatives: ClassVar[frozenset[Derivative]] = frozenset(
        {"forces", "stress", "force_loss", "stress_loss"}
    )
    mesh: ClassVar[bool] = True
    #: Smaller values need meshes that take seconds and gigabytes for a hundred atoms.
    best_accuracy: ClassVar[float] = 1e-4
    nodes: ClassVar[int] = 6
    #: The force is the derivative of interpolation polynomials of order five.
    mesh_error: ClassVar[MeshError] = MeshError(4e-3, 5)

    def _calculator(self, potential: Any, cell: Tensor, count: Tensor) -> Any:
        from torchpme import PMECalculator

        volume = torch.linalg.det(cell).abs()[None]
        spacing = mesh_spacings(
            self.mesh_error, self.accuracy, self.ewald.splitting, volume, count[None]
        )[0]
        # torch-pme uses at least 2 L / mesh_spacing + 1 points along a vector of length L.
        return PMECalculator(
            potential,
            mesh_spacing=2 * spacing,
            interpolation_nodes=self.nodes,
            full_neighbor_list=True,
        )
