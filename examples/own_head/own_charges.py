"""A learned charge for each element."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import nn

from muse_lr.charges.base import ChargeInputs, ChargeModel, ChargesConfig, ChargesContext
from muse_lr.charges.constraint import spread
from muse_lr.charges.electronegativity import initial_charge
from muse_lr.density import ChargeDensity


class ByElementConfig(ChargesConfig):
    """Keys of the charges by element: those that all charge models share."""


class ByElementCharges(ChargeModel):
    r"""One charge for each element, shifted evenly to the total charge.

    .. math:: q_i = q(Z_i) + \frac{1}{N} \left(Q - \sum_j q(Z_j)\right)

    The shift depends on all atoms of a structure, so that the model is not size-consistent.
    """

    Config: ClassVar[type[ChargesConfig]] = ByElementConfig
    exact_total_charge: ClassVar[bool] = True
    size_consistent = False
    needs_features: ClassVar[bool] = False

    def __init__(self, config: ByElementConfig, context: ChargesContext) -> None:
        super().__init__(config, context)
        start = [initial_charge(element) for element in context.elements]
        self.by_element = nn.Parameter(torch.tensor(start, dtype=torch.get_default_dtype()))

    def forward(self, inputs: ChargeInputs) -> ChargeDensity:
        """The charge density of the batch."""
        geometry = inputs.geometry
        free = inputs.composition @ self.by_element
        total = inputs.batch.total_charge
        charges = spread(free, torch.ones_like(free), total, geometry.graph_index)
        width = self.atom_widths(inputs.composition)
        return ChargeDensity(charges[:, None], width, geometry.graph_index, geometry.num_graphs)
