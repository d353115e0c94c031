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


def _value(name: str) -> str:
    if name == "MUSE_LR_DATASETS":
        from muse_lr.datasets import directory

        return str(directory())
    if name == "MUSE_LR_DATA":
        return str(_reference_data())
    value = os.environ.get(name)
    if not value:
        raise InputError(
            f"the configuration names ${{{name}}}, which is not set: export {name}=..."
        )
    return value


def _reference_data() -> Path:
    if os.environ.get("MUSE_LR_DATA"):
        return Path(os.environ["MUSE_LR_DATA"]).resolve()
    default = Path.cwd().parent / "shared" / "data"
    if default.is_dir():
        return default
    raise InputError(
        "the configuration names ${MUSE_LR_DATA}, which is not set: "
        "export MUSE_LR_DATA=/path/to/the/reference/data"
    )
