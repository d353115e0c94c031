"""k vectors of a lattice and the phases of the atoms."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from muse_lr.electrostatics.base import RECIPROCAL_TAPER
from muse_lr.errors import InputError
from muse_lr.math.switching import switch_off

#: Factor for the reciprocal cutoff of slabs, which makes their energy independent of L.
SLAB_RECIPROCAL = 1.3
#: Largest number of k vectors (without -k) of one structure. Their sum takes minutes.
WAVE_LIMIT = 50_000_000


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

    def keep(self, pairs: Tensor | slice) -> WaveNumbers:
        """Select pairs with a mask (k23,) of bool or a slice."""
        return replace(self, pairs=self.pairs[pairs])

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
    outer = outer_cutoff(slab, cutoff)[:, None]
    numbers = wave_numbers(highest_numbers(cell, slab, cutoff), inverse.detach())
    squared = _squared_waves(numbers.all, inverse)
    within = (squared.detach() <= outer.square()).any(0).unflatten(0, (len(numbers.first), -1))
    pairs = within.any(0)
    kept = pairs.repeat(len(numbers.first)).nonzero()[:, 0]
    squared, numbers = squared.index_select(1, kept), numbers.keep(pairs)
    return _with_window(numbers, squared, slab, cutoff)


def waves_of(numbers: WaveNumbers, slab: Tensor, inverse: Tensor, cutoff: float) -> Waves:
    """k vectors with these integers; arguments as in :func:`lattice_waves`."""
    return _with_window(numbers, _squared_waves(numbers.all, inverse), slab, cutoff)


def _with_window(numbers: WaveNumbers, squared: Tensor, slab: Tensor, cutoff: float) -> Waves:
    reach = torch.where(slab, SLAB_RECIPROCAL * cutoff, cutoff)[:, None]
    grid = numbers.all
    zero = (grid == 0).all(1)
    squared = torch.where(zero, 1.0, squared)
    multiplicity = torch.where(grid[:, 2] > 0, 2.0, 1.0) * ~zero
    window = switch_off(squared.sqrt(), reach, RECIPROCAL_TAPER * reach)
    return Waves(numbers, squared, multiplicity * window)


def outer_cutoff(slab: Tensor, cutoff: float) -> Tensor:
    """(G,) |k| at which the window ends, 1/A."""
    return RECIPROCAL_TAPER * torch.where(slab, SLAB_RECIPROCAL * cutoff, cutoff)


def highest_numbers(cell: Tensor, slab: Tensor, cutoff: float) -> tuple[int, int, int]:
    """Largest n_1, n_2 and n_3 of k vectors within the cutoff of any graph."""
    lengths = torch.linalg.vector_norm(cell.detach(), dim=2)
    outer = outer_cutoff(slab, cutoff)[:, None]
    n1, n2, n3 = (outer / (2 * math.pi) * lengths).amax(0).floor().long().tolist()
    return n1, n2, n3


@torch.no_grad()
def many_numbers(cell: Tensor, slab: Tensor, inverse: Tensor, cutoff: float) -> WaveNumbers:
    """Integers as in :func:`lattice_waves`, without a tensor of all k vectors in a box."""
    numbers = wave_numbers(highest_numbers(cell, slab, cutoff), inverse)
    metric = (2 * math.pi) ** 2 * inverse.mT @ inverse
    outer = outer_cutoff(slab, cutoff)
    kept = torch.zeros_like(numbers.pairs[:, 0], dtype=torch.bool)
    n2, n3 = numbers.pairs.unbind(1)
    for form, largest in zip(metric, outer.tolist(), strict=True):
        # The shortest k of a line is the one whose n_1 is closest to the minimum of k^2.
        n1 = -((form[0, 1] * n2 + form[0, 2] * n3) / form[0, 0]).round()
        squared = form[0, 0] * n1 * n1 + form[1, 1] * n2 * n2 + form[2, 2] * n3 * n3
        squared += 2 * (form[0, 1] * n1 * n2 + form[0, 2] * n1 * n3 + form[1, 2] * n2 * n3)
        kept |= squared <= largest**2
    return numbers.keep(kept)


def check_number_of_waves(cell: Tensor, slab: Tensor, counts: Tensor, cutoff: float) -> None:
    """Refuse structures with too many k vectors.

    Parameters
    ----------
    cell : Tensor
        (G, 3, 3) in A.
    slab : Tensor
        (G,) of bool.
    counts : Tensor
        (G,) number of atoms.
    cutoff : float
        |k| up to which the sum is complete for crystals, 1/A.

    Raises
    ------
    InputError
        If a structure has more than ``WAVE_LIMIT``. The message names the box and the number.
    """
    cell = cell.detach()
    volume = torch.linalg.det(cell).abs()
    waves = volume * outer_cutoff(slab, cutoff) ** 3 / (12 * math.pi**2)
    graph = int(waves.argmax())
    if float(waves[graph]) <= WAVE_LIMIT:
        return
    box = " x ".join(f"{length:.4g}" for length in torch.linalg.vector_norm(cell[graph], dim=1))
    kind = "slab in a box" if bool(slab[graph]) else "periodic box"
    raise InputError(
        f"a {kind} of {box} Å with {int(counts[graph])} atoms needs {float(waves[graph]):.2g} k "
        f"vectors in a lattice sum, but at most {WAVE_LIMIT:.0e} are supported: use a smaller box, "
        "a larger width of the charges or probes, or open boundaries (pbc=False)"
    )


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
