"""Electrostatics in plain torch: exact in open systems, an Ewald sum in periodic ones.

Conventions, said once:

- a pair of Gaussian charges of width sigma interacts by k q q' erf(r / 2 sigma) / r;
- the energy of a charge with itself is left out, that with its periodic images is not;
- a net charge is neutralised by a uniform background. For the Gaussian density the term k = 0 is
  dropped, E_background = -(2 pi k / V) (Q^2 eta^2 - Q sum_i q_i sigma^2), which for points is the
  textbook's -2 pi k Q^2 eta^2 / V and makes the energy independent of the splitting eta;
- the boundary at infinity is conducting (no surface dipole term);
- both sums are switched off smoothly at constant cutoffs, so the energy is continuous under
  strain and the same for equivalent cells.

Any order of derivative in positions, charges and cell is right: all operations are plain torch.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from muse_lr.density import ChargeDensity
from muse_lr.geometry import Geometry
from muse_lr.graph import sum_nodes
from muse_lr.smooth import switch_off
from muse_lr.solvers.base import REAL_TAPER, RECIPROCAL_TAPER, Solver
from muse_lr.solvers.open_sum import gaussian_coulomb, open_energy
from muse_lr.units import COULOMB_CONSTANT


class ReferenceSolver(Solver):
    """Open sum and Ewald sum; a batch may mix both boundaries."""

    def energy(self, density: ChargeDensity, geometry: Geometry) -> Tensor:
        """(n_graphs,) energies in eV, float64."""
        energy = open_energy(density, geometry, self.width)
        if not bool(geometry.periodic_graphs.any()):
            return energy
        lattice = self.real_space(density, geometry) + self.reciprocal_space(density, geometry)
        return energy + COULOMB_CONSTANT * lattice

    def real_space(self, density: ChargeDensity, geometry: Geometry) -> Tensor:
        """(n_graphs,) sum over edges of q q' [erf(r / 2 sigma) - erf(r / 2 eta)] / 2r, in e^2/A."""
        receiver = geometry.edge_index[1]
        near = (geometry.edge_lengths < self.ewald.cutoff) & geometry.periodic_graphs[
            geometry.graph_index[receiver]
        ]
        sender, receiver = geometry.edge_index[:, near]
        charges = density.charges
        distance = geometry.edge_lengths[near].to(charges.dtype)
        kernel = gaussian_coulomb(distance, self.width) - gaussian_coulomb(
            distance, self.ewald.splitting
        )
        kernel = kernel * switch_off(distance, REAL_TAPER * self.ewald.cutoff, self.ewald.cutoff)
        pair = charges[sender] * charges[receiver] * kernel / 2
        return sum_nodes(pair, geometry.graph_index[receiver], geometry.num_graphs)

    def reciprocal_space(self, density: ChargeDensity, geometry: Geometry) -> Tensor:
        """(n_graphs,) reciprocal sum with self-energy and background, in e^2/A.

        E = (2 pi / V) sum_k exp(-eta^2 k^2) / k^2 |S(k)|^2 - sum_i q_i^2 / (2 sqrt(pi) eta)
        + E_background, with the structure factor S(k) = sum_i q_i exp(i k.r_i).
        """
        periodic = geometry.periodic_graphs
        eta = self.ewald.splitting
        charges = density.charges
        weights, power = self._spectrum(charges, geometry)
        sums = geometry.positions.new_zeros(geometry.num_graphs)
        lattice = (weights.double() * power.double()).flatten(1).sum(1)
        sums = sums.index_copy(0, periodic.nonzero()[:, 0], lattice)

        graph, count = geometry.graph_index, geometry.num_graphs
        squares = sum_nodes(charges**2, graph, count)
        total = sum_nodes(charges, graph, count)
        spread = total * (eta**2 - self.width**2)
        background = -2 * math.pi * total * spread / geometry.volume
        return sums + periodic * (background - squares / (2 * math.sqrt(math.pi) * eta))

    def _spectrum(self, charges: Tensor, geometry: Geometry) -> tuple[Tensor, Tensor]:
        """Weights (G, k1, k2, k3) in 1/A and |S(k)|^2 for the G periodic graphs, half of k space.

        exp(i k.r) factorises over the three fractional coordinates, so the structure factor is a
        matrix product instead of a sine and cosine for each atom and each k.
        """
        periodic = geometry.periodic_graphs
        cell = geometry.cell[periodic]
        inverse = torch.linalg.inv(cell)
        dtype = charges.dtype
        fractional, padded = self._pad(charges, geometry)
        phases, integers = [], []
        largest = RECIPROCAL_TAPER * self.ewald.reciprocal_cutoff / (2 * math.pi)
        limits = (largest * torch.linalg.vector_norm(cell.detach(), dim=2)).amax(0).floor().long()
        for axis, limit in enumerate(limits.tolist()):
            lowest = 0 if axis == 2 else -limit
            n = torch.arange(lowest, limit + 1, device=charges.device, dtype=dtype)
            integers.append(n)
            angle = 2 * math.pi * fractional[:, :, axis, None] * n
            phases.append(torch.polar(torch.ones_like(angle), angle))
        planes = (padded[..., None] * phases[0])[..., None] * phases[1][:, :, None, :]
        factor = planes.flatten(2).mT @ phases[2]
        power = factor.real**2 + factor.imag**2

        grid = torch.cartesian_prod(*integers).to(inverse.dtype)
        # k = 2 pi C^-1 n, so that k.r = 2 pi n.s for the fractional coordinates s.
        squared = (2 * math.pi) ** 2 * torch.einsum("kb,gab->gka", grid, inverse).square().sum(-1)
        zero = (grid == 0).all(1)
        squared = torch.where(zero, 1.0, squared)
        cutoff = self.ewald.reciprocal_cutoff
        window = switch_off(squared.sqrt(), cutoff, RECIPROCAL_TAPER * cutoff)
        # Planes k3 > 0 stand for their mirror images too.
        multiplicity = torch.where(grid[:, 2] > 0, 2.0, 1.0) * ~zero
        weights = multiplicity * window * torch.exp(-(self.ewald.splitting**2) * squared) / squared
        weights = 2 * math.pi * weights / geometry.volume[periodic, None]
        return weights.to(dtype), power.flatten(1)

    @staticmethod
    def _pad(charges: Tensor, geometry: Geometry) -> tuple[Tensor, Tensor]:
        """Fractional coordinates (G, n_max, 3) and charges (G, n_max) of the periodic graphs."""
        periodic = geometry.periodic_graphs
        row_of_graph = torch.cumsum(periodic, 0) - 1
        atoms = periodic[geometry.graph_index].nonzero()[:, 0]
        graph = geometry.graph_index[atoms]
        row, column = row_of_graph[graph], atoms - geometry.ptr[graph]
        n_max = int(geometry.nodes_per_graph[periodic].max())
        inverse = torch.linalg.inv(geometry.cell)[graph]
        fractional = torch.einsum("ia,iab->ib", geometry.positions[atoms], inverse)
        # Whole cells change no phase; without them float32 keeps its digits.
        fractional = (fractional - fractional.detach().floor()).to(charges.dtype)
        shape = (int(periodic.sum()), n_max)
        return (
            fractional.new_zeros((*shape, 3)).index_put((row, column), fractional),
            charges.new_zeros(shape).index_put((row, column), charges[atoms]),
        )
