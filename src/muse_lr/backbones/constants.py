"""Double-precision constants in modules of other packages."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Self

import torch
from torch import Tensor, nn


class ExactConstants(nn.Module):
    """A module that restores its constants from float64 copies at every cast.

    Clebsch-Gordan coefficients and similar constants are buffers of the blocks of mace-torch and
    so3krates-torch. A cast to single precision and back, or a file in single precision, would
    round them permanently. The constants are not part of the state dict.
    """

    _constants: dict[str, Tensor]

    def keep_constants(self, learned: Callable[[str], bool] = lambda name: False) -> None:
        """Treat all buffers as constants, except those for whose name ``learned`` is true."""
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
        """Cast or move the module, then copy the constants from their float64 originals."""
        super()._apply(fn, recurse)
        with torch.no_grad():
            for name, buffer in self.named_buffers():
                if name in self._constants and not buffer.is_meta:
                    buffer.copy_(self._constants[name])
        return self


@contextmanager
def double_precision() -> Iterator[None]:
    """Set the default dtype to float64, so that modules are built with exact constants."""
    dtype = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        yield
    finally:
        torch.set_default_dtype(dtype)
