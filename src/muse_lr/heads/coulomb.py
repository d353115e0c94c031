"""The Coulomb energy of the charge density."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field
from torch import Tensor

from muse_lr.errors import InputError
from muse_lr.heads.base import Boundary, Head, HeadConfig, HeadContext, HeadInputs
from muse_lr.registry import lookup

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


class CoulombHead(Head):
    """E = 1/2 iint rho(r) rho(r') k / |r - r'| without the self-energy of each charge.

    The exact sum over all pairs in open systems, an Ewald sum with a neutralising background in
    periodic ones; the conventions are those of :mod:`muse_lr.solvers.reference`.
    """

    Config: ClassVar[type[HeadConfig]] = CoulombConfig
    needs_density: ClassVar[bool] = True
    boundaries: ClassVar[frozenset[Boundary]] = frozenset({"FFF", "TTT"})
    long_range: ClassVar[bool] = True

    def __init__(self, config: CoulombConfig, context: HeadContext) -> None:
        super().__init__()
        assert context.width is not None  # guaranteed by needs_density when the model is built
        cutoff = config.cutoff or context.cutoff or DEFAULT_CUTOFF
        # The plain-torch solver is the only one that batches and is right to any order.
        kind = "reference" if config.solver == "auto" else config.solver
        self.solver = lookup("solver", kind)(context.width, config.accuracy, cutoff)
        self.cutoff = self.solver.ewald.cutoff

    def forward(self, inputs: HeadInputs) -> Tensor:
        """See :meth:`Head.forward`."""
        if inputs.density is None:
            raise InputError("the coulomb head needs charges: set model.charges")
        return self.solver.energy(inputs.density, inputs.geometry)
