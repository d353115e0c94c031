"""Multipoles read from the features of each atom, free or shifted to the exact total charge."""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from muse_lr.batch import AtomsBatch
from muse_lr.charges.base import ChargeModel, ChargesConfig, ChargesContext
from muse_lr.charges.electronegativity import initial_charge
from muse_lr.density import ChargeDensity
from muse_lr.errors import InputError
from muse_lr.geometry import Geometry
from muse_lr.graph import NodeFeatures, sum_nodes


class LatentConfig(ChargesConfig):
    """Keys of the latent charges."""

    kind: Literal["latent"] = "latent"


class LatentCharges(ChargeModel):
    """q_i = MLP(h_i) + b(Z_i): free charges, learned from whatever they influence.

    The offsets b start at a multiple of the electronegativity, so that anions and cations start
    with their signs. Dipoles and quadrupoles are linear in the features of their order,
    M_i,lm = sum_c w_lc h_i,lmc.

    The total charge is not constrained, as in the latent Ewald summation (B. Cheng, npj Comput.
    Mater. 11, 80 (2025), arXiv:2408.15165).

    Raises
    ------
    InputError
        If the backbone has no features of an order that l_max asks for.
    """

    Config: ClassVar[type[ChargesConfig]] = LatentConfig
    exact_total_charge: ClassVar[bool] = False
    size_consistent: ClassVar[bool] = True
    has_multipoles: ClassVar[bool] = True

    def __init__(self, config: ChargesConfig, context: ChargesContext) -> None:
        super().__init__(config, context)
        features = context.features
        hidden = max(features.scalars // 2, 1)
        self.readout = nn.Sequential(
            nn.Linear(features.scalars, hidden), nn.SiLU(), nn.Linear(hidden, 1, bias=False)
        )
        start = [[initial_charge(element)] for element in context.elements]
        self.offsets = nn.Parameter(torch.tensor(start, dtype=torch.get_default_dtype()))
        orders = range(1, config.l_max + 1)
        missing = [order for order in orders if order not in features.tensors]
        if missing:
            raise InputError(
                f"model.charges.l_max {config.l_max} needs features of l = {missing[0]}, which the "
                f"backbone does not have (its highest is l = {max(features.tensors, default=0)}): "
                "choose a smaller l_max, or mace with a max_l that has it"
            )
        self.multipoles = nn.ModuleList(
            nn.Linear(features.tensors[order], 1, bias=False) for order in orders
        )
        self.reads_tensors = config.l_max > 0

    def forward(
        self,
        features: NodeFeatures | None,
        composition: Tensor,
        geometry: Geometry,
        batch: AtomsBatch,
    ) -> ChargeDensity:
        """See :meth:`ChargeModel.forward`."""
        assert features is not None  # guaranteed by needs_features when the model is built
        moments = [self.readout(features.scalars) + composition @ self.offsets]  # (N, 1)
        for order, linear in enumerate(self.multipoles, start=1):
            moments.append(linear(features.tensors[order])[:, :, 0])  # (N, 2l + 1)
        return ChargeDensity(
            torch.cat(moments, dim=1),
            self.atom_widths(composition),
            geometry.graph_index,
            geometry.num_graphs,
        )


class ConservedConfig(ChargesConfig):
    """Keys of the conserved charges."""

    kind: Literal["conserved"] = "conserved"


class ConservedCharges(LatentCharges):
    """q_i = q0_i + (Q - sum_j q0_j) / N: a uniform shift to the exact total charge.

    The shift couples all atoms of a structure, so that the model is not size-consistent.
    """

    Config: ClassVar[type[ChargesConfig]] = ConservedConfig
    exact_total_charge: ClassVar[bool] = True
    size_consistent: ClassVar[bool] = False

    def forward(
        self,
        features: NodeFeatures | None,
        composition: Tensor,
        geometry: Geometry,
        batch: AtomsBatch,
    ) -> ChargeDensity:
        """See :meth:`ChargeModel.forward`."""
        density = super().forward(features, composition, geometry, batch)
        index = geometry.graph_index
        free = sum_nodes(density.charges, index, geometry.num_graphs)
        shift = (batch.total_charge - free) / geometry.nodes_per_graph.clamp(min=1)
        charges = density.charges + shift[index].to(density.charges.dtype)
        moments = torch.cat([charges[:, None], density.moments[:, 1:]], dim=1)
        return replace(density, moments=moments)
