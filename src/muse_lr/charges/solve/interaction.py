"""The quadratic energy of interacting charges, with direct and iterative solvers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cached_property

import torch
from torch import Tensor

from muse_lr.charges.solve.conjugate_gradients import ScreenedPreconditioner, conjugate_gradients
from muse_lr.charges.solve.linear_solve import bordered_factors, bordered_solve
from muse_lr.density import ChargeDensity
from muse_lr.electrostatics.base import EVERY_DERIVATIVE
from muse_lr.electrostatics.dispatch import MESH_SIZE, Electrostatics
from muse_lr.electrostatics.ewald.reference import ReferenceSolver
from muse_lr.electrostatics.mesh.pme import PMESolver
from muse_lr.electrostatics.operators.charge_matrix import PaddedGraphs, charge_matrix
from muse_lr.electrostatics.operators.charge_operator import LatticeOperator, MoleculeOperator
from muse_lr.structures.geometry import Geometry

#: Graphs with fewer atoms are solved directly. Larger lattices use the mesh.
DIRECT_SIZE = MESH_SIZE
#: Largest preconditioned residual at convergence, relative to the initial one.
TOLERANCE = 1e-11
ITERATIONS = 500


class InteractingCharges:
    r"""The matrix H = diagonal + A for the charges of a batch, with any boundaries and sizes.

    Parameters
    ----------
    electrostatics : Electrostatics
        Its energy is :math:`\tfrac12 q^T A q`.
    solver : ReferenceSolver
        Solver with the same parameters, for the matrices of small graphs.
    mesh : PMESolver or None
        Solver with the same parameters, for large lattices; None if its accuracy is insufficient.
    width : Tensor
        (n_atoms,) Gaussian standard deviations, A, float64.
    geometry : Geometry
    diagonal : Tensor
        (n_atoms,) positive, eV/e^2, including the self-interactions of the charges.
    """

    def __init__(
        self,
        electrostatics: Electrostatics,
        solver: ReferenceSolver,
        mesh: PMESolver | None,
        width: Tensor,
        geometry: Geometry,
        diagonal: Tensor,
    ) -> None:
        self._electrostatics = electrostatics
        self._solver, self._mesh = solver, mesh
        self._geometry = replace(
            geometry, positions=geometry.positions.detach(), cell=geometry.cell.detach()
        )
        self._width, self._diagonal = width.detach(), diagonal.detach()
        self._small = geometry.nodes_per_graph < DIRECT_SIZE

    def product(self, first: Tensor, second: Tensor, *tensors: Tensor) -> Tensor:
        """See :meth:`Quadratic.product`. The tensors are diagonal, positions and cell."""
        diagonal, positions, cell = tensors
        geometry = replace(self._geometry, positions=positions, cell=cell)
        potential = self._potential(second, geometry, create_graph=True)
        return (first * (potential + diagonal * second)).sum()

    def _potential(self, charges: Tensor, geometry: Geometry, create_graph: bool = False) -> Tensor:
        """A x, the derivative of the Coulomb energy by the charges."""
        with torch.enable_grad():
            charges = charges.view_as(charges)
            if not charges.requires_grad:
                charges = charges.detach().requires_grad_(True)
            density = ChargeDensity(
                charges[:, None], self._width, geometry.graph_index, geometry.num_graphs
            )
            energy = self._electrostatics.energy(density, geometry, EVERY_DERIVATIVE).sum()
            (potential,) = torch.autograd.grad(energy, charges, create_graph=create_graph)
        return potential

    @torch.no_grad()
    def solve(self, force: Tensor, totals: Tensor) -> Tensor:
        """See :meth:`Quadratic.solve`."""
        solution = torch.zeros_like(force)
        if bool(self._small.any()):
            padded, factors = self._factors
            found = bordered_solve(factors, padded.present, padded.pad(force), totals[self._small])
            solution[padded.atoms] = found[padded.row, padded.column]
        if not bool(self._small.all()):
            large = ~self._small[self._geometry.graph_index]
            charges, _ = conjugate_gradients(
                self.apply,
                self.preconditioner,
                force * large,
                totals * ~self._small,
                self._geometry.graph_index,
                TOLERANCE,
                ITERATIONS,
            )
            solution = torch.where(large, charges, solution)
        return solution

    @cached_property
    def _factors(self) -> tuple[PaddedGraphs, tuple[Tensor, Tensor]]:
        """LU factors of the small graphs."""
        padded = PaddedGraphs(self._geometry, self._small)
        matrix = charge_matrix(self._width, self._geometry, self._small, self._solver)
        matrix.diagonal(dim1=1, dim2=2).add_(padded.pad(self._diagonal))
        return padded, bordered_factors(matrix, padded.present)

    @cached_property
    def preconditioner(self) -> ScreenedPreconditioner:
        """Preconditioner of the large graphs."""
        return ScreenedPreconditioner(self._diagonal, self._width, self._geometry, ~self._small)

    @cached_property
    def _operators(self) -> list[tuple[slice, Callable[[Tensor], Tensor]]]:
        """Atoms and potential operator of each large graph."""
        geometry = self._geometry
        operators: list[tuple[slice, Callable[[Tensor], Tensor]]] = []
        for graph in (~self._small).nonzero()[:, 0].tolist():
            start, end = geometry.ptr[graph : graph + 2].tolist()
            atoms = slice(start, end)
            if not bool(geometry.pbc[graph].any()):
                molecule = MoleculeOperator(self._width[atoms], geometry.positions[atoms])
                operators.append((atoms, molecule))
            elif self._mesh is not None:
                lattice = LatticeOperator(self._width, geometry, graph, self._mesh)
                operators.append((atoms, lattice))
        return operators

    def apply(self, charges: Tensor) -> Tensor:
        """H x for the large graphs."""
        lattices = self._geometry.pbc.any(1) & ~self._small
        if self._mesh is None and bool(lattices.any()):
            return self._diagonal * charges + self._potential(charges, self._geometry)
        result = self._diagonal * charges
        for atoms, operator in self._operators:
            result[atoms] += operator(charges[atoms])
        return result
