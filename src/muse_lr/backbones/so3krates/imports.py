"""The one place where so3krates-torch is imported: it is optional, and it has a side effect.

Importing its transformer sets torch's print options for the whole process; they are put back.
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
    """A module of so3krates-torch, imported without leaving a trace in the process.

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
            "the so3krates backbone needs so3krates-torch, which is not installed: "
            "pip install 'muse_lr[so3krates]'"
        ) from error
    finally:
        torch.set_default_dtype(dtype)
