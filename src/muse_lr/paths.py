"""Paths in configurations: relative to their file, with ${...} expanded."""

from __future__ import annotations

import os
from pathlib import Path

from muse_lr.errors import InputError


def expand_path(path: str, base: Path) -> str:
    """An absolute path: ${...} expanded, relative to ``base``."""
    if "${MUSE_LR_DATASETS}" in path:
        from muse_lr.datasets import directory

        path = path.replace("${MUSE_LR_DATASETS}", str(directory()))
    if "${MUSE_LR_DATA}" in path:
        path = path.replace("${MUSE_LR_DATA}", str(_reference_data()))
    return str((base / path).resolve())


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
