"""Exact Coulomb sum of open systems."""

from __future__ import annotations

from torch import Tensor

from muse_lr.density import ChargeDensity
from muse_lr.electrostatics.kernels import pair_interaction, radial_kernel
from muse_lr.math.multipoles import to_cartesian
from muse_lr.structures.geometry import Geometry
from muse_lr.structures.graph import sum_nodes
from muse_lr.structures.neighbors import all_pairs
from muse_lr.units import COULOMB_CONSTANT


def open_energy(density: ChargeDensity, geometry: Geometry) -> Tensor:
    """E = k sum_{i<j} L_i L_j erf(r_ij / sqrt(2 (s_i^2 + s_j^2))) / r_ij in each open graph.

    L are the multipole operators of :func:`~muse_lr.electrostatics.kernels.pair_interaction`.

    Returns
    -------
    Tensor
        (n_graphs,) energies in eV, float64; 0 for graphs that are not open.
    """
    if not bool(geometry.open_graphs.any()):
        return geometry.positions.new_zeros(geometry.num_graphs)
    first, second = all_pairs(geometry.nodes_per_graph, geometry.open_graphs)
    pair = _interaction(density, density, geometry, first, second)
    return COULOMB_CONSTANT * sum_nodes(pair, geometry.graph_index[first], geometry.num_graphs)


def open_interaction(probe: ChargeDensity, source: ChargeDensity, geometry: Geometry) -> Tensor:
    """Energy of one density in the potential of another on the same atoms, in eV.

    The potential of an atom at its own position is excluded. For identical densities the result is
    twice :func:`open_energy`.
    """
    first, second = all_pairs(geometry.nodes_per_graph, geometry.open_graphs)
    pair = _interaction(probe, source, geometry, first, second)
    pair = pair + _interaction(probe, source, geometry, second, first)
    return COULOMB_CONSTANT * sum_nodes(pair, geometry.graph_index[first], geometry.num_graphs)


def _interaction(
    probe: ChargeDensity, source: ChargeDensity, geometry: Geometry, first: Tensor, second: Tensor
) -> Tensor:
    """(p,) interactions of the probe at the first atoms with the source at the second atoms."""
    # Differences are computed in the precision of the geometry to avoid cancellation.
    vector = geometry.positions[first] - geometry.positions[second]
    vector = vector.to(source.moments.dtype)
    variance = probe.width[first] ** 2 + source.width[second] ** 2
    kernel = radial_kernel(vector.square().sum(1), variance, probe.l_max + source.l_max)
    return pair_interaction(
        to_cartesian(probe.moments)[first], to_cartesian(source.moments)[second], vector, kernel
    )
