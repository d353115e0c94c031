"""Selection of the torch device."""

from __future__ import annotations

import torch

from muse_lr.errors import InputError


def find_device(name: str) -> torch.device:
    """Device for a name such as ``cpu``, ``cuda`` or ``cuda:1``.

    ``auto`` selects a GPU if one is available and the CPU otherwise.

    Raises
    ------
    InputError
        If the device is not available.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        reason = str(error).split("\n")[0]
        raise InputError(f"device {name!r} cannot be used here: {reason}") from error
    return device
