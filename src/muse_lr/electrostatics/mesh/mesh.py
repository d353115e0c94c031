"""How fine the mesh of a particle-mesh sum has to be."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from scipy.fft import next_fast_len
from torch import Tensor

#: Share of the accuracy that the mesh may use; the cutoffs of both sums use the rest.
MESH_SHARE = 0.5
#: Largest spacing in splittings: beyond, the error grows faster than a power of it.
COARSEST = 1.1


@dataclass(frozen=True)
class MeshError:
    r"""RMS force error of a mesh over k q_rms^2 (N/V)^(2/3).

    .. math:: \epsilon = c \, (d / \eta)^2 (h / \eta)^p, \qquad d = (V / N)^{1/3}

    with the mesh spacing h along a cell vector and the splitting eta. The second factor is the
    distance between charges: the error is mostly that of a charge with its own image on the mesh,
    while the scale is the force between neighbors. The form holds to a factor of two for random
    charges in 0.0025 to 0.1 atoms/A^3 and h / eta from 0.3 to 1.4; c is an upper bound of what was
    measured (tests/test_engines.py measures it again).

    Attributes
    ----------
    prefactor : float
        c.
    power : int
        p.
    """

    prefactor: float
    power: int

    def spacing(self, accuracy: float, splitting: float, density: float) -> float:
        """h in A for an accuracy; ``density`` N/V in 1/A^3."""
        distance = max(1.0, density ** (-1 / 3) / splitting)
        error = MESH_SHARE * accuracy / (self.prefactor * distance**2)
        return splitting * min(COARSEST, error ** (1 / self.power))


@torch.no_grad()
def mesh_spacings(
    error: MeshError, accuracy: float, splitting: float, volume: Tensor, counts: Tensor
) -> list[float]:
    """h in A for each of G graphs; ``volume`` (G,) in A^3, ``counts`` (G,) charges."""
    densities = counts.clamp(min=1) / volume
    return [error.spacing(accuracy, splitting, density) for density in densities.tolist()]


@torch.no_grad()
def mesh_sizes(cell: Tensor, spacings: list[float], smallest: int) -> list[tuple[int, int, int]]:
    """Points along the three vectors of each cell, products of 2, 3 and 5.

    Parameters
    ----------
    cell : Tensor
        (G, 3, 3) in A.
    spacings : list of float
        Largest distance of mesh points of each graph, A.
    smallest : int
        Points that an assignment function covers.
    """
    sizes = []
    lengths = torch.linalg.vector_norm(cell, dim=2).tolist()
    for (a, b, c), spacing in zip(lengths, spacings, strict=True):
        n = [next_fast_len(max(smallest, math.ceil(x / spacing)), True) for x in (a, b, c)]
        sizes.append((n[0], n[1], n[2]))
    return sizes
