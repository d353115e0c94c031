"""Charges read from the features of each atom, free or shifted to the exact total charge."""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from muse_lr.batch import AtomsBatch
from muse_lr.charges.base import ChargeModel, ChargesConfig, FeatureSize
from muse_lr.charges.electronegativity import initial_charge
from muse_lr.density import ChargeDensity, check_width
from muse_lr.geometry import Geometry
from muse_lr.graph import NodeFeatures, sum_nodes


class LatentConfig(ChargesConfig):
    """Keys of the latent charges."""

    kind: Literal["latent"] = "latent"


class LatentCharges(ChargeModel):
    """q_i = MLP(h_i) + b(Z_i): free charges, learned from whatever they influence.

    The offsets b start at a multiple of the electronegativity, so that anions and cations start
    with their signs.

    The total charge is not constrained, as in the latent Ewald summation (B. Cheng, npj Comput.
    Mater. 11, 80 (2025), arXiv:2408.15165).
    """

    Config: ClassVar[type[ChargesConfig]] = LatentConfig
    exact_total_charge: ClassVar[bool] = False
    size_consistent: ClassVar[bool] = True

    def __init__(
        self, config: ChargesConfig, elements: tuple[str, ...], features: FeatureSize
    ) -> None:
        super().__init__(config, elements)
        hidden = max(features.scalars // 2, 1)
        self.readout = nn.Sequential(
            nn.Linear(features.scalars, hidden), nn.SiLU(), nn.Linear(hidden, 1, bias=False)
        )
        start = [[initial_charge(element)] for element in elements]
        self.offsets = nn.Parameter(torch.tensor(start, dtype=torch.get_default_dtype()))

    def forward(
        self,
        features: NodeFeatures | None,
        composition: Tensor,
        geometry: Geometry,
        batch: AtomsBatch,
    ) -> ChargeDensity:
        """See :meth:`ChargeModel.forward`."""
        assert features is not None  # guaranteed by needs_features when the model is built
        moments = self.readout(features.scalars) + composition @ self.offsets  # (N, 1)
        width = check_width(self.width, len(moments), moments)
        return ChargeDensity(moments, width, geometry.graph_index, geometry.num_graphs)


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
        free = density.moments[:, 0]
        index = geometry.graph_index
        missing = batch.total_charge - sum_nodes(free, index, geometry.num_graphs)
        shift = missing / geometry.nodes_per_graph.clamp(min=1)
        moments = (free + shift[index].to(free.dtype))[:, None]
        return ChargeDensity(moments, density.width, index, geometry.num_graphs)
