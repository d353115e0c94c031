"""Screened nuclear repulsion at short distance."""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
from ase.data import atomic_numbers, covalent_radii
from pydantic import Field
from torch import Tensor

from muse_lr.heads.base import Head, HeadConfig, HeadContext, HeadInputs
from muse_lr.math.switching import switch_off
from muse_lr.structures.graph import sum_nodes
from muse_lr.units import BOHR, COULOMB_CONSTANT

#: phi(x) = sum_k c_k exp(-d_k x) of Ziegler, Biersack and Littmark.
COEFFICIENTS = (0.18175, 0.50986, 0.28022, 0.02817)
DECAYS = (3.19980, 0.94229, 0.40290, 0.20162)
#: Screening length a = 0.88534 a0 / (Z_i^0.23 + Z_j^0.23).
SCREENING_LENGTH = 0.88534 * BOHR
SCREENING_EXPONENT = 0.23
#: The repulsion is switched off between this fraction of its range and its range.
TAPER = 0.5


class ZBLConfig(HeadConfig):
    """Keys of the ZBL repulsion."""

    kind: Literal["zbl"] = "zbl"
    range: float = Field(
        1.0,
        gt=0,
        le=3,
        description="Range of the repulsion, in units of the sum of the two covalent radii.",
    )


class ZBLHead(Head):
    """The universal repulsion of Ziegler, Biersack and Littmark at short distance.

    E = sum_{i<j} k Z_i Z_j phi(r / a) / r w(r), where w is a C2 switch that ends at ``range`` times
    the sum of the covalent radii. With the default of 1, bonds of usual length are not affected.
    J. F. Ziegler, J. P. Biersack, U. Littmark, The Stopping and Range of Ions in Solids (1985).
    """

    Config: ClassVar[type[HeadConfig]] = ZBLConfig

    def __init__(self, config: ZBLConfig, context: HeadContext) -> None:
        super().__init__()
        self.range = config.range
        largest = max(covalent_radii[atomic_numbers[element]] for element in context.elements)
        self.cutoff = 2 * config.range * float(largest)

    def forward(self, inputs: HeadInputs) -> Tensor:
        """See :meth:`Head.forward`."""
        geometry = inputs.geometry
        dtype = inputs.composition.dtype
        radii = torch.as_tensor(covalent_radii, dtype=dtype, device=geometry.numbers.device)
        near = geometry.edge_lengths < self.cutoff
        sender, receiver = geometry.edge_index[:, near]
        z_sender, z_receiver = geometry.numbers[sender], geometry.numbers[receiver]
        distance = geometry.edge_lengths[near].to(dtype)
        end = self.range * (radii[z_sender] + radii[z_receiver])
        window = switch_off(distance / end, TAPER, 1.0)
        pair = window * screened_repulsion(distance, z_sender.to(dtype), z_receiver.to(dtype))
        return sum_nodes(pair / 2, geometry.graph_index[receiver], geometry.num_graphs)


def screened_repulsion(distance: Tensor, z_first: Tensor, z_second: Tensor) -> Tensor:
    """k Z Z' phi(r / a) / r in eV for distances in A, without a cutoff."""
    length = SCREENING_LENGTH / (z_first.pow(SCREENING_EXPONENT) + z_second.pow(SCREENING_EXPONENT))
    x = distance / length
    phi = torch.zeros_like(x)
    for coefficient, decay in zip(COEFFICIENTS, DECAYS, strict=True):
        phi = phi + coefficient * torch.exp(-decay * x)
    return COULOMB_CONSTANT * z_first * z_second * phi / distance
