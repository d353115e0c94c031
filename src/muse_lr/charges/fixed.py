"""Fixed charges of each element."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, ClassVar, Literal

import torch
from ase.data import atomic_numbers
from pydantic import Field
from torch import Tensor

from muse_lr.charges.base import ChargeInputs, ChargeModel, ChargesConfig, ChargesContext
from muse_lr.config.schema import ByElement
from muse_lr.density import ChargeDensity
from muse_lr.errors import InputError

if TYPE_CHECKING:
    from muse_lr.structures.batch import AtomsBatch

#: Allowed difference between a given total charge and the sum of the fixed charges, e.
TOLERANCE = 1e-6


class FixedConfig(ChargesConfig):
    """Configuration of the fixed charges."""

    kind: Literal["fixed"] = "fixed"
    by_element: ByElement = Field(..., description="Charge of each element, e.")


class FixedCharges(ChargeModel):
    """Fixed charges q_i = q(Z_i), without learned parameters."""

    Config: ClassVar[type[ChargesConfig]] = FixedConfig
    exact_total_charge: ClassVar[bool] = True
    size_consistent = True
    needs_features: ClassVar[bool] = False
    reads_features: bool = False
    has_polarization: bool = True

    def __init__(self, config: FixedConfig, context: ChargesContext) -> None:
        super().__init__(config, context)
        elements = context.elements
        missing = [element for element in elements if element not in config.by_element]
        if missing:
            raise InputError(
                f"model.charges.by_element has no charge for {', '.join(missing)}, listed in "
                "model.elements"
            )
        table = torch.zeros(len(atomic_numbers), dtype=torch.float64)
        for element in elements:
            table[atomic_numbers[element]] = config.by_element[element]
        self._table = table  # not a buffer, since a cast of the model must not round the charges

    def _by_number(self, batch: AtomsBatch) -> Tensor:
        """(n,) charge by atomic number, e, float64, on the device of the batch."""
        if self._table.device != batch.numbers.device:
            self._table = self._table.to(batch.numbers.device)
        return self._table

    def not_compiled(self) -> None:
        """See :meth:`Part.not_compiled`."""

    def forward(self, inputs: ChargeInputs) -> ChargeDensity:
        """See :meth:`ChargeModel.forward`."""
        composition, geometry, batch = inputs.composition, inputs.geometry, inputs.batch
        moments = self._by_number(batch)[batch.numbers].to(composition.dtype)[:, None]
        width = self.atom_widths(composition)
        density = ChargeDensity(moments, width, geometry.graph_index, geometry.num_graphs)
        return replace(density, polarization=density.dipole(geometry.positions))

    def total_charge(self, batch: AtomsBatch) -> Tensor:
        """(n_graphs,) sum of the fixed charges, e, for any given total charge."""
        charges = self._by_number(batch)[batch.numbers]
        return charges.new_zeros(batch.num_graphs).index_add(0, batch.batch, charges)

    def resting_charges(self, batch: AtomsBatch) -> Tensor:
        """See :meth:`ChargeModel.resting_charges`."""
        return self._by_number(batch)[batch.numbers]

    def check(self, batch: AtomsBatch) -> None:
        """Refuse structures with a total charge that is not the sum of the fixed charges."""
        total = self.total_charge(batch)
        wrong = batch.charge_stated & ((total - batch.total_charge).abs() > TOLERANCE)
        if bool(wrong.any()):
            graph = int(wrong.nonzero()[0])
            raise InputError(
                f"structure {graph} states total_charge {float(batch.total_charge[graph]):g} but "
                f"its fixed charges sum to {float(total[graph]):g} e; correct "
                "atoms.info['total_charge'] or model.charges.by_element"
            )
