"""Checkpoints: the state that an interrupted run needs to continue exactly."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from muse_lr.errors import InputError
from muse_lr.model.serialization import read_tensors, write_tensors
from muse_lr.train.work import Work

FORMAT = "muse_lr checkpoint"
FORMAT_VERSION = 3
#: Data that the steps used -> key of the configuration that names their files.
USED = {"training data": "data.train", "validation data": "data.valid"}


@dataclass
class Progress:
    """State of a run at the end of an epoch.

    Attributes
    ----------
    epoch, step : int
        Number of finished epochs and steps.
    best_epoch : int
        Epoch with the lowest validation loss.
    best_loss : float
        Lowest validation loss.
    seconds : float
        Training time so far, including earlier parts of a resumed run.
    history : list of dict
        One row per epoch, as in metrics.csv.
    best_state : dict
        Averaged weights of the best epoch.
    work : Work
        What the steps used.
    initial_weights : dict of str to str
        Digest of the weights before the first step, by part.
    """

    epoch: int = 0
    step: int = 0
    best_epoch: int = 0
    best_loss: float = float("inf")
    seconds: float = 0.0
    history: list[dict[str, float]] = field(default_factory=list)
    best_state: dict[str, Tensor] = field(default_factory=dict)
    work: Work = field(default_factory=Work)
    initial_weights: dict[str, str] = field(default_factory=dict)


def save_checkpoint(
    path: Path,
    progress: Progress,
    model: dict[str, Any],
    optimizer: dict[str, Any],
    average: dict[str, Tensor],
    schedule: dict[str, float],
    config: dict[str, Any],
    fingerprints: dict[str, str],
) -> None:
    """Write the checkpoint atomically, including the state of the random generator."""
    data = {
        "format": FORMAT,
        "version": FORMAT_VERSION,
        "progress": {**vars(progress), "work": dict(vars(progress.work))},
        "model": model,
        "optimizer": optimizer,
        "average": average,
        "schedule": schedule,
        "config": config,
        "fingerprints": fingerprints,
        "random_state": torch.get_rng_state(),
    }
    write_tensors(data, path)


def load_checkpoint(
    path: Path, config: dict[str, Any], fingerprints: dict[str, str]
) -> dict[str, Any]:
    """Read a checkpoint and restore the state of the random generator.

    Parameters
    ----------
    path : Path
    config : dict
        Configuration of the run, completed from its data.
    fingerprints : dict of str to str
        Digests of its data.

    Raises
    ------
    InputError
        If the file is damaged, of another version, of another configuration, or of other data. The
        message names the first key that differs, or the data.
    """
    data = read_tensors(path, FORMAT, FORMAT_VERSION)
    missing = {"config", "fingerprints", "progress", "random_state", "model"} - data.keys()
    if missing:
        raise InputError(f"{path} is damaged: {', '.join(sorted(missing))} missing")
    # The data come before the model section, whose E0s and elements may be those of the data.
    different = _first_difference(_without_model(data["config"]), _without_model(config))
    if not different:
        _check_data(path, data["fingerprints"], fingerprints)
        different = _first_difference(data["config"], config)
    if different:
        raise InputError(
            f"{path} belongs to another configuration ({different} differs): train into another "
            "training.directory, or restore the configuration"
        )
    saved = data["progress"]
    data["progress"] = Progress(**{**saved, "work": Work(**saved["work"])})
    torch.set_rng_state(data["random_state"])
    return data


def _without_model(config: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in config.items() if key != "model"}


def _check_data(path: Path, old: dict[str, str], new: dict[str, str]) -> None:
    changed = [f"{name} ({key})" for name, key in USED.items() if old.get(name) != new[name]]
    if changed:
        raise InputError(
            f"{path} was written with other {' and '.join(changed)}; the files have changed since: "
            "restore them, or train from the start in another training.directory"
        )


def _first_difference(old: Any, new: Any, path: str = "") -> str:
    if isinstance(old, dict) and isinstance(new, dict):
        for key in [*new, *(key for key in old if key not in new)]:
            inner = f"{path}.{key}" if path else str(key)
            if key not in old or key not in new:
                return inner
            found = _first_difference(old[key], new[key], inner)
            if found:
                return found
        return ""
    return "" if old == new else path
