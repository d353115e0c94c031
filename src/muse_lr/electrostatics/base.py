"""What a solver of electrostatics promises; its parameters follow from the accuracy."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

from torch import Tensor

from muse_lr.density import ChargeDensity
from muse_lr.structures.geometry import Geometry, PeriodicBoundary

#: The real-space sum is switched off between this share of its cutoff and the cutoff.
REAL_TAPER = 0.95
#: The reciprocal sum is switched off between its cutoff and this multiple of it.
RECIPROCAL_TAPER = 1.05


#: Questions that a solver can be asked; moments depend on positions and strain in all of them.
#: ``forces`` and ``stress``: first derivatives. ``force_loss`` and ``stress_loss``: the gradient of
#: a function of them by the parameters of the model. ``hessian``: anything else, to any order.
Derivative = Literal["forces", "stress", "force_loss", "stress_loss", "hessian"]
EVERY_DERIVATIVE: frozenset[Derivative] = frozenset(
    {"forces", "stress", "force_loss", "stress_loss", "hessian"}
)


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
        Cutoff of the real-space sum, A; 0 when all charges are as wide as the splitting and
        nothing remains to be summed there.
    reciprocal_cutoff : float
        |k| up to which the reciprocal sum is complete, 1/A.
    """

    splitting: float
    cutoff: float
    reciprocal_cutoff: float


def ewald_parameters(widths: Sequence[float], accuracy: float, cutoff: float) -> EwaldParameters:
    """Splitting and cutoffs that deliver ``accuracy``.

    Both sums are cut where their Gaussian factor is below eps = accuracy / 10:
    exp(-r^2 / 4 eta^2) = eps at the inner edge of the real-space taper, exp(-eta^2 k^2) = eps at
    the reciprocal cutoff. The splitting is at least the widest charge; where narrower ones are
    mixed with it, the real-space cutoff grows with it.

    Parameters
    ----------
    widths : sequence of float
        Gaussian standard deviations that occur, A.
    accuracy : float
        RMS force error over k q_rms^2 (N/V)^(2/3).
    cutoff : float
        Real-space cutoff that the neighbor list can serve, A.
    """
    decay = math.sqrt(math.log(10 / accuracy))
    splitting = max(REAL_TAPER * cutoff / (2 * decay), *widths)
    reciprocal_cutoff = decay / splitting
    if min(widths) >= splitting:
        return EwaldParameters(splitting, 0.0, reciprocal_cutoff)
    reach = cutoff if splitting > max(widths) else 2 * decay * splitting / REAL_TAPER
    return EwaldParameters(splitting, reach, reciprocal_cutoff)


class Solver(ABC):
    """Electrostatic energy of the periodic graphs of a batch; molecules never come here.

    Attributes
    ----------
    boundaries : frozenset of str
        Lattices that it sums.
    l_max : int
        Highest order of the multipoles that it knows.
    supported_derivatives : frozenset of str
        Derivatives that were checked against finite differences and the reference solver; it is
        never used for others.
    best_accuracy : float
        The finest accuracy that it delivers.
    mesh : bool
        Whether it sums on a mesh, at a cost of N log N.

    Parameters
    ----------
    widths : sequence of float
        Gaussian standard deviations that occur, A; 0 for points.
    accuracy : float
        RMS force error over k q_rms^2 (N/V)^(2/3).
    cutoff : float
        Cutoff that the neighbor list serves anyway, A; what the solver needs is
        ``ewald.cutoff``.
    """

    boundaries: ClassVar[frozenset[PeriodicBoundary]]
    l_max: ClassVar[int]
    supported_derivatives: ClassVar[frozenset[Derivative]]
    best_accuracy: ClassVar[float] = 0.0
    mesh: ClassVar[bool] = False

    def __init__(self, widths: Sequence[float], accuracy: float, cutoff: float) -> None:
        self.widths = tuple(widths)
        self.accuracy = accuracy
        self.ewald = ewald_parameters(widths, accuracy, cutoff)

    @abstractmethod
    def energy(self, density: ChargeDensity, geometry: Geometry, chosen: Tensor) -> Tensor:
        """(n_graphs,) energies in eV, float64, without the self-energy of each charge.

        Parameters
        ----------
        density : ChargeDensity
        geometry : Geometry
            Its edges reach at least ``ewald.cutoff``.
        chosen : Tensor
            (n_graphs,) of bool, periodic graphs; the energy of the others is 0.
        """
