"""Radial functions of distances."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn


class BesselBasis(nn.Module):
    """sqrt(2 / rc) sin(n pi r / rc) / r, n = 1 .. count (Gasteiger et al., ICLR 2020)."""

    def __init__(self, count: int, cutoff: float) -> None:
        super().__init__()
        # Whole numbers survive every cast; the factor is a Python number in full precision.
        self.orders: Tensor
        self.register_buffer("orders", torch.arange(1, count + 1).to(torch.get_default_dtype()))
        self.wavenumber = math.pi / cutoff
        self.scale = math.sqrt(2 / cutoff)

    def forward(self, lengths: Tensor) -> Tensor:
        """(E,) -> (E, count)."""
        lengths = lengths[:, None]
        return self.scale * torch.sin(lengths * self.wavenumber * self.orders) / lengths
