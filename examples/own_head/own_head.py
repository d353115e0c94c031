"""Screened Coulomb energy within a cutoff."""

from __future__ import annotations

import math
from typing import ClassVar

import torch
from pydantic import Field
from torch import Tensor, nn

from muse_lr.heads.base import Head, HeadConfig, HeadContext, HeadInputs
from muse_lr.math.switching import switch_off
from muse_lr.structures.graph import sum_nodes
from muse_lr.units import COULOMB_CONSTANT

#: The window falls from 1 to 0 between this fraction of the cutoff and the cutoff.
WINDOW_START = 0.5


class ScreenedCoulombConfig(HeadConfig):
    """Keys of the screened Coulomb head."""

    cutoff: float = Field(8.0, gt=0, le=30, description="Pairs beyond this, A, are left out.")
    screening_length: float = Field(
        3.0, gt=0, le=100, description="Initial screening length, A; it is learned."
    )


class ScreenedCoulomb(Head):
    r"""Yukawa energy of the charges, with a learned screening length.

    .. math:: E = \frac{k}{2} \sum_{i \ne j} q_i q_j \frac{e^{-r_{ij} / \lambda}}{r_{ij}} w(r_{ij})

    The window w is twice continuously differentiable and vanishes at the cutoff. The charges are
    points: the head ignores their Gaussian widths and their multipoles.
    """

    Config: ClassVar[type[HeadConfig]] = ScreenedCoulombConfig
    needs_density: ClassVar[bool] = True

    def __init__(self, config: ScreenedCoulombConfig, context: HeadContext) -> None:
        super().__init__()
        self.cutoff = config.cutoff
        # The logarithm keeps the length positive.
        self.log_length = nn.Parameter(torch.tensor(math.log(config.screening_length)))

    def forward(self, inputs: HeadInputs) -> Tensor:
        """(n_graphs,) energies in eV, float64."""
        geometry, charges = inputs.geometry, inputs.density.charges
        near = geometry.edge_lengths < self.cutoff
        sender, receiver = geometry.edge_index[:, near]
        distance = geometry.edge_lengths[near].to(charges.dtype)
        pair = torch.exp(-distance / self.log_length.exp()) / distance
        pair = pair * switch_off(distance, WINDOW_START * self.cutoff, self.cutoff)
        # Every pair is there twice, once as i, j and once as j, i.
        energy = COULOMB_CONSTANT / 2 * charges[sender] * charges[receiver] * pair
        return sum_nodes(energy, geometry.graph_index[receiver], geometry.num_graphs)
