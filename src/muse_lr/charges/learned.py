"""Base class and readouts of the learned charge models."""

from __future__ import annotations

import math
from typing import ClassVar

import torch
from torch import Tensor, nn

from muse_lr.charges.base import ChargeModel, ChargesConfig, ChargesContext
from muse_lr.charges.electronegativity import initial_charge
from muse_lr.density import ChargeDensity
from muse_lr.errors import InputError
from muse_lr.structures.geometry import Geometry
from muse_lr.structures.graph import NodeFeatures


def scalar_readout(channels: int, outputs: int = 1) -> nn.Sequential:
    """Build a network from invariant features to outputs, (n, channels) -> (n, outputs)."""
    hidden = max(channels // 2, 1)
    return nn.Sequential(
        nn.Linear(channels, hidden), nn.SiLU(), nn.Linear(hidden, outputs, bias=False)
    )


def initial_charges(
    elements: tuple[str, ...], channels: int = 1, scale: float = 1.0
) -> nn.Parameter:
    """(n_elements, channels) offsets, which sum to ``scale`` times the initial charge."""
    start = [[scale * initial_charge(element) / channels] * channels for element in elements]
    return nn.Parameter(torch.tensor(start, dtype=torch.get_default_dtype()))


def element_offsets(elements: tuple[str, ...], channels: int = 1) -> nn.Parameter:
    """(n_elements, channels) arguments of a softplus, whose initial values are 1."""
    return nn.Parameter(torch.full((len(elements), channels), math.log(math.e - 1)))


class LearnedCharges(ChargeModel):
    r"""Base class of learned charges, with dipoles and quadrupoles predicted from features.

    Derived classes define the charges. Dipoles and quadrupoles are linear in the features of their
    order,
    :math:`M_{i,lm} = \sum_c w_{lc} h_{i,lmc}`, for each spin channel.

    Parameters
    ----------
    config : ChargesConfig
    context : ChargesContext
    channels : int
        1, or 2 for spin up and down.

    Raises
    ------
    InputError
        If the backbone lacks features of an order up to l_max.
    """

    has_multipoles: ClassVar[bool] = True

    def __init__(self, config: ChargesConfig, context: ChargesContext, channels: int = 1) -> None:
        super().__init__(config, context)
        features = context.features
        orders = range(1, config.l_max + 1)
        missing = [order for order in orders if order not in features.tensors]
        if missing:
            raise InputError(
                f"model.charges.l_max {config.l_max} needs features of l = {missing[0]}, which the "
                f"backbone does not have (its highest is l = {max(features.tensors, default=0)}): "
                "choose a smaller l_max, or a mace backbone with a larger l_max"
            )
        self.channels = channels
        self.multipoles = nn.ModuleList(
            nn.Linear(features.tensors[order], channels, bias=False) for order in orders
        )
        self.reads_tensors = config.l_max > 0

    def not_compiled(self) -> str | None:
        """See :meth:`Part.not_compiled`."""
        return None

    def density(
        self,
        charges: Tensor,
        features: NodeFeatures,
        composition: Tensor,
        geometry: Geometry,
    ) -> ChargeDensity:
        """The density of given charges and of the multipoles predicted from the features.

        Parameters
        ----------
        charges : Tensor
            (n_atoms, channels) in e. With two channels, the charge is their sum and the spin
            density their difference.
        features, composition, geometry :
            As in :meth:`ChargeModel.forward`.
        """
        blocks = [charges[:, None, :]]  # (N, 2l + 1, C) each
        for order, linear in enumerate(self.multipoles, start=1):
            blocks.append(linear(features.tensors[order]))
        moments = torch.cat(blocks, dim=1)
        return ChargeDensity(
            moments.sum(2),
            self.atom_widths(composition),
            geometry.graph_index,
            geometry.num_graphs,
            moments[:, :, 0] - moments[:, :, 1] if self.channels == 2 else None,
        )
