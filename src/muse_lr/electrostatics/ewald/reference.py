r"""Reference solver for the electrostatics of Gaussian multipoles, in plain torch.

This module defines the conventions of all solvers:

- The interaction of two sites is :math:`k \hat L \hat L' \mathrm{erf}(r / \sqrt{2 s^2}) / r` with
  :math:`s^2 = \sigma^2 + \sigma'^2` and the multipole operators of
  :mod:`muse_lr.electrostatics.kernels`. Moments with l = 2 use Racah normalization,
  Q_20 = sum q (3 z^2 - r^2) / 2.
- The energy excludes the interaction of a site with itself and includes the interaction with its
  periodic images. The option ``self_interaction`` of the Coulomb head adds the former, which is
  :math:`k q^2 / 2 \sqrt\pi \sigma` for a charge.
- TTT: the boundary at infinity is conducting (no surface dipole term). A net charge Q is
  neutralized by a uniform background. The term k = 0 of the Gaussian density is omitted,
  :math:`E_\mathrm{background} = -(2 \pi k / V) (Q^2 \eta^2 - Q \sum_i q_i \sigma_i^2)`, which for
  point charges is the usual :math:`-2 \pi k Q^2 \eta^2 / V`. This term makes the energy independent
  of the splitting :math:`\eta`.
- TTF: there is no background. The interaction of the plane-averaged charges along the normal is
  :math:`-2 \pi |z| / A`. The sum uses a three-dimensional lattice with height L and adds the slab
  term

  .. math:: E_\mathrm{slab} = \frac{2 \pi k}{V} \Bigl[ M_z^2 - Q \sum_i \bigl(q_i z_i^2
            + 2 \mu_{i,z} z_i + \tfrac23 \Theta_{i,zz}\bigr) - Q^2 \frac{L^2}{12} - Q^2 \eta^2
            \Bigr]

  (V. Ballenegger, A. Arnold, J. J. Cerda, J. Chem. Phys. 131, 094107 (2009); the last term accounts
  for the Gaussian charges of the reciprocal sum). The energy does not depend on the vacuum of the
  cell or on its open cell vector.
- The dipole of a system is relative to the coordinate origin. The dipole of a charged system
  depends on the origin.
- Both sums are switched off smoothly at constant cutoffs, so the energy is continuous under
  strain and the same for equivalent cells.

Derivatives of any order with respect to positions, moments and cell are correct, because all
operations are plain torch and the radial functions are entire.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor

from muse_lr.density import ChargeDensity
from muse_lr.electrostatics.base import EVERY_DERIVATIVE, REAL_TAPER, Derivative, Solver
from muse_lr.electrostatics.edge_sums import sum_over_edges
from muse_lr.electrostatics.ewald.gaps import close_gaps
from muse_lr.electrostatics.ewald.lattice import LatticeCells, lattice_cells
from muse_lr.electrostatics.ewald.pairs import find_pairs, pair_energy
from muse_lr.electrostatics.ewald.reciprocal_space import ReciprocalSpace
from muse_lr.electrostatics.ewald.waves import KeptWaves
from muse_lr.electrostatics.kernels import (
    multipole_products,
    pair_interaction,
    radial_kernel,
    self_interaction,
    short_range_kernel,
)
from muse_lr.electrostatics.pair_sums import PORTION
from muse_lr.math.multipoles import MAX_MULTIPOLE, CartesianMultipoles, to_cartesian
from muse_lr.math.switching import switch_off
from muse_lr.structures.geometry import Geometry, PeriodicBoundary
from muse_lr.structures.graph import sum_nodes
from muse_lr.units import COULOMB_CONSTANT


class ReferenceSolver(Solver):
    """Ewald sum for batches of crystals and slabs."""

    boundaries: ClassVar[frozenset[PeriodicBoundary]] = frozenset({"TTF", "TTT"})
    l_max: ClassVar[int] = MAX_MULTIPOLE
    supported_derivatives: ClassVar[frozenset[Derivative]] = EVERY_DERIVATIVE

    def __init__(self, widths: Sequence[float], accuracy: float, cutoff: float) -> None:
        super().__init__(widths, accuracy, cutoff)
        self._kept = KeptWaves()

    def forget(self) -> None:
        """See :meth:`Solver.forget`."""
        self._kept = KeptWaves()

    def energy(self, density: ChargeDensity, geometry: Geometry, chosen: Tensor) -> Tensor:
        """See :meth:`Solver.energy`."""
        return self.interaction(density, density, geometry, chosen) / 2

    def interaction(
        self, probe: ChargeDensity, source: ChargeDensity, geometry: Geometry, chosen: Tensor
    ) -> Tensor:
        """Energy of one density in the potential of another on the same atoms, in eV.

        The potential of an atom at its own position is excluded, that of its periodic images is
        included. For identical densities the result is twice the energy.
        """
        if not bool(chosen.any()):
            return geometry.positions.new_zeros(geometry.num_graphs)
        parts = [
            solver._interaction(probe, source, wide, graphs)
            for solver, wide, graphs in self.by_rung(geometry, chosen)
        ]
        return parts[0] if len(parts) == 1 else torch.stack(parts).sum(0)

    def _interaction(
        self, probe: ChargeDensity, source: ChargeDensity, geometry: Geometry, chosen: Tensor
    ) -> Tensor:
        """(n_graphs,) energies as in :meth:`interaction`, for graphs of one rung."""
        gaps = close_gaps(geometry, chosen, self.ewald.splitting)
        cells = lattice_cells(gaps.geometry, chosen, self.ewald.splitting)
        lattice = self._reciprocal_space(probe, source, gaps.geometry, chosen, cells)
        products = multipole_products(probe.moments, source.moments)
        own = self_interaction(products, 2 * self.ewald.splitting**2)
        lattice = lattice - self._sum_chosen(own, geometry, chosen)
        background = self._background(probe, source, geometry, chosen, cells)
        if cells.has_slabs:
            term = self._slab_term(probe, source, gaps.geometry, chosen, cells)
            background = torch.where(cells.slab, term, background)
        lattice = lattice + background
        energy = lattice
        if len(lattice) < len(chosen):
            rows = chosen.nonzero()[:, 0]
            energy = lattice.new_zeros(geometry.num_graphs).index_copy(0, rows, lattice)
        if gaps.removed is not None:
            energy = energy + gaps.interaction(probe.charges, source.charges)
        if self.ewald.cutoff > 0:
            energy = energy + self._real_space(probe, source, geometry, chosen)
        return COULOMB_CONSTANT * energy

    def _real_space(
        self, probe: ChargeDensity, source: ChargeDensity, geometry: Geometry, chosen: Tensor
    ) -> Tensor:
        """(n_graphs,) real-space sum: interactions minus those of Gaussians of the splitting."""
        small = self.rung == 0 or geometry.edge_index.shape[1] <= PORTION
        if probe is source and source.l_max == 0 and small:
            options = self.widths, self.ewald.splitting, self.ewald.cutoff
            found = find_pairs(source, geometry, chosen, *options)
            return 2 * pair_energy(found, source.charges, geometry)
        sender, receiver = geometry.edge_index
        near = geometry.edge_lengths < self.ewald.cutoff
        near = near & chosen[geometry.graph_index[receiver]]
        # The list contains each pair twice, including the pairs of an atom and its own images.
        if probe is source:
            near = near & (sender <= receiver)

        def energy(
            sender: Tensor, receiver: Tensor, length: Tensor, vector: Tensor, *moments: Tensor
        ) -> Tensor:
            probes, sources = moments[0], moments[-1]
            distance = length.to(sources.dtype)
            variance: Tensor | float = 2 * self.widths[0] ** 2
            if len(set(self.widths)) > 1:
                variance = probe.width[sender] ** 2 + source.width[receiver] ** 2
            if probes.shape[1] + sources.shape[1] == 2:
                kernel = short_range_kernel(distance, variance, self.ewald.splitting)
                pair = probes[:, 0][sender] * sources[:, 0][receiver] * kernel
            else:
                first, second = to_cartesian(probes)[sender], to_cartesian(sources)[receiver]
                pair = self._multipole_pairs(first, second, vector.to(distance.dtype), variance)
            window = switch_off(distance, REAL_TAPER * self.ewald.cutoff, self.ewald.cutoff)
            if probe is source:
                window = window * torch.where(sender == receiver, 1, 2)
            return sum_nodes(pair * window, geometry.graph_index[receiver], geometry.num_graphs)

        moments = (source.moments,) if probe is source else (probe.moments, source.moments)
        return sum_over_edges(energy, geometry, near.nonzero()[:, 0], self.rung, moments)

    def _multipole_pairs(
        self,
        first: CartesianMultipoles,
        second: CartesianMultipoles,
        vector: Tensor,
        variance: Tensor | float,
    ) -> Tensor:
        squared, highest = vector.square().sum(1), first.l_max + second.l_max
        exact = radial_kernel(squared, variance, highest)
        smooth = radial_kernel(squared, 2 * self.ewald.splitting**2, highest)
        difference = [a - b for a, b in zip(exact, smooth, strict=True)]
        return pair_interaction(first, second, vector, difference)

    def _reciprocal_space(
        self,
        probe: ChargeDensity,
        source: ChargeDensity,
        geometry: Geometry,
        chosen: Tensor,
        cells: LatticeCells,
    ) -> Tensor:
        """(G,) 2 sum_k w(k) Re[S_probe(k)* S_source(k)], in e^2/A."""
        dtype = source.moments.dtype
        options = self.ewald.reciprocal_cutoff, dtype, self._kept
        space = ReciprocalSpace(cells, geometry, chosen, *options)
        splitting = self.ewald.splitting
        if probe is source and source.l_max == 0:
            return 2 * space.sum(lambda part, q: part.energy(q, splitting), source.moments)

        def term(part: ReciprocalSpace, *moments: Tensor) -> Tensor:
            factor = part.structure_factor(moments[0])
            other = part.structure_factor(moments[1]) if len(moments) > 1 else factor
            power = factor.real * other.real + factor.imag * other.imag
            return (part.weights(splitting) * power.double()).sum(1)

        densities = (source,) if probe is source else (source, probe)
        return 2 * space.sum(term, *(density.moments for density in densities))

    def _background(
        self,
        probe: ChargeDensity,
        source: ChargeDensity,
        geometry: Geometry,
        chosen: Tensor,
        cells: LatticeCells,
    ) -> Tensor:
        """(G,) background term of crystals, in e^2/A."""
        charge, spread = self._charge_and_spread(source, geometry, chosen)
        other, other_spread = charge, spread
        if probe is not source:
            other, other_spread = self._charge_and_spread(probe, geometry, chosen)
        total = 2 * charge * other * self.ewald.splitting**2 - charge * other_spread
        return -2 * math.pi * (total - other * spread) / cells.volume

    def _charge_and_spread(
        self, density: ChargeDensity, geometry: Geometry, chosen: Tensor
    ) -> tuple[Tensor, Tensor]:
        """(G,) sum q and sum q sigma^2."""
        charges = density.charges
        spread = charges * density.width**2
        return (
            self._sum_chosen(charges, geometry, chosen),
            self._sum_chosen(spread, geometry, chosen),
        )

    def _slab_term(
        self,
        probe: ChargeDensity,
        source: ChargeDensity,
        geometry: Geometry,
        chosen: Tensor,
        cells: LatticeCells,
    ) -> Tensor:
        """(G,) slab term, in e^2/A."""
        charge, dipole, second = self._normal_moments(source, geometry, chosen, cells)
        other = (charge, dipole, second)
        if probe is not source:
            other = self._normal_moments(probe, geometry, chosen, cells)
        tail = cells.height**2 / 6 + 2 * self.ewald.splitting**2
        total = 2 * dipole * other[1] - charge * other[2] - other[0] * second
        volume = cells.area * cells.height
        return 2 * math.pi * (total - charge * other[0] * tail) / volume

    def _normal_moments(
        self, density: ChargeDensity, geometry: Geometry, chosen: Tensor, cells: LatticeCells
    ) -> tuple[Tensor, Tensor, Tensor]:
        """(G,) charge, dipole and second moment along the normal, in e, e A and e A^2."""
        moments = to_cartesian(density.moments.double())
        row = (torch.cumsum(chosen, 0) - 1)[geometry.graph_index].clamp(min=0)
        normal = cells.normal[row]
        z = (geometry.positions * normal).sum(1)
        dipole = moments.charges * z
        second = moments.charges * z**2
        if moments.dipoles is not None:
            along = (moments.dipoles * normal).sum(1)
            dipole, second = dipole + along, second + 2 * along * z
        if moments.quadrupoles is not None:
            second = second + 2 / 3 * torch.einsum(
                "na,nab,nb->n", normal, moments.quadrupoles, normal
            )
        charge, dipole, second = (
            self._sum_chosen(values, geometry, chosen)
            for values in (moments.charges, dipole, second)
        )
        return charge, dipole, second

    @staticmethod
    def _sum_chosen(values: Tensor, geometry: Geometry, chosen: Tensor) -> Tensor:
        """(G,) sums over the atoms of the chosen graphs."""
        sums = sum_nodes(values, geometry.graph_index, geometry.num_graphs)
        return sums if bool(chosen.all()) else sums[chosen]
