"""The Coulomb energy of the charge density."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field
from torch import Tensor

from muse_lr.errors import InputError
from muse_lr.heads.base import Head, HeadConfig, HeadContext, HeadInputs
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


class CoulombHead(Head):
    """E = 1/2 iint rho(r) rho(r') k / |r - r'|, by default without each site's own energy.

    The exact sum over all pairs in open systems, lattice sums in slabs and crystals; the
    conventions are those of :mod:`muse_lr.solvers.reference`.
    """

    Config: ClassVar[type[HeadConfig]] = CoulombConfig
    needs_density: ClassVar[bool] = True
    long_range: ClassVar[bool] = True

    def __init__(self, config: CoulombConfig, context: HeadContext) -> None:
        super().__init__()
        self.self_interaction = config.self_interaction
        if config.self_interaction and min(context.widths) == 0:
            raise InputError(
                "self_interaction of the coulomb head: the energy of a point charge with itself is "
                "infinite; give model.charges.width a positive value"
            )
        self.electrostatics = Electrostatics(
            context.widths,
            context.l_max,
            config.accuracy,
            config.cutoff or context.cutoff or DEFAULT_CUTOFF,
            config.solver,
        )
        self.cutoff = self.electrostatics.cutoff

    def forward(self, inputs: HeadInputs) -> Tensor:
        """See :meth:`Head.forward`."""
        assert inputs.density is not None  # guaranteed by needs_density when the model is built
        energy = self.electrostatics.energy(inputs.density, inputs.geometry, inputs.derivatives)
        if self.self_interaction:
            energy = energy + self_energy(inputs.density)
        return energy
