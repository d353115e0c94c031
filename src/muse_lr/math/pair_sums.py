r"""Sums over pairs of a source and a target, as matrix products.

Messages, pooling and unpooling are of the forms

.. math:: B_{krc} = \sum_{e \to k} w_{er} x_{s(e)c}, \qquad
          y_{sc} = \sum_{e: s(e) = s} \sum_r w_{er} z_{k(e)rc}

with the source s and the target k of each pair e, a few weights w (radial functions) and many
channels c. These are one matrix product for each target. Arrays of all pairs and channels are much
larger than all others. They are only formed for a few targets at a time, so that they stay in the
cache, in the derivatives too.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

#: Largest ratio of slots to pairs with one block for each target.
PADDED = 1.5
#: Numbers (slots times channels) that are processed at once: 1 MB in float32 on a CPU.
AT_ONCE, AT_ONCE_ELSEWHERE = 2**18, 2**26


@dataclass(frozen=True)
class Blocks:
    """Places of n rows in blocks of equal width, each with rows of one group.

    Attributes
    ----------
    slot : Tensor
        (n,) slot of each row. The slots of a block are contiguous.
    width : int
        Slots of a block.
    group : Tensor or None
        (n_blocks,) group of each block; None for one block for each group.
    size, count : int
        Numbers of groups and of blocks.
    """

    slot: Tensor
    width: int
    group: Tensor | None
    size: int
    count: int

    def pad(self, values: Tensor) -> Tensor:
        """Put rows into their slots: (n, ...) -> (n_blocks, width, ...), 0 in unused slots."""
        padded = values.new_zeros((self.count * self.width, *values.shape[1:]))
        return padded.index_copy(0, self.slot, values).unflatten(0, (self.count, self.width))

    def sum_blocks(self, values: Tensor) -> Tensor:
        """Sum over the blocks of each group: (n_blocks, ...) -> (size, ...)."""
        if self.group is None:
            return values
        return values.new_zeros((self.size, *values.shape[1:])).index_add(0, self.group, values)

    def of_blocks(self, values: Tensor) -> Tensor:
        """Values of the group of each block: (size, ...) -> (n_blocks, ...)."""
        return values if self.group is None else values.index_select(0, self.group)

    def sum_outer(self, first: Tensor, second: Tensor) -> Tensor:
        """Sum outer products over groups: (n_blocks, width, a), (.., b) -> (size, a, b)."""
        return self.sum_blocks(first.mT @ second)


def blocks(index: Tensor, size: int) -> Blocks:
    """Arrange rows by their group ``index``, (n,) from 0 to ``size`` - 1.

    There is a block for each group if this leaves few slots unused. Otherwise blocks have the mean
    size of the groups, so that at most half of the slots are unused for any sizes.
    """
    n = len(index)
    counts = torch.bincount(index, minlength=size)
    starts = torch.cumsum(counts, 0) - counts
    ordered = bool((index[1:] >= index[:-1]).all())
    order = None if ordered else torch.argsort(index, stable=True)
    rows = index if order is None else index.index_select(0, order)
    offset = torch.arange(n, device=index.device) - starts.index_select(0, rows)
    width, group, count = int(counts.max()) if n else 1, None, size
    if width * size <= PADDED * n:
        slot = rows * width + offset
    else:
        width = max(n // max(size, 1), 1)
        used = -(-counts // width)
        group = torch.repeat_interleave(used)
        count = len(group)
        first = torch.cumsum(used, 0) - used
        slot = first.index_select(0, rows) * width + offset
    if order is not None:
        slot = torch.empty_like(slot).index_copy(0, order, slot)
    return Blocks(slot, width, group, size, count)


@dataclass(frozen=True)
class PairSums:
    """Sums over pairs. Weights are those of :meth:`pad`, with a row for each slot of the blocks.

    Attributes
    ----------
    blocks : Blocks
        Pairs by target.
    sources : Tensor
        (n_slots,) source of the pair in each slot; 0 in unused slots, whose weights are 0.
    n_sources : int
        Number of sources.
    """

    blocks: Blocks
    sources: Tensor
    n_sources: int

    def pad(self, weights: Tensor) -> Tensor:
        """Weights of the slots from those of the pairs: (p, r) -> (n_blocks, width, r)."""
        return self.blocks.pad(weights)

    def gather(self, weights: Tensor, values: Tensor) -> Tensor:
        """Sums B at the targets: (n_blocks, width, r), (n_sources, c) -> (n_targets, r, c)."""
        sums: Tensor = _Gathered.apply(weights, values, self)
        return sums

    def spread(self, weights: Tensor, values: Tensor) -> Tensor:
        """Sums y at the sources: (n_blocks, width, r), (n_targets, r, c) -> (n_sources, c)."""
        sums: Tensor = Spread.apply(weights, values, self)
        return sums

    def take(self, values: Tensor) -> Tensor:
        """Values of the source in each slot: (n_sources, c) -> (n_blocks, width, c)."""
        taken = values.index_select(0, self.sources)
        return taken.unflatten(0, (self.blocks.count, self.blocks.width))

    def portions(self, channels: int, *of_blocks: Tensor) -> Iterator[tuple[Tensor, ...]]:
        """Sources of the slots and (n_blocks, ...) tensors, for the blocks of a portion each."""
        width = self.blocks.width
        if not isinstance(width, int):  # in a compiled program, whose sizes are not known
            return iter([(self.sources, *of_blocks)])
        on_host = self.sources.device.type == "cpu"
        most = AT_ONCE if on_host else AT_ONCE_ELSEWHERE
        step = max(most // max(width * channels, 1), 1)
        parts = [tensor.split(step) for tensor in of_blocks]
        return zip(self.sources.split(step * width), *parts, strict=True)


def arrange_pairs(
    source: Tensor, target: Tensor, n_targets: int, general: bool = False
) -> tuple[Tensor, ...]:
    """Tables of p pairs of ``source`` and ``target``, both (p,), fastest if sorted by target.

    Returns
    -------
    tuple of Tensor
        (p,) slot of each pair, (n_blocks, width) source of the pair in each slot and, unless there
        is one block for each target, (n_blocks,) target of each block. With ``general``, the last
        one is always there.
    """
    arranged = blocks(target, n_targets)
    slots = source.new_zeros(arranged.count * arranged.width)
    sources = slots.index_copy(0, arranged.slot, source)
    found = arranged.slot, sources.view(arranged.count, arranged.width)
    if arranged.group is not None:
        return *found, arranged.group
    return (*found, torch.arange(n_targets, device=target.device)) if general else found


def pair_sums(tables: tuple[Tensor, ...], n_sources: int, n_targets: int) -> PairSums:
    """Sums over the pairs of :func:`arrange_pairs`."""
    slot, sources, *group = tables
    count, width = sources.shape
    arranged = Blocks(slot, width, group[0] if group else None, n_targets, count)
    return PairSums(arranged, sources.flatten(), n_sources)


# Sum_e w_er x_s(e)c g_k(e)rc is linear in each of w, x and g. Its derivatives with respect to one
# of them are the three functions below. Each one has the two others as derivatives, of any order.


class _Gathered(torch.autograd.Function):
    """Derivative with respect to g, (n_targets, r, c)."""

    @staticmethod
    def forward(ctx: Any, weights: Tensor, values: Tensor, pairs: PairSums) -> Tensor:
        ctx.save_for_backward(weights, values)
        ctx.pairs = pairs
        width, channels = weights.shape[1], values.shape[1]
        sums = [
            torch.bmm(first, values.index_select(0, sources).unflatten(0, (-1, width)))
            for sources, first in pairs.portions(channels, weights.mT)
        ]
        return pairs.blocks.sum_blocks(_joined(sums))

    @staticmethod
    def backward(ctx: Any, slope: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        weights, values = ctx.saved_tensors
        first = Weighed.apply(values, slope, ctx.pairs) if ctx.needs_input_grad[0] else None
        second = Spread.apply(weights, slope, ctx.pairs) if ctx.needs_input_grad[1] else None
        return first, second, None


def _joined(parts: list[Tensor]) -> Tensor:
    return parts[0] if len(parts) == 1 else torch.cat(parts)


class Spread(torch.autograd.Function):
    """Derivative with respect to x, (n_sources, c)."""

    @staticmethod
    def forward(ctx: Any, weights: Tensor, values: Tensor, pairs: PairSums) -> Tensor:
        ctx.save_for_backward(weights, values)
        ctx.pairs = pairs
        own = pairs.blocks.of_blocks(values)
        sums = values.new_zeros((pairs.n_sources, values.shape[2]))
        channels = values.shape[2]
        for sources, first, second in pairs.portions(channels, weights, own):
            sums.index_add_(0, sources, torch.bmm(first, second).flatten(0, 1))
        return sums

    @staticmethod
    def backward(ctx: Any, slope: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        weights, values = ctx.saved_tensors
        if all(ctx.needs_input_grad[:2]) and not torch.is_grad_enabled():
            return *_spread_gradient(weights, values, slope, ctx.pairs), None
        first = Weighed.apply(slope, values, ctx.pairs) if ctx.needs_input_grad[0] else None
        second = _Gathered.apply(weights, slope, ctx.pairs) if ctx.needs_input_grad[1] else None
        return first, second, None


def _spread_gradient(
    weights: Tensor, values: Tensor, slope: Tensor, pairs: PairSums
) -> tuple[Tensor, Tensor]:
    """Both gradients of :class:`Spread`, which read the same slopes of each portion."""
    width, own = weights.shape[1], pairs.blocks.of_blocks(values)
    by_weights: list[Tensor] = []
    by_values: list[Tensor] = []
    for sources, first, second in pairs.portions(values.shape[2], weights.mT, own):
        taken = slope.index_select(0, sources).unflatten(0, (-1, width))
        by_weights.append(torch.bmm(second, taken.mT))
        by_values.append(torch.bmm(first, taken))
    return _joined(by_weights).mT, pairs.blocks.sum_blocks(_joined(by_values))


class Weighed(torch.autograd.Function):
    """Derivative with respect to w, (n_blocks, width, r)."""

    @staticmethod
    def forward(ctx: Any, values: Tensor, slopes: Tensor, pairs: PairSums) -> Tensor:
        ctx.save_for_backward(values, slopes)
        ctx.pairs = pairs
        width, own = pairs.blocks.width, pairs.blocks.of_blocks(slopes)
        # Its transpose, since matrix products with few columns are slow.
        found = [
            torch.bmm(slope, values.index_select(0, sources).unflatten(0, (-1, width)).mT)
            for sources, slope in pairs.portions(values.shape[1], own)
        ]
        return _joined(found).mT

    @staticmethod
    def backward(ctx: Any, slope: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        values, slopes = ctx.saved_tensors
        first = Spread.apply(slope, slopes, ctx.pairs) if ctx.needs_input_grad[0] else None
        second = _Gathered.apply(slope, values, ctx.pairs) if ctx.needs_input_grad[1] else None
        return first, second, None
