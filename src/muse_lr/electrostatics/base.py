"""Base class of electrostatics solvers, and Ewald parameters from the accuracy."""

from __future__ import annotations

import copy
import math
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal, Self

from torch import Tensor

from muse_lr.density import ChargeDensity
from muse_lr.structures.geometry import Geometry, PeriodicBoundary
from muse_lr.structures.sparse import rungs_of, with_pairs

#: The real-space sum is switched off between this fraction of its cutoff and the cutoff.
REAL_TAPER = 0.95
#: The reciprocal sum is switched off between its cutoff and this multiple of it.
RECIPROCAL_TAPER = 1.05

#: Kinds of derivatives of the energy, where the moments depend on positions and strain.
#: ``forces`` and ``stress``: first derivatives. ``force_loss`` and ``stress_loss``: gradients of a
#: function of forces or stress with respect to model parameters. ``hessian``: all others.
Derivative = Literal["forces", "stress", "force_loss", "stress_loss", "hessian"]
EVERY_DERIVATIVE: frozenset[Derivative] = frozenset(
    {"forces", "stress", "force_loss", "stress_loss", "hessian"}
)


@dataclass(frozen=True)
class EwaldParameters:
    """Constant parameters of an Ewald sum, which do not depend on the structure.

    The parameters are constant so that the energy is continuous under strain and the same for
    equivalent cells and supercells. Structures of low density use those of a higher rung
    (:mod:`muse_lr.structures.sparse`).

    Attributes
    ----------
    splitting : float
        Gaussian standard deviation eta of the smooth part erf(r / 2 eta) / r, A.
    cutoff : float
        Cutoff of the real-space sum, A; 0 if all charges are as wide as the splitting, so that no
        real-space sum is needed.
    reciprocal_cutoff : float
        |k| up to which the reciprocal sum is complete, 1/A.
    """

    splitting: float
    cutoff: float
    reciprocal_cutoff: float

    def on_rung(self, rung: int) -> EwaldParameters:
        """Parameters with the same errors for a splitting that is larger by 2^rung."""
        if rung == 0:
            return self
        splitting = 2**rung * self.splitting
        decay = self.splitting * self.reciprocal_cutoff
        reach = 2 * decay * splitting / REAL_TAPER
        return EwaldParameters(splitting, reach, self.reciprocal_cutoff / 2**rung)


def ewald_parameters(widths: Sequence[float], accuracy: float, cutoff: float) -> EwaldParameters:
    """Splitting and cutoffs for an accuracy.

    Both sums are truncated where their Gaussian factor is below eps = accuracy / 10:
    exp(-r^2 / 4 eta^2) = eps at the inner edge of the real-space taper, exp(-eta^2 k^2) = eps at
    the reciprocal cutoff. The splitting is at least the width of the widest charge. If this
    increases the splitting and there are narrower charges, the real-space cutoff increases, too.

    Parameters
    ----------
    widths : sequence of float
        Gaussian standard deviations of the charges, A.
    accuracy : float
        RMS force error relative to k q_rms^2 (N/V)^(2/3).
    cutoff : float
        Cutoff of the neighbor list that the model needs in any case, A.
    """
    decay = math.sqrt(math.log(10 / accuracy))
    splitting = max(REAL_TAPER * cutoff / (2 * decay), *widths)
    reciprocal_cutoff = decay / splitting
    if min(widths) >= splitting:
        return EwaldParameters(splitting, 0.0, reciprocal_cutoff)
    reach = cutoff if splitting > max(widths) else 2 * decay * splitting / REAL_TAPER
    return EwaldParameters(splitting, reach, reciprocal_cutoff)


class Solver(ABC):
    """Electrostatic energy of the periodic graphs of a batch.

    Open systems do not use a solver but the exact sum over all pairs.

    Attributes
    ----------
    boundaries : frozenset of str
        Supported boundary conditions.
    l_max : int
        Highest supported order of the multipoles.
    supported_derivatives : frozenset of str
        Derivatives that are verified against finite differences and the reference solver. The
        solver is not used for others.
    best_accuracy : float
        Smallest supported value of the accuracy.
    mesh : bool
        Whether the solver uses a mesh, at a cost of O(N log N).
    rung : int
        Rung of the density of the graphs that the solver is for.

    Parameters
    ----------
    widths : sequence of float
        Gaussian standard deviations of the charges, A; 0 for point multipoles.
    accuracy : float
        RMS force error relative to k q_rms^2 (N/V)^(2/3).
    cutoff : float
        Cutoff of the neighbor list that the model needs in any case, A. The solver requires
        ``ewald.cutoff``.
    """

    boundaries: ClassVar[frozenset[PeriodicBoundary]]
    l_max: ClassVar[int]
    supported_derivatives: ClassVar[frozenset[Derivative]]
    best_accuracy: ClassVar[float] = 0.0
    mesh: ClassVar[bool] = False
    rung: int = 0

    def __init__(self, widths: Sequence[float], accuracy: float, cutoff: float) -> None:
        self.widths = tuple(widths)
        self.accuracy = accuracy
        self.ewald = ewald_parameters(widths, accuracy, cutoff)
        self._on_rungs: dict[int, Self] = {}

    @abstractmethod
    def energy(self, density: ChargeDensity, geometry: Geometry, chosen: Tensor) -> Tensor:
        """(n_graphs,) energies in eV, float64, without the self-energies of the charges.

        Parameters
        ----------
        density : ChargeDensity
        geometry : Geometry
            The cutoff of its edges is at least ``ewald.cutoff``.
        chosen : Tensor
            (n_graphs,) of bool: periodic graphs to sum. The energy of the others is 0.
        """

    def on_rung(self, rung: int) -> Self:
        """Solver for graphs of this rung (:mod:`muse_lr.structures.sparse`)."""
        if rung == 0:
            return self
        if rung not in self._on_rungs:
            other = copy.copy(self)
            other.ewald, other.rung = self.ewald.on_rung(rung), rung
            other.forget()
            self._on_rungs[rung] = other
        return self._on_rungs[rung]

    def by_rung(
        self, geometry: Geometry, chosen: Tensor
    ) -> Iterator[tuple[Self, Geometry, Tensor]]:
        """Solver, geometry with all pairs of its real-space sum, and mask, for each rung."""
        for rung, graphs in rungs_of(geometry, chosen):
            solver = self.on_rung(rung)
            yield solver, with_pairs(geometry, rung, solver.ewald.cutoff), graphs

    def forget(self) -> None:  # noqa: B027  (nothing to forget by default)
        """Forget what was computed for the last cells."""
