"""Multipoles that are induced by their own field: a few steps, or self-consistent."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import replace
from typing import ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from muse_lr.batch import AtomsBatch
from muse_lr.charges.base import ChargesConfig, ChargesContext
from muse_lr.charges.constraint import spin_totals
from muse_lr.charges.fixed_point import Iteration, fixed_point
from muse_lr.charges.learned import LearnedCharges, initial_charges, scalar_readout
from muse_lr.charges.polarisation import (
    PolarisationMap,
    Response,
    by_component,
    largest_susceptibilities,
)
from muse_lr.density import ChargeDensity
from muse_lr.errors import InputError
from muse_lr.geometry import Geometry
from muse_lr.graph import NodeFeatures
from muse_lr.solvers.fields import refuse_periodic_field, uniform_field
from muse_lr.solvers.reference import ReferenceSolver

#: Share of the largest stable susceptibility that can be learned.
STABLE_SHARE = 0.8
#: Logits at which the susceptibilities of charges, dipoles and quadrupoles start. With widths of
#: 1 A and less than 0.1 atoms/A^3 the dipoles' response starts at 0.2 of what would be a metal's;
#: that of charges grows with the size of a structure and starts smaller.
START = (-6.0, -4.0, -4.0)


class PolarisableConfig(ChargesConfig):
    """Keys that both models of induction share."""

    accuracy: float = Field(
        1e-6,
        ge=1e-12,
        le=1e-2,
        description="Of the periodic sums that make the field, as in the coulomb head; give both "
        "the same.",
    )
    charge_response: bool = Field(
        True,
        description="Whether charges respond to the potential too. Without, only dipoles and "
        "quadrupoles do (l_max 1 or 2), and the response to a uniform field is defined in "
        "crystals.",
    )
    spin: bool = Field(
        False,
        description="Whether up and down spins have densities of their own, whose totals are fixed "
        "by the total charge and the spin of the structure.",
    )


class PolarisableCharges(LearnedCharges):
    r"""Multipoles read from features, changed by the field of all multipoles and an external one.

    The map is that of :mod:`muse_lr.charges.polarisation`; multipoles at rest, susceptibilities of
    each order and, in the charges' softness, the Fukui function are read from features. The
    susceptibilities are at most 0.8 of those at which a Gaussian would sustain its own multipole,
    so that the response of any structure is stable, whatever was learned, and start so small that
    the map is a contraction.

    The work of polarisation is an energy that the model adds, ``charges`` among the named
    energies. The Fukui step couples all atoms of a structure, so that the model is not
    size-consistent. Solutions are in float64, whatever the precision of the model.

    Raises
    ------
    InputError
        If a width is 0, nothing responds, or the backbone has no features of an order that l_max
        asks for.
    """

    exact_total_charge: ClassVar[bool] = True
    size_consistent = False
    reads_field: ClassVar[bool] = True

    def __init__(self, config: PolarisableConfig, context: ChargesContext) -> None:
        channels = 2 if config.spin else 1
        super().__init__(config, context, channels)
        if min(self.widths) == 0:
            raise InputError(
                f"charges kind {config.kind!r} needs Gaussians: give model.charges.width a "
                "positive value"
            )
        if not config.charge_response and config.l_max == 0:
            raise InputError(
                "model.charges.charge_response is false and l_max 0: nothing responds to the "
                "field; set l_max to 1 or 2, or use kind fukui"
            )
        assert context.cutoff is not None  # there is a backbone, whose features are read
        self.readout = scalar_readout(context.features.scalars, channels)
        self.offsets = initial_charges(context.elements, channels)
        orders = config.l_max + 1
        self.response = scalar_readout(context.features.scalars, orders * channels)
        start = torch.tensor(START[:orders], dtype=torch.get_default_dtype())
        start = start.repeat_interleave(channels).expand(len(context.elements), -1)
        self.response_offsets = nn.Parameter(start.clone())
        self.charge_response = config.charge_response
        self.periodic_response = not config.charge_response
        self.solver = ReferenceSolver(self.widths, config.accuracy, context.cutoff)
        self.cutoff = self.solver.ewald.cutoff

    def check(self, batch: AtomsBatch) -> None:
        """Refuse fields along periodic directions, where they would move charges without end."""
        if self.charge_response:
            refuse_periodic_field(batch)

    def susceptibilities(self, features: NodeFeatures, composition: Tensor) -> Tensor:
        """(n_atoms, l_max + 1, channels) in e^2 A^(2l) / eV, float64."""
        logits = self.response(features.scalars) + composition @ self.response_offsets
        share = STABLE_SHARE / self.channels * torch.sigmoid(logits.double())
        width = self.atom_widths(composition.double())
        largest = largest_susceptibilities(width, self.l_max)
        return share.unflatten(1, (self.l_max + 1, self.channels)) * largest[:, :, None]

    def multipoles_at_rest(self, features: NodeFeatures, composition: Tensor) -> Tensor:
        """(n_atoms, (l_max + 1)^2, channels) in e A^l, float64, their totals free."""
        charges = self.readout(features.scalars) + composition @ self.offsets
        blocks = [charges[:, None, :]]  # (N, 2l + 1, C) each
        for order, linear in enumerate(self.multipoles, start=1):
            blocks.append(linear(features.tensors[order]))
        return torch.cat(blocks, dim=1).double()

    def forward(
        self,
        features: NodeFeatures | None,
        composition: Tensor,
        geometry: Geometry,
        batch: AtomsBatch,
    ) -> ChargeDensity:
        """See :meth:`ChargeModel.forward`."""
        assert features is not None  # guaranteed by needs_features when the model is built
        width = self.atom_widths(composition.double())
        reference = self.multipoles_at_rest(features, composition)
        totals = spin_totals(batch) if self.channels == 2 else batch.total_charge[:, None]
        density = ChargeDensity(reference.sum(2), width, geometry.graph_index, geometry.num_graphs)
        external = uniform_field(density, geometry, self.l_max).moments
        response = Response(reference, self.susceptibilities(features, composition), external)
        polarise = PolarisationMap(geometry, width, self.solver, totals, self.charge_response)
        moments = self.polarised(polarise, response, geometry)
        dtype = composition.dtype
        spin = moments[:, :, 0] - moments[:, :, 1] if self.channels == 2 else None
        return replace(
            density,
            moments=moments.sum(2).to(dtype),
            width=width.to(dtype),
            spin_moments=None if spin is None else spin.to(dtype),
            energy=polarise.work(response, moments),
        )

    @abstractmethod
    def polarised(
        self, polarise: PolarisationMap, response: Response, geometry: Geometry
    ) -> Tensor:
        """(n_atoms, (l_max + 1)^2, channels) multipoles in their own field."""


class InducedConfig(PolarisableConfig):
    """Keys of the multipoles induced in a few steps."""

    kind: Literal["induced"] = "induced"
    steps: int = Field(
        2, ge=1, le=10, description="How often the multipoles answer to their field."
    )


class InducedCharges(PolarisableCharges):
    r"""Multipoles after a fixed number of answers to their own field.

    .. math:: M^{(0)} = M_\mathrm{rest}, \qquad M^{(n + 1)} = F(M^{(n)}), \qquad M = M^{(N)}:

    the series of mutual induction, cut after N terms. Cost and derivatives are those of N sums of
    fields. The route, with the Fukui step after each field, is that of MACE-POLAR-1
    (arXiv:2602.19411), here with a response that is linear in the field.
    """

    Config: ClassVar[type[ChargesConfig]] = InducedConfig

    def __init__(self, config: InducedConfig, context: ChargesContext) -> None:
        super().__init__(config, context)
        self.steps = config.steps

    def polarised(
        self, polarise: PolarisationMap, response: Response, geometry: Geometry
    ) -> Tensor:
        """See :meth:`PolarisableCharges.polarised`."""
        tensors = tensors_of(response, geometry)
        moments = polarise.at_rest(response)
        for _ in range(self.steps):
            moments = polarise(moments, *tensors)
        return moments


class SelfConsistentConfig(PolarisableConfig):
    """Keys of the self-consistent multipoles."""

    kind: Literal["scf"] = "scf"
    mixing: float = Field(0.3, gt=0, le=1, description="Share of the residual in a step.")
    tolerance: float = Field(
        1e-10, ge=1e-13, le=1e-4, description="Largest residual, relative to the largest moment."
    )
    iterations: int = Field(100, ge=1, description="Steps after which it is an error.")


class SelfConsistentCharges(PolarisableCharges):
    r"""Multipoles that are what their own field makes of them, :math:`M = F(M)`.

    Solved by mixing with Anderson's acceleration. The derivatives of the solution, of any order,
    are solutions of the linearised equations: exact to the tolerance, and independent of how the
    iteration went (Baldwin et al., arXiv:2603.14700, for the idea of an atom-centred density as
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

    def polarised(
        self, polarise: PolarisationMap, response: Response, geometry: Geometry
    ) -> Tensor:
        """See :meth:`PolarisableCharges.polarised`."""
        options = Iteration(
            geometry.graph_index,
            geometry.num_graphs,
            self.mixing,
            self.tolerance,
            self.iterations,
        )
        return self_consistent(polarise, response, geometry, options)


def self_consistent(
    polarise: PolarisationMap, response: Response, geometry: Geometry, options: Iteration
) -> Tensor:
    """(n_atoms, (l_max + 1)^2, channels) multipoles in the field that they make.

    Raises
    ------
    InputError
        If there are none that are stable: beyond the polarisation catastrophe.
    """
    metric = 1 / by_component(response.susceptibility.detach())
    start = polarise.at_rest(response)
    return fixed_point(polarise, start, tensors_of(response, geometry), options, metric)


def tensors_of(response: Response, geometry: Geometry) -> tuple[Tensor, ...]:
    """What a :class:`PolarisationMap` depends on, in its order."""
    return (
        response.reference,
        response.susceptibility,
        response.external,
        geometry.positions,
        geometry.cell,
    )
