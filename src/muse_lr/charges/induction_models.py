"""Multipoles induced by their own field, in a few steps or self-consistently."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field
from torch import Tensor

from muse_lr.charges.base import ChargesConfig, ChargesContext
from muse_lr.charges.induction import PolarizableCharges, PolarizableConfig
from muse_lr.charges.polarization import PolarizationMap, Response, by_component, tensors_of
from muse_lr.charges.solve.anderson import Iteration
from muse_lr.charges.solve.fixed_point import fixed_point
from muse_lr.structures.geometry import Geometry


class InducedConfig(PolarizableConfig):
    """Configuration of the multipoles induced in a fixed number of steps."""

    kind: Literal["induced"] = "induced"
    steps: int = Field(
        2,
        ge=1,
        le=10,
        description="Number of times that the multipoles are updated by their field.",
    )


class InducedCharges(PolarizableCharges):
    r"""Multipoles after a fixed number of updates by their own field.

    .. math:: M^{(0)} = M_\mathrm{rest}, \qquad M^{(n + 1)} = F(M^{(n)}), \qquad M = M^{(N)}.

    This is the series of mutual induction, truncated after N terms. The cost is that of N field
    evaluations and their derivatives. The scheme, with a Fukui step after each field, is that of
    MACE-POLAR-1 (arXiv:2602.19411), here with a response that is linear in the field.
    """

    Config: ClassVar[type[ChargesConfig]] = InducedConfig
    converged_response: ClassVar[bool] = False

    def __init__(self, config: InducedConfig, context: ChargesContext) -> None:
        super().__init__(config, context)
        self.steps = config.steps

    def polarized(
        self, polarize: PolarizationMap, response: Response, geometry: Geometry
    ) -> tuple[Tensor, Tensor]:
        """See :meth:`PolarizableCharges.polarized`."""
        tensors = tensors_of(response, geometry)
        moments = sources = polarize.at_rest(response)
        for _ in range(self.steps):
            sources = moments
            moments = polarize(sources, *tensors)
        return moments, sources


class SelfConsistentConfig(PolarizableConfig):
    """Configuration of the self-consistent multipoles."""

    kind: Literal["scf"] = "scf"
    mixing: float = Field(
        0.3, gt=0, le=1, description="Fraction of the residual that is added in a step."
    )
    tolerance: float = Field(
        1e-10,
        ge=1e-13,
        le=1e-4,
        description="Largest residual at convergence, relative to the largest moment.",
    )
    iterations: int = Field(
        100, ge=1, description="Maximum number of iterations; an error is raised beyond it."
    )


class SelfConsistentCharges(PolarizableCharges):
    r"""Multipoles that are self-consistent with their own field, :math:`M = F(M)`.

    The equation is solved by mixing with Anderson acceleration. Derivatives of the solution, of any
    order, are solutions of the linearized equations. They are exact to the tolerance and do not
    depend on the path of the iteration. The atom-centered density as a fixed point follows Baldwin
    et al., arXiv:2603.14700.

    Raises
    ------
    InputError
        In the forward pass, if the iteration does not converge.
    """

    Config: ClassVar[type[ChargesConfig]] = SelfConsistentConfig

    def __init__(self, config: SelfConsistentConfig, context: ChargesContext) -> None:
        super().__init__(config, context)
        self.mixing, self.tolerance = config.mixing, config.tolerance
        self.iterations = config.iterations

    def polarized(
        self, polarize: PolarizationMap, response: Response, geometry: Geometry
    ) -> tuple[Tensor, Tensor]:
        """See :meth:`PolarizableCharges.polarized`."""
        options = Iteration(
            geometry.graph_index,
            geometry.num_graphs,
            self.mixing,
            self.tolerance,
            self.iterations,
        )
        moments = self_consistent(polarize, response, geometry, options)
        return moments, moments


def self_consistent(
    polarize: PolarizationMap, response: Response, geometry: Geometry, options: Iteration
) -> Tensor:
    """(n_atoms, (l_max + 1)^2, channels) multipoles in the field that they create.

    Raises
    ------
    InputError
        If there is no stable solution (polarization catastrophe).
    """
    metric = None
    if response.nonlinearity is None:  # a nonlinear response is not symmetric in these weights
        metric = 1 / by_component(response.susceptibility.detach())
    start = polarize.at_rest(response)
    return fixed_point(polarize, start, tensors_of(response, geometry), options, metric)
