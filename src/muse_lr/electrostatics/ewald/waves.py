"""k vectors of a lattice and the phases of the atoms."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from muse_lr.electrostatics.base import RECIPROCAL_TAPER
from muse_lr.math.switching import switch_off

#: Factor for the reciprocal cutoff of slabs, which makes their energy independent of L.
SLAB_RECIPROCAL = 1.3


@dataclass(frozen=True)
class WaveNumbers:
    """Integers (n_1, n_2, n_3) of K = k1 k23 k vectors: all n_1 with all pairs (n_2, n_3).

    Attributes
    ----------
    first : Tensor
        (k1,) n_1, from -highest[0] to highest[0].
    pairs : Tensor
        (k23, 2) n_2 and n_3.
    highest : tuple of int
        Largest n_1, n_2 and n_3. The smallest n_3 is 0.
    """

    first: Tensor
    pairs: Tensor
    highest: tuple[int, int, int]

    @property
    def all(self) -> Tensor:
        """(K, 3) integers of all k vectors."""
        first = self.first.repeat_interleave(len(self.pairs))
        return torch.cat([first[:, None], self.pairs.repeat(len(self.first), 1)], 1)

    def keep(self, pairs: Tensor) -> WaveNumbers:
        """Select pairs with a mask (k23,) of bool."""
        return WaveNumbers(self.first, self.pairs[pairs], self.highest)

    def to(self, dtype: torch.dtype) -> WaveNumbers:
        """Convert to another dtype."""
        return WaveNumbers(self.first.to(dtype), self.pairs.to(dtype), self.highest)


def wave_numbers(highest: tuple[int, int, int], like: Tensor) -> WaveNumbers:
    """All integers up to ``highest``, with the dtype and device of ``like``."""
    lowest = (-highest[0], -highest[1], 0)
    first, second, third = (
        torch.arange(low, high + 1, device=like.device, dtype=like.dtype)
        for low, high in zip(lowest, highest, strict=True)
    )
    return WaveNumbers(first, torch.cartesian_prod(second, third), highest)


def phases(fractional: Tensor, numbers: WaveNumbers) -> tuple[Tensor, Tensor]:
    """Phases X (G, n, k1) of the first axis and U (G, n, k23) of the other two."""
    angle = 2 * math.pi * fractional
    powers = _powers(torch.polar(torch.ones_like(angle), angle), max(numbers.highest))
    x, y = (_two_sided(powers[:, :, axis], numbers.highest[axis]) for axis in (0, 1))
    z = powers[:, :, 2]
    second, third = numbers.pairs.long().unbind(1)
    return x, y.index_select(2, second + numbers.highest[1]) * z.index_select(2, third)


def _powers(units: Tensor, highest: int) -> Tensor:
    """(G, n, 3) -> (G, n, 3, 1 + highest) powers, starting from 0.

    Each product doubles the number of powers. This is five times faster than a sine for each power.
    """
    powers = units[..., None]
    while powers.shape[3] < highest:
        powers = torch.cat([powers, powers * powers[..., -1:]], 3)
    return torch.cat([torch.ones_like(powers[..., :1]), powers[..., :highest]], 3)


def _two_sided(powers: Tensor, highest: int) -> Tensor:
    """(G, n, k) -> (G, n, 2 highest + 1) powers from -highest to highest."""
    upper = powers[..., : highest + 1]
    return torch.cat([upper[..., 1:].conj().flip(2), upper], 2)


def _squared_waves(grid: Tensor, inverse: Tensor) -> Tensor:
    """(G, K) k^2 in 1/A^2 as a quadratic form of the integers (K, 3)."""
    metric = (2 * math.pi) ** 2 * inverse.mT @ inverse
    n1, n2, n3 = grid.unbind(1)
    products = torch.stack([n1 * n1, n2 * n2, n3 * n3, 2 * n1 * n2, 2 * n1 * n3, 2 * n2 * n3])
    entries = metric[:, [0, 1, 2, 0, 0, 1], [0, 1, 2, 1, 2, 2]]
    return entries @ products


@dataclass(frozen=True)
class Waves:
    """k vectors of the reciprocal sum.

    Attributes
    ----------
    numbers : WaveNumbers
        Integers of the k vectors, in float64.
    squared : Tensor
        (G, K) k^2 in 1/A^2; set to 1 for k = 0.
    window : Tensor
        (G, K) window of the cutoff; 0 for k = 0, doubled for vectors that also represent -k.
    """

    numbers: WaveNumbers
    squared: Tensor
    window: Tensor


def lattice_waves(cell: Tensor, slab: Tensor, inverse: Tensor, cutoff: float) -> Waves:
    """k vectors within the cutoff of any graph, completed to full lines along the first axis.

    Only one of k and -k is included.

    Parameters
    ----------
    cell, inverse : Tensor
        (G, 3, 3) cells in A, and their inverses.
    slab : Tensor
        (G,) of bool: graphs that are slabs.
    cutoff : float
        |k| up to which the sum is complete for crystals, 1/A.
    """
    reach = torch.where(slab, SLAB_RECIPROCAL * cutoff, cutoff)[:, None]
    outer = RECIPROCAL_TAPER * reach
    lengths = torch.linalg.vector_norm(cell.detach(), dim=2)
    n1, n2, n3 = (outer / (2 * math.pi) * lengths).amax(0).floor().long().tolist()
    numbers = wave_numbers((n1, n2, n3), inverse.detach())
    squared = _squared_waves(numbers.all, inverse)
    within = (squared.detach() <= outer.square()).any(0).unflatten(0, (len(numbers.first), -1))
    pairs = within.any(0)
    kept = pairs.repeat(len(numbers.first)).nonzero()[:, 0]
    squared, numbers = squared.index_select(1, kept), numbers.keep(pairs)
    grid = numbers.all
    zero = (grid == 0).all(1)
    squared = torch.where(zero, 1.0, squared)
    multiplicity = torch.where(grid[:, 2] > 0, 2.0, 1.0) * ~zero
    return Waves(numbers, squared, multiplicity * switch_off(squared.sqrt(), reach, outer))


class KeptWaves:
    """Cache of the k vectors of the last cells, for example in dynamics at constant volume."""

    def __init__(self) -> None:
        self._last: tuple[Tensor, Tensor, float, Waves] | None = None

    def find(self, cell: Tensor, slab: Tensor, inverse: Tensor, cutoff: float) -> Waves:
        """Call :func:`lattice_waves` and cache the result for cells without gradients."""
        # Tensors created in inference mode cannot be used outside of it.
        if inverse.requires_grad or torch.is_inference_mode_enabled():
            return lattice_waves(cell, slab, inverse, cutoff)
        if self._last is not None:
            last_inverse, last_slab, last_cutoff, waves = self._last
            same = last_inverse.device == inverse.device and last_cutoff == cutoff
            if same and torch.equal(last_inverse, inverse) and torch.equal(last_slab, slab):
                return waves
        waves = lattice_waves(cell, slab, inverse, cutoff)
        self._last = (inverse, slab, cutoff, waves)
        return waves
