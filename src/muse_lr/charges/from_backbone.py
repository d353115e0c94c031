"""Charges predicted by the backbone."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from muse_lr.charges.base import ChargeInputs, ChargeModel, ChargesConfig, ChargesContext
from muse_lr.density import ChargeDensity
from muse_lr.errors import InputError


class OwnConfig(ChargesConfig):
    """Configuration of the charges of the backbone."""

    kind: Literal["backbone"] = "backbone"
    input: Literal["backbone"] = Field("backbone", description="Always backbone.")


class BackboneCharges(ChargeModel):
    """Partial charges of a backbone that includes electrostatics, such as SO3LR.

    They define the charge density, so that ``charges``, ``dipole``, ``quadrupole`` and ``bec`` are
    those of the backbone, and heads can use them. The energy of the backbone includes the Coulomb
    energy of these charges. A ``coulomb`` head without ``exclusion_radius`` is therefore refused.
    """

    Config: ClassVar[type[ChargesConfig]] = OwnConfig
    exact_total_charge: ClassVar[bool] = True
    size_consistent = False
    needs_charges: ClassVar[bool] = True

    def __init__(self, config: OwnConfig, context: ChargesContext) -> None:
        super().__init__(config, context)
        if not context.features.charges:
            raise InputError(
                "charges kind 'backbone' reads charges of the backbone, and this one has none; use "
                "so3krates with the key so3lr or the weights of an SO3LR, or another kind of "
                "charges"
            )

    def not_compiled(self) -> None:
        """See :meth:`Part.not_compiled`."""

    def forward(self, inputs: ChargeInputs) -> ChargeDensity:
        """See :meth:`ChargeModel.forward`."""
        features, composition, geometry = inputs.features, inputs.composition, inputs.geometry
        assert features.charges is not None  # checked at construction
        width = self.atom_widths(composition)
        moments = features.charges[:, None]
        return ChargeDensity(moments, width, geometry.graph_index, geometry.num_graphs)
