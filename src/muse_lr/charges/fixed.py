"""Charges given by element."""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar, Literal

import torch
from ase.data import atomic_numbers
from pydantic import Field
from torch import Tensor

from muse_lr.charges.base import ChargeInputs, ChargeModel, ChargesConfig, ChargesContext
from muse_lr.density import ChargeDensity
from muse_lr.errors import InputError
from muse_lr.structures.batch import AtomsBatch

#: A stated total charge may differ from the sum of the fixed charges by this much, e.
TOLERANCE = 1e-6


class FixedConfig(ChargesConfig):
    """Keys of the fixed charges."""

    kind: Literal["fixed"] = "fixed"
    by_element: dict[str, float] = Field(..., description="Charge of each element, e.")


class FixedCharges(ChargeModel):
    """q_i = q(Z_i): no parameters; the textbook's model."""

    Config: ClassVar[type[ChargesConfig]] = FixedConfig
    exact_total_charge: ClassVar[bool] = True
    size_consistent = True
    needs_features: ClassVar[bool] = False
    has_polarization: bool = True

    def __init__(self, config: FixedConfig, context: ChargesContext) -> None:
        super().__init__(config, context)
        elements = context.elements
        missing = [element for element in elements if element not in config.by_element]
        if missing:
            raise InputError(
                f"model.charges.by_element has no charge for {', '.join(missing)}, which "
                "model.elements lists"
            )
        table = torch.zeros(len(atomic_numbers), dtype=torch.float64)
        for element in elements:
            table[atomic_numbers[element]] = config.by_element[element]
        self._table = table  # no buffer: casting the model must not round the charges

    def _by_number(self, batch: AtomsBatch) -> Tensor:
        """(n,) charge by atomic number, e, float64, where the batch is."""
        if self._table.device != batch.numbers.device:
            self._table = self._table.to(batch.numbers.device)
        return self._table

    def forward(self, inputs: ChargeInputs) -> ChargeDensity:
        """See :meth:`ChargeModel.forward`."""
        composition, geometry, batch = inputs.composition, inputs.geometry, inputs.batch
        moments = self._by_number(batch)[batch.numbers].to(composition.dtype)[:, None]
        width = self.atom_widths(composition)
        density = ChargeDensity(moments, width, geometry.graph_index, geometry.num_graphs)
        return replace(density, polarization=density.dipole(geometry.positions))

    def total_charge(self, batch: AtomsBatch) -> Tensor:
        """(n_graphs,) sum of the fixed charges, e, whatever is stated."""
        charges = self._by_number(batch)[batch.numbers]
        return charges.new_zeros(batch.num_graphs).index_add(0, batch.batch, charges)

    def check(self, batch: AtomsBatch) -> None:
        """Refuse a stated total charge that is not the sum of the fixed charges."""
        total = self.total_charge(batch)
        wrong = batch.charge_stated & ((total - batch.total_charge).abs() > TOLERANCE)
        if bool(wrong.any()):
            graph = int(wrong.nonzero()[0])
            raise InputError(
                f"structure {graph} states total_charge {float(batch.total_charge[graph]):g} but "
                f"its fixed charges sum to {float(total[graph]):g}: correct "
                "atoms.info['total_charge'] or model.charges.by_element"
            )
