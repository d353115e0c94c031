"""The waves of a lattice, and the phases of atoms on them."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class WaveNumbers:
    """The integers (n_1, n_2, n_3) of K = k1 k23 waves: each n_1 with each pair (n_2, n_3).

    Attributes
    ----------
    first : Tensor
        (k1,) n_1, from -highest[0] to highest[0].
    pairs : Tensor
        (k23, 2) n_2 and n_3.
    highest : tuple of int
        Largest of each; n_3 is never negative.
    """

    first: Tensor
    pairs: Tensor
    highest: tuple[int, int, int]

    @property
    def all(self) -> Tensor:
        """(K, 3)."""
        first = self.first.repeat_interleave(len(self.pairs))
        return torch.cat([first[:, None], self.pairs.repeat(len(self.first), 1)], 1)

    def keep(self, pairs: Tensor) -> WaveNumbers:
        """Only some pairs, (k23,) of bool."""
        return WaveNumbers(self.first, self.pairs[pairs], self.highest)

    def to(self, dtype: torch.dtype) -> WaveNumbers:
        """In another precision."""
        return WaveNumbers(self.first.to(dtype), self.pairs.to(dtype), self.highest)


def wave_numbers(highest: tuple[int, int, int], like: Tensor) -> WaveNumbers:
    """All up to the highest, in the precision and on the device of a tensor."""
    lowest = (-highest[0], -highest[1], 0)
    first, second, third = (
        torch.arange(low, high + 1, device=like.device, dtype=like.dtype)
        for low, high in zip(lowest, highest, strict=True)
    )
    return WaveNumbers(first, torch.cartesian_prod(second, third), highest)


def phases(fractional: Tensor, numbers: WaveNumbers) -> tuple[Tensor, Tensor]:
    """X (G, n, k1) and U (G, n, k23)."""
    angle = 2 * math.pi * fractional
    powers = _powers(torch.polar(torch.ones_like(angle), angle), max(numbers.highest))
    x, y = (_two_sided(powers[:, :, axis], numbers.highest[axis]) for axis in (0, 1))
    z = powers[:, :, 2]
    second, third = numbers.pairs.long().unbind(1)
    return x, y.index_select(2, second + numbers.highest[1]) * z.index_select(2, third)


def _powers(units: Tensor, highest: int) -> Tensor:
    """(G, n, 3) -> (G, n, 3, 1 + highest) powers from 0 on.

    Products double the powers in each step: a sine for each wave costs five times as much.
    """
    powers = units[..., None]
    while powers.shape[3] < highest:
        powers = torch.cat([powers, powers * powers[..., -1:]], 3)
    return torch.cat([torch.ones_like(powers[..., :1]), powers[..., :highest]], 3)


def _two_sided(powers: Tensor, highest: int) -> Tensor:
    """(G, n, k) -> (G, n, 2 highest + 1): the powers from -highest on."""
    upper = powers[..., : highest + 1]
    return torch.cat([upper[..., 1:].conj().flip(2), upper], 2)
