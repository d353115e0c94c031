"""Reciprocal sums by torch-pme: Ewald and particle-mesh Ewald, one graph after the other."""

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
    """Loop over graphs around a calculator of torch-pme that is given no neighbors.

    torch-pme's ``smearing`` is sqrt(2) times our splitting and its potentials are already halved.
    It works in float64 whatever the model's dtype.
    """

    @abstractmethod
    def _calculator(self, potential: Any, cell: Tensor, count: Tensor) -> Any:
        """The calculator of a graph. It keeps tensors of its last call, so none is kept here."""

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
    """torch-pme's Ewald calculator.

    It keeps |k| <= 2 pi / lr_wavelength along each cell vector (its own default is
    under-converged), so the wavelength is set from our reciprocal cutoff, twice as fine as it
    needs to be. Plain torch: every derivative is right. Its memory is the product of atoms and k
    vectors.
    """

    name: ClassVar[str] = "torchpme"
    supported_derivatives: ClassVar[frozenset[Derivative]] = EVERY_DERIVATIVE

    def _calculator(self, potential: Any, cell: Tensor, count: Tensor) -> Any:
        from torchpme import EwaldCalculator

        wavelength = math.pi / self.ewald.reciprocal_cutoff
        return EwaldCalculator(potential, lr_wavelength=wavelength, full_neighbor_list=True)


class TorchPMEMeshSolver(_TorchPME):
    """torch-pme's PME calculator.

    Its Lagrange interpolation is not smooth: with six nodes the energy is continuous and the forces
    jump, by less than the accuracy, where an atom passes a mesh point. Second derivatives by the
    positions are therefore poor, and the second derivative by the cell is NaN (that of a norm
    at 0); losses need neither. Its P3M calculator is smooth, but wrong in cells that are not
    orthorhombic. Mesh sizes are powers of two.
    """

    name: ClassVar[str] = "torchpme_pme"
    supported_derivatives: ClassVar[frozenset[Derivative]] = frozenset(
        {"forces", "stress", "force_loss", "stress_loss"}
    )
    #: Finer meshes than this would need take seconds and gigabytes for a hundred atoms.
    mesh: ClassVar[bool] = True
    best_accuracy: ClassVar[float] = 1e-4
    nodes: ClassVar[int] = 6
    #: The force is the derivative of polynomials of order five.
    mesh_error: ClassVar[MeshError] = MeshError(4e-3, 5)

    def _calculator(self, potential: Any, cell: Tensor, count: Tensor) -> Any:
        from torchpme import PMECalculator

        volume = torch.linalg.det(cell).abs()[None]
        spacing = mesh_spacings(
            self.mesh_error, self.accuracy, self.ewald.splitting, volume, count[None]
        )[0]
        # torch-pme takes at least 2 L / mesh_spacing + 1 points along a vector of length L.
        return PMECalculator(
            potential,
            mesh_spacing=2 * spacing,
            interpolation_nodes=self.nodes,
            full_neighbor_list=True,
        )
