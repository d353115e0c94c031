"""Multipoles that are induced by their own field: a few steps, or self-consistent."""

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
    """Keys of the multipoles induced in a few steps."""

    kind: Literal["induced"] = "induced"
    steps: int = Field(
        2, ge=1, le=10, description="How often the multipoles answer to their field."
    )


class InducedCharges(PolarizableCharges):
    r"""Multipoles after a fixed number of answers to their own field.

    .. math:: M^{(0)} = M_\mathrm{rest}, \qquad M^{(n + 1)} = F(M^{(n)}), \qquad M = M^{(N)}:

    the series of mutual induction, cut after N terms. Cost and derivatives are those of N sums of
    fields. The route, with the Fukui step after each field, is that of MACE-POLAR-1
    (arXiv:2602.19411), here with a response that is linear in the field.
    """

    Config: ClassVar[type[ChargesConfig]] = InducedConfig
    converged_response: ClassVar[bool] = False

    def __init__(self, config: InducedConfig, context: ChargesContext) -> None:
        super().__init__(config, context)
        self.steps = config.steps

    def polarized(
        self, polarize: PolarizationMap, response: Response, geometry: Geometry
    ) -> Tensor:
        """See :meth:`PolarizableCharges.polarized`."""
        tensors = tensors_of(response, geometry)
        moments = polarize.at_rest(response)
        for _ in range(self.steps):
            moments = polarize(moments, *tensors)
        return moments


class SelfConsistentConfig(PolarizableConfig):
    """Keys of the self-consistent multipoles."""

    kind: Literal["scf"] = "scf"
    mixing: float = Field(0.3, gt=0, le=1, description="Share of the residual in a step.")
    tolerance: float = Field(
        1e-10, ge=1e-13, le=1e-4, description="Largest residual, relative to the largest moment."
    )
    iterations: int = Field(100, ge=1, description="Steps after which it is an error.")


class SelfConsistentCharges(PolarizableCharges):
    r"""Multipoles that are what their own field makes of them, :math:`M = F(M)`.

    Solved by mixing with Anderson's acceleration. The derivatives of the solution, of any order,
    are solutions of the linearized equations: exact to the tolerance, and independent of how the
    iteration went (Baldwin et al., arXiv:2603.14700, for the idea of an atom-centered density as
    its own fixed point).

    Raises
    ------
    InputError
        When evaluated, if the iteration does not converge.
    """

    Config: ClassVar[type[ChargesConfig]] = SelfConsistentConfig

    def __init__(self, config: SelfConsistentConfig, context: ChargesContext) -> None:
        super().__init__(config, context)
        self.mixing, self.tolerance = config.mixing, config.tolerance
        self.iterations = config.iterations

    def polarized(
        self, polarize: PolarizationMap, response: Response, geometry: Geometry
    ) -> Tensor:
        """See :meth:`PolarizableCharges.polarized`."""
        options = Iteration(
            geometry.graph_index,
            geometry.num_graphs,
            self.mixing,
            self.tolerance,
            self.iterations,
        )
        return self_consistent(polarize, response, geometry, options)


def self_consistent(
    polarize: PolarizationMap, response: Response, geometry: Geometry, options: Iteration
) -> Tensor:
    """(n_atoms, (l_max + 1)^2, channels) multipoles in the field that they make.

    Raises
    ------
    InputError
        If there are none that are stable: beyond the polarization catastrophe.
    """
    metric = 1 / by_component(response.susceptibility.detach())
    start = polarize.at_rest(response)
    return fixed_point(polarize, start, tensors_of(response, geometry), options, metric)
