r"""Base class of solvers for charges: all parts of the lattice sum except the reciprocal sum.

The energy of Gaussian charges in a lattice, in e^2/A and with the conventions of
:mod:`muse_lr.electrostatics.ewald.reference`, is

.. math::
   E = \sum_{i<j} q_i q_j \frac{\mathrm{erfc}(r / 2\eta) - \mathrm{erfc}(r / s_{ij})}{r}
       + E_\mathrm{rec} + E_\mathrm{boundary}, \qquad s_{ij}^2 = 2 (\sigma_i^2 + \sigma_j^2).

E_rec is the usual reciprocal energy of point charges, :math:`\sum_{k \ne 0} (2 \pi / V k^2)
\exp(-\eta^2 k^2) |S(k)|^2 - \sum q^2 / 2 \sqrt\pi \eta - 2 \pi Q^2 \eta^2 / V`, as computed
by other libraries. The widths therefore only enter the real-space sum and the term k = 0, which is
:math:`E_\mathrm{boundary} = 2 \pi Q \sum q \sigma^2 / V` in crystals. In slabs, the widths in the
term k = 0 cancel with those in the slab term, which becomes the one of point charges,
:math:`(2 \pi / V)[M_z^2 - Q \sum q z^2 - Q^2 L^2 / 12]`.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

import torch
from torch import Tensor

from muse_lr.density import ChargeDensity
from muse_lr.electrostatics.base import Solver
from muse_lr.electrostatics.ewald.gaps import close_gaps
from muse_lr.electrostatics.ewald.lattice import LatticeCells, lattice_cells
from muse_lr.electrostatics.ewald.pairs import find_pairs, pair_energy
from muse_lr.errors import InputError
from muse_lr.structures.geometry import Geometry, PeriodicBoundary
from muse_lr.structures.graph import sum_nodes
from muse_lr.units import COULOMB_CONSTANT


@dataclass(frozen=True)
class PointCharges:
    """Charges of the selected graphs and their lattices, in float64.

    Attributes
    ----------
    charges : Tensor
        (n,) in e.
    positions : Tensor
        (n, 3) in A.
    row : Tensor
        (n,) graph of each charge, 0 to G - 1, in ascending order.
    counts : Tensor
        (G,) number of charges of each graph.
    cell : Tensor
        (G, 3, 3) in A. The open vector of a slab is normal to the slab and includes the vacuum.
    """

    charges: Tensor
    positions: Tensor
    row: Tensor
    counts: Tensor
    cell: Tensor

    @cached_property
    def volume(self) -> Tensor:
        """(G,) in A^3."""
        return torch.linalg.det(self.cell).abs()

    def sum(self, values: Tensor) -> Tensor:
        """(n,) -> (G,) sums over the charges of each graph."""
        return sum_nodes(values, self.row, len(self.cell))


class PointChargeSolver(Solver):
    """Base class of solvers for charges that implement the reciprocal sum.

    This class computes the real-space sum and the boundary terms in plain torch, for all graphs at
    once. The real-space sum is switched off smoothly at the cutoff. Its derivatives of any order
    are correct.

    Attributes
    ----------
    name : str
        Name in the registry of solvers.
    """

    name: ClassVar[str]
    boundaries: ClassVar[frozenset[PeriodicBoundary]] = frozenset({"TTF", "TTT"})
    l_max: ClassVar[int] = 0

    def __init__(self, widths: Sequence[float], accuracy: float, cutoff: float) -> None:
        super().__init__(widths, accuracy, cutoff)
        if accuracy < self.best_accuracy:
            raise InputError(
                f"solver {self.name} supports accuracies down to {self.best_accuracy:g}, not "
                f"{accuracy:g}: raise accuracy or set solver: reference"
            )

    @abstractmethod
    def reciprocal(self, system: PointCharges) -> Tensor:
        """(G,) E_rec in e^2/A, including the self-energy and background of point charges."""

    def energy(self, density: ChargeDensity, geometry: Geometry, chosen: Tensor) -> Tensor:
        """See :meth:`Solver.energy`.

        Raises
        ------
        InputError
            If the density has dipoles or quadrupoles.
        """
        if density.l_max > 0:
            raise InputError(
                f"solver {self.name} supports charges only, but the density has multipoles up to "
                f"l = {density.l_max}: set solver: reference"
            )
        if not bool(chosen.any()):
            return geometry.positions.new_zeros(geometry.num_graphs)
        parts = [
            solver._energy(density, wide, graphs)
            for solver, wide, graphs in self.by_rung(geometry, chosen)
        ]
        return parts[0] if len(parts) == 1 else torch.stack(parts).sum(0)

    def _energy(self, density: ChargeDensity, geometry: Geometry, chosen: Tensor) -> Tensor:
        """(n_graphs,) energies in eV of graphs of one rung."""
        gaps = close_gaps(geometry, chosen, self.ewald.splitting)
        cells = lattice_cells(gaps.geometry, chosen, self.ewald.splitting)
        system, width = point_charges(density, gaps.geometry, chosen, cells)
        lattice = self.reciprocal(system) + boundary_term(system, width, cells)
        rows = chosen.nonzero()[:, 0]
        energy = lattice.new_zeros(geometry.num_graphs).index_copy(0, rows, lattice)
        if gaps.removed is not None:
            energy = energy + gaps.interaction(density.charges, density.charges) / 2
        if self.ewald.cutoff > 0:
            energy = energy + self.real_space(density, geometry, chosen)
        return COULOMB_CONSTANT * energy

    def real_space(self, density: ChargeDensity, geometry: Geometry, chosen: Tensor) -> Tensor:
        """(n_graphs,) sum over pairs of q q' [erfc(r / 2 eta) - erfc(r / s)] / r, in e^2/A."""
        options = self.widths, self.ewald.splitting, self.ewald.cutoff
        pairs = find_pairs(density, geometry, chosen, *options)
        return pair_energy(pairs, density.charges, geometry)


def point_charges(
    density: ChargeDensity, geometry: Geometry, chosen: Tensor, cells: LatticeCells
) -> tuple[PointCharges, Tensor]:
    """Charges of the selected graphs, and their (n,) widths in A."""
    charges, width, positions = density.charges, density.width, geometry.positions
    row, counts = geometry.graph_index, geometry.nodes_per_graph
    if len(cells.cell) < len(chosen):
        atoms = chosen[row].nonzero()[:, 0]
        charges, width, positions = charges[atoms], width[atoms], positions[atoms]
        row, counts = (torch.cumsum(chosen, 0) - 1)[row[atoms]], counts[chosen]
    system = PointCharges(charges.double(), positions, row, counts, cells.cell)
    return system, width.double()


def boundary_term(system: PointCharges, width: Tensor, cells: LatticeCells) -> Tensor:
    """(G,) E_boundary in e^2/A: background of Gaussians in crystals, slab term in slabs.

    Parameters
    ----------
    system : PointCharges
    width : Tensor
        (n,) width of each charge, A.
    cells : LatticeCells
    """
    total = system.sum(system.charges)
    crystal = total * system.sum(system.charges * width**2)
    if not cells.has_slabs:
        return 2 * math.pi * crystal / system.volume
    z = (system.positions * cells.normal[system.row]).sum(1)
    dipole = system.sum(system.charges * z)
    second = system.sum(system.charges * z**2)
    slab = dipole**2 - total * second - total**2 * cells.height**2 / 12
    return 2 * math.pi * torch.where(cells.slab, slab, crystal) / system.volume
