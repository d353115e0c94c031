"""Exact Coulomb sum of open systems."""

from __future__ import annotations

import torch
from torch import Tensor

from muse_lr.density import ChargeDensity
from muse_lr.electrostatics.kernels import pair_interaction, radial_kernel
from muse_lr.electrostatics.pair_sums import sum_over_pairs
from muse_lr.math.multipoles import order_of, to_cartesian
from muse_lr.structures.geometry import Geometry
from muse_lr.structures.graph import sum_nodes
from muse_lr.units import COULOMB_CONSTANT


def open_energy(density: ChargeDensity, geometry: Geometry) -> Tensor:
    """E = k sum_{i<j} L_i L_j erf(r_ij / sqrt(2 (s_i^2 + s_j^2))) / r_ij in each open graph.

    L are the multipole operators of :func:`~muse_lr.electrostatics.kernels.pair_interaction`. The
    memory is that of :func:`~muse_lr.electrostatics.pair_sums.sum_over_pairs`.

    Returns
    -------
    Tensor
        (n_graphs,) energies in eV, float64; 0 for graphs that are not open.
    """
    graphs = geometry.open_graphs
    if not bool(graphs.any()):
        return geometry.positions.new_zeros(geometry.num_graphs)

    def energy(
        first: Tensor, second: Tensor, positions: Tensor, moments: Tensor, width: Tensor
    ) -> Tensor:
        site = (moments, width)
        pair = _interaction(site, site, positions, first, second)
        return sum_nodes(pair, geometry.graph_index[first], geometry.num_graphs)

    tensors = geometry.positions, density.moments, density.width
    return COULOMB_CONSTANT * sum_over_pairs(energy, geometry.nodes_per_graph, graphs, tensors)


def open_fields(source: ChargeDensity, geometry: Geometry, l_max: int, width: Tensor) -> Tensor:
    """Potentials of a density at its atoms in open graphs and their derivatives.

    Parameters
    ----------
    source : ChargeDensity
    geometry : Geometry
    l_max : int
        Highest order of the derivatives.
    width : Tensor
        (n_atoms,) Gaussian standard deviation of the probe, A.

    Returns
    -------
    Tensor
        (n_atoms, (l_max + 1)^2) derivatives of the interaction by the moments of a probe at the
        atoms, eV/(e A^l). The potential of an atom at its own position is excluded. 0 in graphs
        that are not open.
    """

    def fields(
        first: Tensor, second: Tensor, positions: Tensor, moments: Tensor, *widths: Tensor
    ) -> Tensor:
        again = torch.is_grad_enabled()
        with torch.enable_grad():
            unit = moments.new_zeros((len(moments), (l_max + 1) ** 2)).requires_grad_(True)
            probe, site = (unit, widths[0]), (moments, widths[1])
            pair = _interaction(probe, site, positions, first, second)
            pair = pair + _interaction(probe, site, positions, second, first)
            energy = COULOMB_CONSTANT * pair.sum()
            # The energy is linear in the probe, so that the probe can be zero.
            (found,) = torch.autograd.grad(energy, unit, create_graph=again)
        return found

    tensors = geometry.positions, source.moments, width, source.width
    return sum_over_pairs(fields, geometry.nodes_per_graph, geometry.open_graphs, tensors)


def _interaction(
    probe: tuple[Tensor, ...],
    source: tuple[Tensor, ...],
    positions: Tensor,
    first: Tensor,
    second: Tensor,
) -> Tensor:
    """(p,) interactions of the probe at the first atoms with the source at the second atoms.

    ``probe`` and ``source`` are moments and widths.
    """
    moments, width = probe
    others, other_width = source
    # Differences are computed in the precision of the geometry to avoid cancellation.
    vector = positions[first] - positions[second]
    vector = vector.to(others.dtype)
    variance = width[first] ** 2 + other_width[second] ** 2
    highest = order_of(moments) + order_of(others)
    kernel = radial_kernel(vector.square().sum(1), variance, highest)
    return pair_interaction(
        to_cartesian(moments)[first], to_cartesian(others)[second], vector, kernel
    )
