"""Read the summary, the learning curves and the configuration of a run directory."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from muse_lr.config.yaml import load_yaml
from muse_lr.errors import InputError

Curves = dict[str, NDArray[np.float64]]

#: Changes of a loss below this fraction do not count.
SLIGHT = 0.02


def read_summary(directory: Path) -> dict[str, Any] | None:
    """Read ``summary.json`` of a finished run; None if the run is not finished.

    Raises
    ------
    InputError
        If the file exists and is not a JSON object.
    """
    path = directory / "summary.json"
    if not path.is_file():
        return None
    try:
        summary = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise InputError(f"{path} is not JSON ({error}); remove it and train again") from error
    if not isinstance(summary, dict):
        raise InputError(f"{path} is not a JSON object; remove it and train again")
    return summary if summary.get("status") == "finished" else None


def late_improvement(summary: Mapping[str, Any], curves: Curves) -> float | None:
    """Fraction by which the validation loss of a run fell in the last fifth of its epochs.

    None for a run whose best epoch is not the last one, and for one that changed by less than
    :data:`SLIGHT`: more epochs promise nothing then.
    """
    losses = curves.get("valid_loss")
    epochs = summary.get("epochs")
    if losses is None or len(losses) < 2 or summary.get("best_epoch") != epochs:
        return None
    before = losses[-1 - max(1, len(losses) // 5)]
    fall = float(1 - losses[-1] / before) if before > 0 else np.nan
    return fall if fall >= SLIGHT else None


def validation_error(summary: Mapping[str, Any], curves: Curves, metric: str) -> float | None:
    """Validation error of a run at its best epoch; None if it was not recorded."""
    column, epochs = curves.get(f"valid_{metric}"), curves.get("epoch")
    best = summary.get("best_epoch")
    if column is None or epochs is None or best is None:
        return None
    found = column[epochs == best]
    return float(found[-1]) if len(found) and np.isfinite(found[-1]) else None


def node_shares(summary: Mapping[str, Any] | None) -> dict[tuple[str, int], float]:
    """Map (test set, level) to the fraction of atoms with a coarse node; levels start at 1."""
    return {
        (test, level): float(share)
        for test, shares in (summary or {}).get("node_share", {}).items()
        for level, share in enumerate(shares, 1)
    }


def read_curves(directory: Path) -> Curves:
    """Read the columns of ``metrics.csv``, each (n_epochs,); empty if there is no file.

    An incomplete last line of an interrupted run is skipped; empty cells are NaN.

    Raises
    ------
    InputError
        If a cell is not a number.
    """
    path = directory / "metrics.csv"
    if not path.is_file():
        return {}
    with path.open(encoding="utf-8", newline="") as handle:
        rows = list(csv.reader(handle))
    if not rows:
        return {}
    names, body = rows[0], [row for row in rows[1:] if len(row) == len(rows[0])]
    try:
        values = [[float(cell) if cell else np.nan for cell in row] for row in body]
    except ValueError as error:
        raise InputError(f"{path}: {error}; remove the run directory and train again") from error
    table = np.asarray(values, dtype=np.float64).reshape(len(body), len(names))
    return {name: table[:, i] for i, name in enumerate(names)}


def read_config(path: Path) -> dict[str, Any]:
    """Read a resolved configuration file as plain dictionaries; empty if there is none."""
    return load_yaml(path) if path.is_file() else {}


def flatten(data: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Flatten nested dictionaries to ``{"a.b.c": value}``; an empty dictionary is a value."""
    flat: dict[str, Any] = {}
    for key, value in data.items():
        name = f"{prefix}{key}"
        if isinstance(value, dict) and value:
            flat.update(flatten(value, f"{name}."))
        else:
            flat[name] = value
    return flat
