"""The Coulomb energy of the charge density."""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor

from muse_lr.density import ChargeDensity
from muse_lr.errors import InputError
from muse_lr.geometry import Geometry
from muse_lr.heads.base import Head, HeadConfig, HeadContext, HeadInputs
from muse_lr.multipoles import MAX_MULTIPOLE
from muse_lr.multiscale.assignment import Assignment, CoarseNodes
from muse_lr.multiscale.edges import coarse_geometry
from muse_lr.solvers.dispatch import Electrostatics
from muse_lr.solvers.kernels import self_energy

#: Real-space cutoff where no backbone sets one, A.
DEFAULT_CUTOFF = 6.0


class CoulombConfig(HeadConfig):
    """Keys of the Coulomb head."""

    kind: Literal["coulomb"] = "coulomb"
    accuracy: float = Field(
        1e-6,
        ge=1e-12,
        le=1e-2,
        description="RMS force error over k q_rms^2 (N/V)^(2/3) in periodic structures.",
    )
    solver: str = Field("auto", description="Who sums; auto takes the fastest one that is right.")
    cutoff: float | None = Field(
        None,
        gt=0,
        le=30,
        description="Real-space cutoff of periodic sums, A; default the backbone's, or 6.",
    )
    self_interaction: bool = Field(
        False, description="Whether the energy of each Gaussian with itself is added."
    )
    level: int = Field(
        0,
        ge=0,
        le=3,
        description="Level of the hierarchy whose nodes carry the charges, pooled with dipoles and "
        "quadrupoles; 0: the atoms.",
    )
    coarse_width: float = Field(
        2.0, gt=0, le=10, description="Gaussian standard deviation of the coarse sites, A."
    )


class CoulombHead(Head):
    """E = 1/2 iint rho(r) rho(r') k / |r - r'|, by default without each site's own energy.

    The exact sum over all pairs in open systems, lattice sums in slabs and crystals; the
    conventions are those of :mod:`muse_lr.solvers.reference`. On a coarse level the moments of the
    atoms are moved onto the nodes by their shares, which keeps charge and dipole; what is within
    one node does not interact.
    """

    Config: ClassVar[type[HeadConfig]] = CoulombConfig
    needs_density: ClassVar[bool] = True
    long_range: ClassVar[bool] = True

    def __init__(self, config: CoulombConfig, context: HeadContext) -> None:
        super().__init__()
        self.self_interaction = config.self_interaction
        self.level, self.coarse_width = config.level, config.coarse_width
        if config.level > context.levels:
            raise InputError(
                f"the coulomb head acts on level {config.level}, but the model has "
                f"{context.levels} levels of coarse nodes: set model.multiscale.levels"
            )
        widths, l_max = context.widths, context.l_max
        if config.level > 0:
            widths, l_max = (config.coarse_width,), MAX_MULTIPOLE
        if config.self_interaction and min(widths) == 0:
            raise InputError(
                "self_interaction of the coulomb head: the energy of a point charge with itself is "
                "infinite; give model.charges.width a positive value"
            )
        self.electrostatics = Electrostatics(
            widths,
            l_max,
            config.accuracy,
            config.cutoff or context.cutoff or DEFAULT_CUTOFF,
            config.solver,
        )
        self.cutoff = self.electrostatics.cutoff

    def forward(self, inputs: HeadInputs) -> Tensor:
        """See :meth:`Head.forward`."""
        assert inputs.density is not None  # guaranteed by needs_density when the model is built
        density, geometry = inputs.density, inputs.geometry
        if self.level > 0:
            density, geometry = self._coarse(density, geometry, *inputs.levels[self.level - 1])
        energy = self.electrostatics.energy(density, geometry, inputs.derivatives)
        if self.self_interaction:
            energy = energy + self_energy(density)
        return energy

    def _coarse(
        self,
        density: ChargeDensity,
        geometry: Geometry,
        nodes: CoarseNodes,
        assignment: Assignment,
    ) -> tuple[ChargeDensity, Geometry]:
        """The density on the nodes, and the nodes as sites."""
        count = len(nodes.atoms)
        sites = ChargeDensity(
            moments=density.moments.new_zeros((count, (MAX_MULTIPOLE + 1) ** 2)),
            width=density.width.new_full((count,), self.coarse_width),
            graph_index=nodes.graph_index,
            num_graphs=geometry.num_graphs,
        )
        pairs = torch.stack([assignment.atom, assignment.node])
        pooled = density.pool(pairs, assignment.share, assignment.vectors, sites)
        return pooled, coarse_geometry(nodes, geometry, self.cutoff)
