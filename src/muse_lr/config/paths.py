"""Paths in configurations: relative to their file, with ${...} expanded."""

from __future__ import annotations

import os
import re
from pathlib import Path

from muse_lr.errors import InputError

VARIABLE = re.compile(r"\$\{(\w+)\}")


def expand_path(path: str, base: Path) -> str:
    """An absolute path: ``${NAME}`` is the environment's variable, relative to ``base``.

    ``${MUSE_LR_DATASETS}`` is the data that ships with the package.

    Raises
    ------
    InputError
        If a variable is not set.
    """
    return str((base / VARIABLE.sub(lambda match: _value(match[1]), path)).resolve())


def reference_data() -> Path:
    """The directory of the reference data, from the environment variable ``MUSE_LR_DATA``.

    A relative value is relative to the working directory.

    Raises
    ------
    InputError
        If the variable is not set.
    """
    return Path(_environment_variable("MUSE_LR_DATA")).resolve()


def _value(name: str) -> str:
    if name == "MUSE_LR_DATASETS":
        from muse_lr.datasets import directory

        return str(directory())
    if name == "MUSE_LR_DATA":
        return str(reference_data())
    return _environment_variable(name)


def _environment_variable(name: str) -> str:
    value = os.environ.get(name)
    if not value:
        raise InputError(f"the environment variable {name} is not set: export {name}=...")
    return value
