"""Which solver sums what."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from muse_lr.density import ChargeDensity
from muse_lr.geometry import Geometry
from muse_lr.registry import lookup
from muse_lr.solvers.base import Derivative, Solver
from muse_lr.solvers.open_sum import open_energy


class Electrostatics:
    """Open graphs by the exact sum, periodic ones by the reference solver or the one named."""

    def __init__(
        self,
        widths: Sequence[float],
        l_max: int,
        accuracy: float,
        cutoff: float,
        solver: str = "auto",
    ) -> None:
        kind = "reference" if solver == "auto" else solver
        self.engine: Solver = lookup("solver", kind)(widths, accuracy, cutoff)
        self.cutoff = self.engine.ewald.cutoff

    def energy(
        self, density: ChargeDensity, geometry: Geometry, derivatives: frozenset[Derivative]
    ) -> Tensor:
        """(n_graphs,) energies in eV, float64."""
        lattice = self.engine.energy(density, geometry, ~geometry.open_graphs)
        return open_energy(density, geometry) + lattice
