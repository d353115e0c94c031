"""Periodic Ewald sums by torch-pme; open graphs by the exact sum."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from muse_lr.density import ChargeDensity
from muse_lr.geometry import Geometry
from muse_lr.solvers.base import Solver
from muse_lr.solvers.open_sum import open_energy
from muse_lr.units import COULOMB_CONSTANT


class TorchPMESolver(Solver):
    """torch-pme's Ewald calculator, one periodic graph after the other.

    torch-pme's ``smearing`` is sqrt(2) times our splitting and its potentials are already halved.
    It keeps |k| <= pi / lr_wavelength (its own default resolution is under-converged), so the
    wavelength is set from our reciprocal cutoff. Its background is that of point charges; the term
    Q sum(q sigma^2) that tells Gaussians from points is added here. It works in float64 whatever
    the model's dtype.
    """

    def __init__(self, width: float, accuracy: float, cutoff: float) -> None:
        super().__init__(width, accuracy, cutoff)
        from torchpme import CoulombPotential, EwaldCalculator

        self.calculator = EwaldCalculator(
            CoulombPotential(smearing=math.sqrt(2) * self.ewald.splitting),
            lr_wavelength=math.pi / self.ewald.reciprocal_cutoff,
            full_neighbor_list=True,
        ).to(torch.float64)

    def energy(self, density: ChargeDensity, geometry: Geometry) -> Tensor:
        """(n_graphs,) energies in eV, float64."""
        energy = open_energy(density, geometry, self.width)
        graphs = geometry.periodic_graphs.nonzero()[:, 0]
        if len(graphs) == 0:
            return energy
        self.calculator.to(device=energy.device)
        parts = [self._graph_energy(graph, density, geometry) for graph in graphs.tolist()]
        return energy.index_add(0, graphs, COULOMB_CONSTANT * torch.stack(parts))

    def _graph_energy(self, graph: int, density: ChargeDensity, geometry: Geometry) -> Tensor:
        start, stop = int(geometry.ptr[graph]), int(geometry.ptr[graph + 1])
        charges = density.charges[start:stop].double()
        receiver = geometry.edge_index[1]
        near = (geometry.graph_index[receiver] == graph) & (
            geometry.edge_lengths < self.ewald.cutoff
        )
        pairs = (geometry.edge_index[:, near] - start).flip(0)
        distance = geometry.edge_lengths[near]
        potential = self.calculator(
            charges[:, None],
            geometry.cell[graph],
            geometry.positions[start:stop],
            pairs.T,
            distance,
        )
        energy = (charges * potential[:, 0]).sum()
        if self.width > 0:
            total = charges.sum()
            energy = energy + (2 * math.pi * total**2 * self.width**2 / geometry.volume[graph])
        if self.width > 0 and self.ewald.cutoff > 0:
            first, second = pairs
            pair = charges[first] * charges[second]
            kernel = torch.erfc(distance / (2 * self.width)) / distance
            energy = energy - (pair * kernel).sum() / 2
        return energy
