"""Radial basis functions."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn


class BesselBasis(nn.Module):
    """Bessel basis sqrt(2 / rc) sin(n pi r / rc) / r, n = 1 .. count.

    J. Gasteiger et al., ICLR 2020.
    """

    def __init__(self, count: int, cutoff: float) -> None:
        super().__init__()
        # Integers are exact in every dtype. The prefactors are Python floats in full precision.
        self.orders: Tensor
        self.register_buffer("orders", torch.arange(1, count + 1).to(torch.get_default_dtype()))
        self.wavenumber = math.pi / cutoff
        self.scale = math.sqrt(2 / cutoff)

    def forward(self, lengths: Tensor) -> Tensor:
        """Evaluate the basis: (E,) lengths in A -> (E, count)."""
        lengths = lengths[:, None]
        return self.scale * torch.sin(lengths * self.wavenumber * self.orders) / lengths
