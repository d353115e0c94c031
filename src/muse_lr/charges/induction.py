"""What models of induced multipoles share; see :mod:`muse_lr.charges.induction_models`."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import replace
from typing import ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from muse_lr.charges.base import ChargeInputs, ChargesConfig, ChargesContext
from muse_lr.charges.constraint import spin_totals
from muse_lr.charges.learned import LearnedCharges, initial_charges, scalar_readout
from muse_lr.charges.polarization import (
    Modulation,
    PolarizationMap,
    Response,
    largest_susceptibilities,
)
from muse_lr.density import ChargeDensity
from muse_lr.electrostatics.ewald.reference import ReferenceSolver
from muse_lr.electrostatics.fields import refuse_periodic_field, uniform_field
from muse_lr.errors import InputError
from muse_lr.structures.batch import AtomsBatch
from muse_lr.structures.geometry import Geometry
from muse_lr.structures.graph import NodeFeatures

#: Share of the largest stable susceptibility that can be learned.
STABLE_SHARE = 0.8
#: Logits at which the susceptibilities of charges, dipoles and quadrupoles start. With widths of
#: 1 A and less than 0.1 atoms/A^3 the dipoles' response starts at 0.2 of what would be a metal's;
#: that of charges grows with the size of a structure and starts smaller.
START = (-6.0, -4.0, -4.0)


class PolarizableConfig(ChargesConfig):
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
    charges_at_rest: Literal["features", "elements"] = Field(
        "features",
        description="Whether charges at rest, their softness and how they share out the total are "
        "read from features, or are learned numbers of the elements. The latter with "
        "charge_response: false makes polarizable ions, whose charges depend on composition and "
        "total charge only, not on positions. Not with spin.",
    )
    nonlinear: bool = Field(
        False,
        description="Whether the susceptibilities depend on the strength of the field, too.",
    )
    spin: bool = Field(
        False,
        description="Whether up and down spins have densities of their own, whose totals are fixed "
        "by the total charge and the spin of the structure.",
    )


class PolarizableCharges(LearnedCharges):
    r"""Multipoles read from features, changed by the field of all multipoles and an external one.

    The map is that of :mod:`muse_lr.charges.polarization`; multipoles at rest, susceptibilities of
    each order and, in the charges' softness, the Fukui function are read from features. The
    susceptibilities are at most 0.8 of those at which a Gaussian would sustain its own multipole,
    so that the response of any structure is stable, whatever was learned, and start so small that
    the map is a contraction.

    With ``charges_at_rest: elements`` and ``charge_response: false`` charges do not depend on
    positions, and dipoles (and quadrupoles) vary by the neighbors that press on an ion and by the
    field: a polarizable ion model. Its Born charges are exact under periodicity, and no wave piles
    up charge. A total charge is still shared out among all atoms.

    The work of polarization is an energy that the model adds, ``charges`` among the named
    energies. The Fukui step couples all atoms of a structure, so that the model is not
    size-consistent. Solutions are in float64, whatever the precision of the model.

    Raises
    ------
    InputError
        If a width is 0, nothing responds, both spins have the charges of their element, or the
        backbone has no features of an order that l_max asks for.
    """

    exact_total_charge: ClassVar[bool] = True
    size_consistent = False
    reads_field: ClassVar[bool] = True

    def __init__(self, config: PolarizableConfig, context: ChargesContext) -> None:
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
        if config.spin and config.charges_at_rest == "elements":
            raise InputError(
                "model.charges.spin is true and charges_at_rest elements: up and down would have "
                "the same charges; leave charges_at_rest at features"
            )
        assert context.cutoff is not None  # there is a backbone, whose features are read
        scalars, orders = context.features.scalars, config.l_max + 1
        by_element = config.charges_at_rest == "elements"
        self.readout = None if by_element else scalar_readout(scalars, channels)
        self.offsets = initial_charges(context.elements, channels)
        read = (config.l_max if by_element else orders) * channels
        self.response = scalar_readout(scalars, read) if read else None
        start = torch.tensor(START[:orders], dtype=torch.get_default_dtype())
        start = start.repeat_interleave(channels).expand(len(context.elements), -1)
        self.response_offsets = nn.Parameter(start.clone())
        self.modulation = None
        if config.nonlinear:
            self.modulation = FieldStrength(
                context.features.scalars, max(1, config.l_max), orders * channels
            )
        self.charge_response = config.charge_response
        self.periodic_response = not config.charge_response
        self.has_polarization = by_element and self.periodic_response
        self.solver = ReferenceSolver(self.widths, config.accuracy, context.cutoff)
        self.cutoff = self.solver.ewald.cutoff

    def check(self, batch: AtomsBatch) -> None:
        """Refuse fields along periodic directions, where they would move charges without end."""
        if self.charge_response:
            refuse_periodic_field(batch)

    def susceptibilities(self, features: NodeFeatures, composition: Tensor) -> Tensor:
        """(n_atoms, l_max + 1, channels) in e^2 A^(2l) / eV, float64."""
        logits = composition @ self.response_offsets
        if self.response is not None:  # its orders are the last ones
            read = self.response(features.scalars)
            logits = logits + nn.functional.pad(read, (logits.shape[1] - read.shape[1], 0))
        # A modulation may double it.
        largest_share = STABLE_SHARE if self.modulation is None else STABLE_SHARE / 2
        share = largest_share / self.channels * torch.sigmoid(logits.double())
        width = self.atom_widths(composition.double())
        largest = largest_susceptibilities(width, self.l_max)
        return share.unflatten(1, (self.l_max + 1, self.channels)) * largest[:, :, None]

    def multipoles_at_rest(self, features: NodeFeatures, composition: Tensor) -> Tensor:
        """(n_atoms, (l_max + 1)^2, channels) in e A^l, float64, their totals free."""
        charges = composition @ self.offsets
        if self.readout is not None:
            charges = charges + self.readout(features.scalars)
        blocks = [charges[:, None, :]]  # (N, 2l + 1, C) each
        for order, linear in enumerate(self.multipoles, start=1):
            blocks.append(linear(features.tensors[order]))
        return torch.cat(blocks, dim=1).double()

    def forward(self, inputs: ChargeInputs) -> ChargeDensity:
        """See :meth:`ChargeModel.forward`."""
        features, composition = inputs.features, inputs.composition
        geometry, batch = inputs.geometry, inputs.batch
        width = self.atom_widths(composition.double())
        reference = self.multipoles_at_rest(features, composition)
        totals = spin_totals(batch) if self.channels == 2 else batch.total_charge[:, None]
        density = ChargeDensity(reference.sum(2), width, geometry.graph_index, geometry.num_graphs)
        modulation = None if self.modulation is None else self.modulation(features.scalars)
        order = self.l_max if modulation is None else max(1, self.l_max)
        external = uniform_field(density, geometry, order).moments
        susceptibility = self.susceptibilities(features, composition)
        response = Response(reference, susceptibility, external, modulation)
        polarize = PolarizationMap(geometry, width, self.solver, totals, self.charge_response)
        moments = self.polarized(polarize, response, geometry)
        dtype = composition.dtype
        spin = moments[:, :, 0] - moments[:, :, 1] if self.channels == 2 else None
        density = replace(
            density,
            moments=moments.sum(2).to(dtype),
            width=width.to(dtype),
            spin_moments=None if spin is None else spin.to(dtype),
            energy=polarize.work(response, moments),
        )
        if self.has_polarization:  # charges do not move with the atoms' positions
            density = replace(density, polarization=density.dipole(geometry.positions))
        return density

    @abstractmethod
    def polarized(
        self, polarize: PolarizationMap, response: Response, geometry: Geometry
    ) -> Tensor:
        """(n_atoms, (l_max + 1)^2, channels) multipoles in their own field."""


class FieldStrength(nn.Module):
    """The weights of a :class:`Modulation`.

    Parameters
    ----------
    channels : int
        Scalar features.
    orders : int
        Of the field.
    outputs : int
        Susceptibilities.
    """

    def __init__(self, channels: int, orders: int, outputs: int) -> None:
        super().__init__()
        hidden = max(channels // 2, 1)
        self.features = nn.Linear(channels, hidden)
        self.inner = nn.Linear(orders, hidden, bias=False)
        self.outer = nn.Linear(hidden, outputs, bias=False)

    def forward(self, scalars: Tensor) -> Modulation:
        """For (n_atoms, channels) features, in float64."""
        inner, outer = self.inner.weight.T.double(), self.outer.weight.T.double()
        return Modulation(self.features(scalars).double(), inner, outer)
