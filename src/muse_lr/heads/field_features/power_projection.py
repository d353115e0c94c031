r"""Projections of :math:`\sum_j \hat L_j V(|r - r_j|)`, where V is 1/r^6 at large distance.

V is the smeared potential of :mod:`muse_lr.heads.field_features.power_kernel`, and :math:`\hat L`
are the multipole operators of :mod:`muse_lr.electrostatics.kernels`. A charge of the density is a
source with the sign and size of the charge, and a dipole is the limit of two such sources. The
average over the probes is smooth. Open systems therefore use a sum over all pairs, and periodic
systems use only a sum over waves,

.. math:: \frac1V \sum_k \hat B(k)\, S_\mathrm{probe}(k)^* S(k),

It includes k = 0, where the transform is finite, so no background is needed and charged cells need
no special treatment. In slabs the waves along the normal are integrated, which gives a sum over
pairs of atoms that depends on their heights (see :mod:`muse_lr.heads.dispersion.lattice_sum`).
"""

from __future__ import annotations

import math
from functools import partial

import torch
from torch import Tensor

from muse_lr.density import ChargeDensity
from muse_lr.electrostatics.base import REAL_TAPER, EwaldParameters, ewald_parameters
from muse_lr.electrostatics.edge_sums import sum_over_edges
from muse_lr.electrostatics.ewald.gaps import close_gaps
from muse_lr.electrostatics.ewald.lattice import lattice_cells
from muse_lr.electrostatics.ewald.reciprocal_space import ReciprocalSpace
from muse_lr.electrostatics.kernels import multipole_products, pair_interaction
from muse_lr.electrostatics.pair_sums import sum_over_pairs
from muse_lr.heads.dispersion.lattice_sum import ALONG_NORMAL
from muse_lr.heads.field_features.power_kernel import SmearedPower
from muse_lr.math.multipoles import order_of, to_cartesian
from muse_lr.math.switching import switch_off
from muse_lr.structures.geometry import Geometry
from muse_lr.structures.graph import sum_nodes
from muse_lr.structures.sparse import rungs_of, with_pairs


class PowerProjection:
    """Projections on probes of one width, for sources of one smearing.

    Parameters
    ----------
    width : float
        Gaussian standard deviation of the probes, A.
    smearing : float
        Gaussian smearing of the sources, A.
    l_max : int
        Highest order of the probes.
    accuracy : float
        The sum over waves is cut where their Gaussian is a tenth of this value.
    """

    def __init__(self, width: float, smearing: float, l_max: int, accuracy: float) -> None:
        self.width, self.l_max = width, l_max
        self.kernel = SmearedPower(width, smearing)
        self.ewald = ewald_parameters((self.kernel.splitting,), accuracy, 0.0)

    def __call__(self, sources: ChargeDensity, geometry: Geometry) -> Tensor:
        """(n_atoms, (l_max + 1)^2) integrals of V phi_lm without the atom itself, e A^-(6 + l).

        Parameters
        ----------
        sources : ChargeDensity
            Each source has the width ``smearing`` or is zero.
        geometry : Geometry
            May mix FFF, TTF and TTT.
        """
        found = self._open(sources, geometry)
        lattices = ~geometry.open_graphs
        if not bool(lattices.any()):
            return found
        again = torch.is_grad_enabled()
        with torch.enable_grad():
            probe = ChargeDensity(
                torch.zeros_like(found).requires_grad_(True),
                torch.full_like(sources.width, self.width),
                sources.graph_index,
                sources.num_graphs,
            )
            energy = geometry.positions.new_zeros(geometry.num_graphs)
            for rung, graphs in rungs_of(geometry, lattices):
                energy = energy + self._on_rung(rung, probe, sources, geometry, graphs)
            # The energy is linear in the probes, so they can be zero.
            (moments,) = torch.autograd.grad(energy.sum(), probe.moments, create_graph=again)
        return found + moments

    def _open(self, source: ChargeDensity, geometry: Geometry) -> Tensor:
        """(n_atoms, (l_max + 1)^2) projections in open graphs, and 0 in the others."""
        highest = self.l_max + source.l_max

        def projections(
            first: Tensor, second: Tensor, positions: Tensor, moments: Tensor
        ) -> Tensor:
            again = torch.is_grad_enabled()
            vector = (positions[first] - positions[second]).to(moments.dtype)
            kernel = self.kernel.radial(vector.square().sum(1), highest)
            with torch.enable_grad():
                unit = moments.new_zeros((len(moments), (self.l_max + 1) ** 2))
                probes, sources = to_cartesian(unit.requires_grad_(True)), to_cartesian(moments)
                pairs = pair_interaction(probes[first], sources[second], vector, kernel)
                pairs = pairs + pair_interaction(probes[second], sources[first], -vector, kernel)
                (found,) = torch.autograd.grad(pairs.sum(), unit, create_graph=again)
            return found

        tensors = geometry.positions, source.moments
        return sum_over_pairs(projections, geometry.nodes_per_graph, geometry.open_graphs, tensors)

    def _on_rung(
        self,
        rung: int,
        probe: ChargeDensity,
        source: ChargeDensity,
        geometry: Geometry,
        chosen: Tensor,
    ) -> Tensor:
        """(n_graphs,) interaction of probes and sources in periodic graphs of one rung."""
        if rung == 0:
            return self._lattice(probe, source, geometry, chosen, self.kernel, self.ewald)
        ewald = self.ewald.on_rung(rung)
        smooth = self.kernel.wider(2**rung)
        energy = self._lattice(probe, source, geometry, chosen, smooth, ewald)
        wide = with_pairs(geometry, rung, ewald.cutoff)
        near = wide.edge_lengths < ewald.cutoff
        near = near & chosen[wide.graph_index[wide.edge_index[1]]]

        def in_real_space(
            first: Tensor, second: Tensor, length: Tensor, vector: Tensor, *moments: Tensor
        ) -> Tensor:
            probes, sources = moments
            highest = order_of(probes) + order_of(sources)
            own = vector.to(sources.dtype)
            squared = own.square().sum(1)
            kernels = self.kernel.radial(squared, highest), smooth.radial(squared, highest)
            difference = [exact - broad for exact, broad in zip(*kernels, strict=True)]
            ours, theirs = to_cartesian(probes)[first], to_cartesian(sources)[second]
            pairs = pair_interaction(ours, theirs, own, difference)
            pairs = pairs * switch_off(length, REAL_TAPER * ewald.cutoff, ewald.cutoff)
            return sum_nodes(pairs, geometry.graph_index[second], geometry.num_graphs)

        moments = probe.moments, source.moments
        edges = near.nonzero()[:, 0]
        return energy + sum_over_edges(in_real_space, wide, edges, rung, moments)

    def _lattice(
        self,
        probe: ChargeDensity,
        source: ChargeDensity,
        geometry: Geometry,
        chosen: Tensor,
        kernel: SmearedPower,
        ewald: EwaldParameters,
    ) -> Tensor:
        """(n_graphs,) interaction of probes and sources through the kernel in periodic graphs."""
        # Planes farther apart are summed as sheets.
        compact = close_gaps(geometry, chosen, kernel.splitting).geometry
        cells = lattice_cells(compact, chosen, kernel.splitting)
        cutoff = ewald.reciprocal_cutoff
        space = _Waves(cells, compact, chosen, cutoff, source.moments.dtype)
        lattice = space.sum(partial(_power, kernel), probe.moments, source.moments)
        charges = [
            sum_nodes(density.charges, geometry.graph_index, geometry.num_graphs)[chosen]
            for density in (probe, source)
        ]
        zero_wave = kernel.at_zero_wave * charges[0] * charges[1] / cells.volume
        lattice = lattice + torch.where(cells.slab, 0.0, zero_wave)
        rows = chosen.nonzero()[:, 0]
        energy = lattice.new_zeros(geometry.num_graphs).index_copy(0, rows, lattice)
        energy = energy - torch.where(chosen, _own(kernel, probe, source, geometry), 0.0)
        slab = chosen & ~geometry.pbc.all(1)
        if bool(slab.any()):
            normal = geometry.positions.new_zeros((geometry.num_graphs, 3))
            normal = normal.index_copy(0, rows, cells.normal)
            area = torch.ones_like(energy).index_copy(0, rows, cells.area)
            sheets = _sheets(kernel, probe, source, geometry, slab, normal)
            energy = energy + torch.where(slab, sheets / area, 0.0)
        return energy


class _Waves(ReciprocalSpace):
    """Structure factors and the weights of the potential."""

    def weights_of(self, kernel: SmearedPower) -> Tensor:
        """(G, K) weights in A^-6; 0 for k = 0 and for waves along the slab normal."""
        along = (self.waves * self.cells.normal[:, None]).sum(2)
        in_plane = self.waves.square().sum(2) - along.square()
        sheets = self.cells.slab[:, None] & (in_plane.detach() < ALONG_NORMAL)
        weights = self._window * kernel.transform(self.squared)
        return torch.where(sheets, 0.0, weights) / self.cells.volume[:, None]


def _power(kernel: SmearedPower, space: _Waves, probes: Tensor, sources: Tensor) -> Tensor:
    """(G,) sum over waves without k = 0 and without k along the slab normal."""
    first, second = space.structure_factor(probes), space.structure_factor(sources)
    power = first.real * second.real + first.imag * second.imag
    return (space.weights_of(kernel) * power.double()).sum(1)


def _own(
    kernel: SmearedPower, probe: ChargeDensity, source: ChargeDensity, geometry: Geometry
) -> Tensor:
    """(n_graphs,) self term of each probe and source, which the sum over waves includes."""
    products = multipole_products(probe.moments, source.moments)
    at_zero = kernel.radial(source.width.new_zeros(1).double(), len(products) - 1)
    total = torch.zeros_like(products[0])
    for order, (product, value) in enumerate(zip(products, at_zero, strict=True)):
        # The operators on B_0 give B_l(0) / (2l - 1)!! for equal components.
        total = total + product * (float(value) / math.prod(range(1, 2 * order, 2)))
    return sum_nodes(total, geometry.graph_index, geometry.num_graphs)


def _sheets(
    kernel: SmearedPower,
    probe: ChargeDensity,
    source: ChargeDensity,
    geometry: Geometry,
    slab: Tensor,
    normal: Tensor,
) -> Tensor:
    """(n_graphs,) sum over ordered pairs of atoms in slabs, self pairs included, A^-4."""
    normals = normal[geometry.graph_index]
    z = (geometry.positions * normals).sum(1).to(source.moments.dtype)
    probes, sources = _along(probe, normals), _along(source, normals)
    highest = probe.l_max + source.l_max

    def energy(first: Tensor, second: Tensor, heights: Tensor, *along: Tensor) -> Tensor:
        ours, theirs = along[: len(probes)], along[len(probes) :]
        radial = kernel.sheets(heights[first] - heights[second], highest)
        pairs = _normal_interaction(
            [values[first] for values in ours], [values[second] for values in theirs], radial, 1
        )
        # The same pairs in reverse order: odd derivatives change their sign.
        pairs = pairs + _normal_interaction(
            [values[second] for values in ours],
            [values[first] for values in theirs],
            radial,
            -1,
        )
        return sum_nodes(pairs, geometry.graph_index[first], geometry.num_graphs)

    own = _normal_interaction(probes, sources, kernel.sheets(torch.zeros_like(z), highest), 1)
    total = sum_over_pairs(energy, geometry.nodes_per_graph, slab, (z, *probes, *sources))
    return total + sum_nodes(own, geometry.graph_index, geometry.num_graphs)


def _along(density: ChargeDensity, normals: Tensor) -> list[Tensor]:
    """For each order l, (n,) coefficients of the operator d^l/dz^l."""
    moments = to_cartesian(density.moments)
    normals = normals.to(density.moments.dtype)
    found = [moments.charges]
    if moments.dipoles is not None:
        found.append((moments.dipoles * normals).sum(1))
    if moments.quadrupoles is not None:
        found.append(torch.einsum("na,nab,nb->n", normals, moments.quadrupoles, normals) / 3)
    return found


def _normal_interaction(
    probes: list[Tensor], sources: list[Tensor], kernel: list[Tensor], sign: int
) -> Tensor:
    """(p,) sum_ab (-1)^b probe_a source_b g^(a + b)(sign z), with ``kernel`` evaluated at z."""
    total = torch.zeros_like(kernel[0])
    for a, probe in enumerate(probes):
        for b, source in enumerate(sources):
            total = total + (-1) ** b * sign ** (a + b) * probe * source * kernel[a + b]
    return total
