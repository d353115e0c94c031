"""The exact Coulomb sum of open systems."""

from __future__ import annotations

import torch
from torch import Tensor

from muse_lr.density import ChargeDensity
from muse_lr.geometry import Geometry
from muse_lr.graph import sum_nodes
from muse_lr.neighbors import all_pairs
from muse_lr.units import COULOMB_CONSTANT


def gaussian_coulomb(distance: Tensor, width: float) -> Tensor:
    """erf(r / 2 sigma) / r, the potential energy of two unit Gaussians of width sigma; 1/r for 0.

    Parameters
    ----------
    distance : Tensor
        r in A, any shape, positive.
    width : float
        Gaussian standard deviation sigma, A.

    Returns
    -------
    Tensor
        In 1/A, of the shape of ``distance``.
    """
    if width == 0:
        return 1 / distance
    return torch.erf(distance / (2 * width)) / distance


def open_energy(density: ChargeDensity, geometry: Geometry, width: float) -> Tensor:
    """E = k sum_{i<j} q_i q_j erf(r_ij / 2 sigma) / r_ij over all pairs of each open graph.

    Returns
    -------
    Tensor
        (n_graphs,) in eV, float64; 0 for graphs that are not open.
    """
    first, second = all_pairs(geometry.nodes_per_graph, geometry.open_graphs)
    charges = density.charges
    # Differences are taken in the geometry's own precision before they are cast.
    separation = geometry.positions[first] - geometry.positions[second]
    distance = torch.linalg.vector_norm(separation, dim=1).to(charges.dtype)
    pair = charges[first] * charges[second] * gaussian_coulomb(distance, width)
    return COULOMB_CONSTANT * sum_nodes(pair, geometry.graph_index[first], geometry.num_graphs)
