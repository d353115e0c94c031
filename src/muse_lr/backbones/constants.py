"""Constants of blocks that others wrote: kept exact whatever happens to the model around them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Self

import torch
from torch import Tensor, nn


class ExactConstants(nn.Module):
    """A module whose constants start from float64 at every cast, and are in no file of weights.

    Clebsch-Gordan coefficients and the like are buffers of the blocks of mace-torch and
    so3krates-torch. Cast to single precision and back, or loaded from a file in single precision,
    they would be rounded for good.
    """

    _constants: dict[str, Tensor]

    def keep_constants(self, learned: Callable[[str], bool] = lambda name: False) -> None:
        """Make the buffers that are there constants, all but those that are ``learned`` by name."""
        for path, block in list(self.named_modules()):
            for name, value in list(block.named_buffers(recurse=False)):
                if not learned(f"{path}.{name}" if path else name):
                    block.register_buffer(name, value, persistent=False)
        self._constants = {
            name: value.detach().clone()
            for name, value in self.named_buffers()
            if not learned(name)
        }

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        """Cast or move; constants are taken from their float64 originals again."""
        super()._apply(fn, recurse)
        with torch.no_grad():
            for name, buffer in self.named_buffers():
                if name in self._constants and not buffer.is_meta:
                    buffer.copy_(self._constants[name])
        return self


@contextmanager
def double_precision() -> Iterator[None]:
    """Build modules in float64, so that their constants are those of full precision."""
    dtype = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        yield
    finally:
        torch.set_default_dtype(dtype)
