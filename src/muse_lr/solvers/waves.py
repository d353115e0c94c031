"""The waves of a lattice, and the phases of atoms on them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

#: What the sums over pairs (n_2, n_3) are weighted with.
FACTORS = ("1", "n2", "n3", "n2 n2", "n2 n3", "n3 n3")


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

    @cached_property
    def real(self) -> tuple[Tensor, ...]:
        """(2 k23,) factors of the parts of complex pairs, :data:`FACTORS` of the real ones."""
        return self._factors(0)

    @cached_property
    def imaginary(self) -> tuple[Tensor, ...]:
        """The same of the imaginary parts."""
        return self._factors(1)

    def _factors(self, part: int) -> tuple[Tensor, ...]:
        n2, n3 = self.pairs.unbind(1)
        factors = self.pairs.new_zeros((len(FACTORS), len(self.pairs), 2))
        rows = [torch.ones_like(n2), n2, n3, n2 * n2, n2 * n3, n3 * n3]
        factors[:, :, part] = torch.stack(rows)
        return factors.flatten(1).unbind(0)

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
    units = torch.polar(torch.ones_like(angle), angle)
    x, y, z = (
        _powers(unit, highest, two_sided)
        for unit, highest, two_sided in zip(
            units.split(1, 2), numbers.highest, (True, True, False), strict=True
        )
    )
    second, third = numbers.pairs.long().unbind(1)
    return x, y.index_select(2, second + numbers.highest[1]) * z.index_select(2, third)


def _powers(unit: Tensor, highest: int, two_sided: bool) -> Tensor:
    """(G, n, 1) -> (G, n, k): powers from 0, or from -highest, to the highest.

    Products double the powers in each step: a sine for each wave costs five times as much.
    """
    powers = unit
    while powers.shape[2] < highest:
        powers = torch.cat([powers, powers * powers[..., -1:]], 2)
    powers = powers[..., :highest]
    lower = [powers.conj().flip(2)] if two_sided else []
    return torch.cat([*lower, torch.ones_like(unit), powers], 2)
