"""Charges predicted from features, unconstrained or shifted to the exact total charge."""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
from torch import Tensor

from muse_lr.charges.base import ChargeInputs, ChargesConfig, ChargesContext
from muse_lr.charges.constraint import spread
from muse_lr.charges.learned import LearnedCharges, initial_charges, scalar_readout
from muse_lr.density import ChargeDensity
from muse_lr.structures.graph import NodeFeatures


class LatentConfig(ChargesConfig):
    """Configuration of the latent charges."""

    kind: Literal["latent"] = "latent"


class LatentCharges(LearnedCharges):
    """Unconstrained charges q_i = MLP(h_i) + b(Z_i).

    They are learned from all training targets that depend on them. The initial offsets b are linear
    in the electronegativity, so that anions and cations start with the correct signs.

    The total charge is not constrained, as in the latent Ewald summation (B. Cheng, npj Comput.
    Mater. 11, 80 (2025), arXiv:2408.15165).
    """

    Config: ClassVar[type[ChargesConfig]] = LatentConfig
    exact_total_charge: ClassVar[bool] = False
    size_consistent = True

    def __init__(self, config: ChargesConfig, context: ChargesContext) -> None:
        super().__init__(config, context)
        self.readout = scalar_readout(context.features.scalars)
        self.offsets = initial_charges(context.elements)

    def free_charges(self, features: NodeFeatures, composition: Tensor) -> Tensor:
        """(n_atoms, 1) unconstrained charges, e."""
        charges: Tensor = self.readout(features.scalars) + composition @ self.offsets
        return charges

    def forward(self, inputs: ChargeInputs) -> ChargeDensity:
        """See :meth:`ChargeModel.forward`."""
        features, composition, geometry = inputs.features, inputs.composition, inputs.geometry
        charges = self.free_charges(features, composition)
        return self.density(charges, features, composition, geometry)


class ConservedConfig(ChargesConfig):
    """Configuration of the conserved charges."""

    kind: Literal["conserved"] = "conserved"


class ConservedCharges(LatentCharges):
    """Charges with a uniform shift to the total charge, q_i = q0_i + (Q - sum_j q0_j) / N.

    The shift couples all atoms of a structure, so that the model is not size-consistent.
    """

    Config: ClassVar[type[ChargesConfig]] = ConservedConfig
    exact_total_charge: ClassVar[bool] = True
    size_consistent = False

    def forward(self, inputs: ChargeInputs) -> ChargeDensity:
        """See :meth:`ChargeModel.forward`."""
        features, composition = inputs.features, inputs.composition
        geometry, batch = inputs.geometry, inputs.batch
        free = self.free_charges(features, composition)
        totals = batch.total_charge[:, None]
        charges = spread(free, torch.ones_like(free), totals, geometry.graph_index)
        return self.density(charges, features, composition, geometry)
