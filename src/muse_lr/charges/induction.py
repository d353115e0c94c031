"""Base class of the induced multipoles of :mod:`muse_lr.charges.induction_models`."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import replace
from typing import TYPE_CHECKING, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from muse_lr.charges.base import ChargeInputs, ChargesConfig, ChargesContext
from muse_lr.charges.constraint import spin_totals
from muse_lr.charges.learned import LearnedCharges, initial_charges, scalar_readout
from muse_lr.charges.nonlinearity import NonlinearReadout
from muse_lr.charges.polarization import (
    PolarizationMap,
    Response,
    largest_susceptibilities,
)
from muse_lr.density import ChargeDensity
from muse_lr.electrostatics.ewald.reference import ReferenceSolver
from muse_lr.electrostatics.fields import refuse_periodic_field, uniform_field
from muse_lr.errors import InputError
from muse_lr.structures.geometry import Geometry
from muse_lr.structures.graph import NodeFeatures

if TYPE_CHECKING:
    from muse_lr.structures.batch import AtomsBatch

#: Largest learned susceptibility, as a fraction of the largest stable one.
STABLE_SHARE = 0.8
#: Initial logits of the susceptibilities of charges, dipoles and quadrupoles. With widths of 1 A
#: and less than 0.1 atoms/A^3 the response of dipoles starts at 0.2 of that of a metal. That of
#: charges grows with the size of a structure and starts smaller.
START = (-6.0, -4.0, -4.0)


class PolarizableConfig(ChargesConfig):
    """Configuration common to both models of induced multipoles."""

    accuracy: float = Field(
        1e-6,
        ge=1e-12,
        le=1e-2,
        description="Accuracy of the periodic sums, as in the coulomb head; use the same value "
        "for both.",
    )
    charge_response: bool = Field(
        True,
        description="Whether charges also respond to the potential. If false, only dipoles and "
        "quadrupoles respond (l_max 1 or 2), and the response to a uniform field is defined in "
        "crystals.",
    )
    charges_at_rest: Literal["features", "elements"] = Field(
        "features",
        description="Charges without a field, their softness and their weights in the correction "
        "to the total charge: predicted from features, or learned constants of the elements. "
        "`elements` with charge_response: false describes polarizable ions, with charges that "
        "depend on composition and total charge, but not on positions. It excludes spin.",
    )
    nonlinear: bool = Field(
        False,
        description="Whether dipoles and quadrupoles respond nonlinearly to strong fields, as the "
        "gradient of a learned convex energy (l_max 1 or 2).",
    )
    spin: bool = Field(
        False,
        description="Whether spin up and spin down have separate densities, with totals fixed by "
        "the total charge and the spin of the structure.",
    )


class PolarizableCharges(LearnedCharges):
    r"""Multipoles that respond to the field of all multipoles and to an external field.

    The map is that of :mod:`muse_lr.charges.polarization`. The multipoles at rest (without a
    field), the susceptibilities of each order and the Fukui function, given by the softness of the
    charges, are predicted from features. The susceptibilities are at most 0.8 of those at which a
    Gaussian would sustain its own multipole. The response of any structure is therefore stable for
    any parameters. Their initial values are so small that the map is a contraction.

    With ``charges_at_rest: elements`` and ``charge_response: false`` this is a polarizable ion
    model. The charges do not depend on positions. Dipoles and quadrupoles depend on the neighbors
    of an ion, through its features, and on the field. Born charges are exact in periodic
    structures, and a lattice wave does not accumulate charge. The total charge is still distributed
    over all atoms.

    The model adds the work of polarization to the energy, as the term ``charges``. The Fukui step
    couples all atoms of a structure, so that the model is not size-consistent. The multipoles are
    computed in float64 for any precision of the model.

    Raises
    ------
    InputError
        If a width is 0, if no moment responds to the field, if ``spin`` is combined with
        ``charges_at_rest: elements``, or if the backbone lacks features of an order up to l_max.
    """

    exact_total_charge: ClassVar[bool] = True
    size_consistent = False
    reads_field: ClassVar[bool] = True
    minimizes_coulomb: ClassVar[bool] = True

    def __init__(self, config: PolarizableConfig, context: ChargesContext) -> None:
        channels = 2 if config.spin else 1
        super().__init__(config, context, channels)
        if min(self.widths) == 0:
            raise InputError(
                f"charges kind {config.kind!r} needs Gaussians; set model.charges.width to a "
                "positive value"
            )
        if not config.charge_response and config.l_max == 0:
            raise InputError(
                "model.charges.charge_response is false and l_max is 0, so that nothing responds "
                "to the field; set l_max to 1 or 2, or use kind fukui"
            )
        if config.nonlinear and config.l_max == 0:
            raise InputError(
                "model.charges.nonlinear is true and l_max is 0, but charges respond linearly; "
                "set l_max to 1 or 2, or nonlinear to false"
            )
        if config.spin and config.charges_at_rest == "elements":
            raise InputError(
                "model.charges.spin is true and charges_at_rest is elements, so that spin up and "
                "spin down would have the same charges; set charges_at_rest to features"
            )
        assert context.cutoff is not None  # needs_features requires a backbone
        scalars, orders = context.features.scalars, config.l_max + 1
        by_element = config.charges_at_rest == "elements"
        self.readout = None if by_element else scalar_readout(scalars, channels)
        self.offsets = initial_charges(context.elements, channels)
        read = (config.l_max if by_element else orders) * channels
        self.response = scalar_readout(scalars, read) if read else None
        start = torch.tensor(START[:orders], dtype=torch.get_default_dtype())
        start = start.repeat_interleave(channels).expand(len(context.elements), -1)
        self.response_offsets = nn.Parameter(start.clone())
        self.nonlinearity = None
        if config.nonlinear:
            self.nonlinearity = NonlinearReadout(scalars, config.l_max, channels)
        self.charge_response = config.charge_response
        self.periodic_response = not config.charge_response
        self.has_polarization = by_element and self.periodic_response
        self.solver = ReferenceSolver(self.widths, config.accuracy, context.cutoff)
        self.cutoff = self.solver.ewald.cutoff

    def check(self, batch: AtomsBatch) -> None:
        """Refuse fields along periodic directions if charges respond, since these have no limit."""
        if self.charge_response:
            refuse_periodic_field(batch)

    def susceptibilities(self, features: NodeFeatures, composition: Tensor) -> Tensor:
        """(n_atoms, l_max + 1, channels) in e^2 A^(2l) / eV, float64."""
        logits = composition @ self.response_offsets
        if self.response is not None:  # predicted orders are the last ones
            read = self.response(features.scalars)
            logits = logits + nn.functional.pad(read, (logits.shape[1] - read.shape[1], 0))
        # A nonlinear response can be twice the linear one.
        largest_share = STABLE_SHARE if self.nonlinearity is None else STABLE_SHARE / 2
        share = largest_share / self.channels * torch.sigmoid(logits.double())
        width = self.atom_widths(composition.double())
        largest = largest_susceptibilities(width, self.l_max)
        return share.unflatten(1, (self.l_max + 1, self.channels)) * largest[:, :, None]

    def multipoles_at_rest(self, features: NodeFeatures, composition: Tensor) -> Tensor:
        """(n_atoms, (l_max + 1)^2, channels) in e A^l, float64, with unconstrained totals."""
        charges = composition @ self.offsets
        if self.readout is not None:
            charges = charges + self.readout(features.scalars)
        blocks = [charges[:, None, :]]  # (N, 2l + 1, C) each
        for order, linear in enumerate(self.multipoles, start=1):
            blocks.append(linear(features.tensors[order]))
        return torch.cat(blocks, dim=1).double()

    def not_compiled(self) -> str:
        """See :meth:`Part.not_compiled`."""
        return "its charges are found by iterations, whose number depends on the structure"

    def forward(self, inputs: ChargeInputs) -> ChargeDensity:
        """See :meth:`ChargeModel.forward`."""
        features, composition = inputs.features, inputs.composition
        geometry, batch = inputs.geometry, inputs.batch
        width = self.atom_widths(composition.double())
        reference = self.multipoles_at_rest(features, composition)
        totals = spin_totals(batch) if self.channels == 2 else batch.total_charge[:, None]
        density = ChargeDensity(reference.sum(2), width, geometry.graph_index, geometry.num_graphs)
        nonlinearity = None if self.nonlinearity is None else self.nonlinearity(features.scalars)
        external = uniform_field(density, geometry, self.l_max).moments
        susceptibility = self.susceptibilities(features, composition)
        response = Response(reference, susceptibility, external, nonlinearity)
        polarize = PolarizationMap(geometry, width, self.solver, totals, self.charge_response)
        moments, sources = self.polarized(polarize, response, geometry)
        dtype = composition.dtype
        spin = moments[:, :, 0] - moments[:, :, 1] if self.channels == 2 else None
        density = replace(
            density,
            moments=moments.sum(2).to(dtype),
            width=width.to(dtype),
            spin_moments=None if spin is None else spin.to(dtype),
            energy=polarize.work(response, moments, sources),
        )
        if self.has_polarization:  # the charges do not depend on positions
            density = replace(density, polarization=density.dipole(geometry.positions))
        return density

    @abstractmethod
    def polarized(
        self, polarize: PolarizationMap, response: Response, geometry: Geometry
    ) -> tuple[Tensor, Tensor]:
        """Compute the multipoles, and those in whose field they are induced.

        Returns
        -------
        moments, sources : Tensor
            (n_atoms, (l_max + 1)^2, channels).
        """
