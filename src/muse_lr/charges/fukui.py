"""Charges with learned Fukui weights, optionally with two spin channels."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field
from torch import nn

from muse_lr.charges.base import ChargeInputs, ChargesConfig, ChargesContext
from muse_lr.charges.constraint import spin_totals, spread
from muse_lr.charges.learned import (
    LearnedCharges,
    element_offsets,
    initial_charges,
    scalar_readout,
)
from muse_lr.density import ChargeDensity


class FukuiConfig(ChargesConfig):
    """Configuration of the charges with learned Fukui weights."""

    kind: Literal["fukui"] = "fukui"
    spin: bool = Field(
        False,
        description="Whether spin up and spin down have separate densities, with totals fixed by "
        "the total charge and the spin of the structure.",
    )


class FukuiCharges(LearnedCharges):
    r"""Charges corrected to the total charge by a learned Fukui function.

    .. math::
       q_i = q_{0,i} + f_i \left(Q - \sum_j q_{0,j}\right), \qquad
       f_i = \frac{w_i}{\sum_j w_j}, \quad w > 0.

    With ``spin`` there are two such channels, with totals :math:`(Q \pm (M - 1)) / 2` in a
    structure of multiplicity M. The charge is their sum and the spin density their difference
    (MACE-POLAR-1, arXiv:2602.19411). The weights couple all atoms of a structure, so that the model
    is not size-consistent.
    """

    Config: ClassVar[type[ChargesConfig]] = FukuiConfig
    exact_total_charge: ClassVar[bool] = True
    size_consistent = False

    def __init__(self, config: FukuiConfig, context: ChargesContext) -> None:
        channels = 2 if config.spin else 1
        super().__init__(config, context, channels)
        self.readout = scalar_readout(context.features.scalars, channels)
        self.offsets = initial_charges(context.elements, channels)
        self.weights = scalar_readout(context.features.scalars, channels)
        self.weight_offsets = element_offsets(context.elements, channels)

    def forward(self, inputs: ChargeInputs) -> ChargeDensity:
        """See :meth:`ChargeModel.forward`."""
        features, composition = inputs.features, inputs.composition
        geometry, batch = inputs.geometry, inputs.batch
        free = self.readout(features.scalars) + composition @ self.offsets  # (N, C)
        weights = self.weights(features.scalars) + composition @ self.weight_offsets
        totals = spin_totals(batch) if self.channels == 2 else batch.total_charge[:, None]
        charges = spread(free, nn.functional.softplus(weights), totals, geometry.graph_index)
        return self.density(charges, features, composition, geometry)
