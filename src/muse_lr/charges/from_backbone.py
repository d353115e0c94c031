"""The charges that a backbone has of its own."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from muse_lr.charges.base import ChargeInputs, ChargeModel, ChargesConfig, ChargesContext
from muse_lr.density import ChargeDensity
from muse_lr.errors import InputError


class OwnConfig(ChargesConfig):
    """Keys of the backbone's own charges."""

    kind: Literal["backbone"] = "backbone"
    input: Literal["backbone"] = Field("backbone", description="Always the backbone's own.")


class BackboneCharges(ChargeModel):
    """The partial charges of a backbone with electrostatics of its own, such as an SO3LR.

    They fill the charge density, so that ``charges``, ``dipole``, ``quadrupole`` and ``bec`` are
    those of the backbone, and heads may read them. The Coulomb energy of these charges is in the
    backbone's energy already: a ``coulomb`` head without ``exclusion_radius`` is refused.
    """

    Config: ClassVar[type[ChargesConfig]] = OwnConfig
    exact_total_charge: ClassVar[bool] = True
    size_consistent = False
    needs_charges: ClassVar[bool] = True

    def __init__(self, config: OwnConfig, context: ChargesContext) -> None:
        super().__init__(config, context)
        if not context.features.charges:
            raise InputError(
                "charges kind 'backbone' reads charges of the backbone's own, and this one has "
                "none: use so3krates with the key so3lr or the weights of an SO3LR, or another "
                "kind of charges"
            )

    def forward(self, inputs: ChargeInputs) -> ChargeDensity:
        """See :meth:`ChargeModel.forward`."""
        features, composition, geometry = inputs.features, inputs.composition, inputs.geometry
        assert features.charges is not None  # the context says so
        width = self.atom_widths(composition)
        moments = features.charges[:, None]
        return ChargeDensity(moments, width, geometry.graph_index, geometry.num_graphs)
