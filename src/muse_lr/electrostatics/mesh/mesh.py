"""Mesh spacing of particle-mesh Ewald for a given accuracy."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from scipy.fft import next_fast_len
from torch import Tensor

#: Fraction of the error budget for the mesh. The rest is for the cutoffs of both sums.
MESH_SHARE = 0.5
#: Largest spacing in units of the splitting. Beyond it the error grows faster than a power law.
COARSEST = 1.1


@dataclass(frozen=True)
class MeshError:
    r"""RMS force error of a mesh, relative to k q_rms^2 (N/V)^(2/3).

    .. math:: \epsilon = c \, (d / \eta)^2 (h / \eta)^p, \qquad d = (V / N)^{1/3}

    with the mesh spacing h along a cell vector, the splitting eta and the distance d between
    charges. The factor with d is needed because the error is dominated by the interaction of a
    charge with its own image on the mesh, while the scale is the force between neighbors. The
    model is accurate to a factor of two for random charges with densities of 0.0025 to
    0.1 atoms/A^3 and for h / eta from 0.3 to 1.4. The prefactor c is an upper bound of measured
    errors (tests/electrostatics/test_engines.py repeats the measurement).

    Attributes
    ----------
    prefactor : float
        Prefactor c.
    power : int
        Power p.
    """

    prefactor: float
    power: int

    def spacing(self, accuracy: float, splitting: float, density: float) -> float:
        """Mesh spacing h in A for an accuracy; ``density`` is N/V in 1/A^3."""
        distance = max(1.0, density ** (-1 / 3) / splitting)
        error = MESH_SHARE * accuracy / (self.prefactor * distance**2)
        return splitting * min(COARSEST, error ** (1 / self.power))


@torch.no_grad()
def mesh_spacings(
    error: MeshError, accuracy: float, splitting: float, volume: Tensor, counts: Tensor
) -> list[float]:
    """Mesh spacing h in A of each graph.

    ``volume`` has the shape (G,) in A^3, and ``counts`` (G,) is the number of charges.
    """
    densities = counts.clamp(min=1) / volume
    return [error.spacing(accuracy, splitting, density) for density in densities.tolist()]


@torch.no_grad()
def mesh_sizes(cell: Tensor, spacings: list[float], smallest: int) -> list[tuple[int, int, int]]:
    """Number of mesh points along the vectors of each cell, as products of 2, 3 and 5.

    Parameters
    ----------
    cell : Tensor
        (G, 3, 3) in A.
    spacings : list of float
        Largest mesh spacing of each graph, A.
    smallest : int
        Smallest number of points, given by the width of the assignment function.
    """
    sizes = []
    lengths = torch.linalg.vector_norm(cell, dim=2).tolist()
    for (a, b, c), spacing in zip(lengths, spacings, strict=True):
        n = [next_fast_len(max(smallest, math.ceil(x / spacing)), True) for x in (a, b, c)]
        sizes.append((n[0], n[1], n[2]))
    return sizes
