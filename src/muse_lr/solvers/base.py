"""What a solver of electrostatics promises; its parameters follow from the accuracy."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass

from torch import Tensor

from muse_lr.density import ChargeDensity
from muse_lr.geometry import Geometry

#: The real-space sum is switched off between this share of its cutoff and the cutoff.
REAL_TAPER = 0.9
#: The reciprocal sum is switched off between its cutoff and this multiple of it.
RECIPROCAL_TAPER = 1.1


@dataclass(frozen=True)
class EwaldParameters:
    """The constants of an Ewald sum: they belong to the model and never depend on a structure.

    Only constants make the energy continuous under strain and the same for equivalent cells and
    supercells.

    Attributes
    ----------
    splitting : float
        Gaussian standard deviation eta of the smooth part erf(r / 2 eta) / r, A.
    cutoff : float
        Cutoff of the real-space sum, A; 0 when the charges are as wide as the splitting and
        nothing remains to be summed there.
    reciprocal_cutoff : float
        |k| up to which the reciprocal sum is complete, 1/A.
    """

    splitting: float
    cutoff: float
    reciprocal_cutoff: float


def ewald_parameters(width: float, accuracy: float, cutoff: float) -> EwaldParameters:
    """Splitting and cutoffs that deliver ``accuracy``.

    Both sums are cut where their Gaussian factor is below eps = accuracy / 10:
    exp(-r^2 / 4 eta^2) = eps at the inner edge of the real-space taper, exp(-eta^2 k^2) = eps at
    the reciprocal cutoff.

    Parameters
    ----------
    width : float
        Gaussian standard deviation of the charges, A.
    accuracy : float
        RMS force error over k q_rms^2 (N/V)^(2/3).
    cutoff : float
        Real-space cutoff that the neighbour list can serve, A.
    """
    decay = math.sqrt(math.log(10 / accuracy))
    splitting = REAL_TAPER * cutoff / (2 * decay)
    if width >= splitting:
        return EwaldParameters(width, 0.0, decay / width)
    return EwaldParameters(splitting, cutoff, decay / splitting)


class Solver(ABC):
    """Electrostatic energy of a charge density in the boundary of each graph.

    Parameters
    ----------
    width : float
        Gaussian standard deviation of the charges, A; 0 for points.
    accuracy : float
        RMS force error over k q_rms^2 (N/V)^(2/3) of periodic graphs.
    cutoff : float
        Cutoff of the neighbour list that the solver may use, A.
    """

    def __init__(self, width: float, accuracy: float, cutoff: float) -> None:
        self.width = width
        self.accuracy = accuracy
        self.ewald = ewald_parameters(width, accuracy, cutoff)

    @abstractmethod
    def energy(self, density: ChargeDensity, geometry: Geometry) -> Tensor:
        """(n_graphs,) energies in eV, float64."""
