"""Import of so3krates-torch, which is optional.

All other modules import it through this one. Its transformer module sets the print options of torch
for the whole process. They are restored here.
"""

from __future__ import annotations

from functools import cache
from importlib import import_module
from types import ModuleType

import torch
from torch._tensor_str import printoptions

from muse_lr.errors import InputError

PACKAGE = "so3krates_torch"


@cache
def import_so3krates(module: str) -> ModuleType:
    """Import a module of so3krates-torch and restore the global settings that it changes.

    Parameters
    ----------
    module : str
        Dotted name inside the package, such as ``blocks.radial_basis``.

    Raises
    ------
    InputError
        If so3krates-torch is not installed.
    """
    dtype = torch.get_default_dtype()
    try:
        with printoptions():
            return import_module(f"{PACKAGE}.{module}")
    except ModuleNotFoundError as error:
        if error.name is None or error.name.split(".")[0] != PACKAGE:
            raise
        raise InputError(
            "the so3krates backbone needs so3krates-torch, which is not installed; "
            "run pip install 'muse_lr[so3krates]'"
        ) from error
    finally:
        torch.set_default_dtype(dtype)
