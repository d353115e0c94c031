"""Model files: a version, a configuration and tensors; loading one executes nothing."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import torch

from muse_lr.config.schema import validate
from muse_lr.errors import InputError
from muse_lr.model.energy_model import EnergyModel
from muse_lr.train.config import ModelConfig
from muse_lr.utils.files import atomic_write

FORMAT = "muse_lr model"
#: Raised whenever a file of the previous version could be read wrongly.
FORMAT_VERSION = 1
#: Raised where models of some configurations began to give other energies; files from before are
#: refused if theirs is one of those. 1: charges on coarse nodes.
REVISION = 1


def model_state(model: EnergyModel) -> dict[str, Any]:
    """The model as plain data and tensors."""
    return {
        "format": FORMAT,
        "version": FORMAT_VERSION,
        "revision": REVISION,
        "config": model.config.model_dump(mode="json"),
        "dtype": str(model.dtype).removeprefix("torch."),
        "state": {key: value.detach().cpu() for key, value in model.state_dict().items()},
    }


def save_model(model: EnergyModel, path: str | Path) -> None:
    """Write a model file, whole or not at all."""
    write_tensors(model_state(model), path)


def write_tensors(data: dict[str, Any], path: str | Path) -> None:
    """Write plain data and tensors, whole or not at all."""
    buffer = io.BytesIO()  # torch hides the errors of a file that it writes itself
    torch.save(data, buffer)
    with atomic_write(path, "wb") as handle:
        handle.write(buffer.getbuffer())


def load_model(path: str | Path, device: str | torch.device = "cpu") -> EnergyModel:
    """Read a model file.

    The file is read with ``weights_only=True``: whatever it contains, no code of it runs.

    Parameters
    ----------
    path : str or Path
    device : str or torch.device

    Returns
    -------
    EnergyModel
        In evaluation mode.

    Raises
    ------
    InputError
        If the file is missing, damaged, of another version or no model file at all.
    """
    data = read_tensors(path, FORMAT, FORMAT_VERSION)
    return restore_model(data, str(path)).to(device).eval()


def restore_model(data: dict[str, Any], source: str) -> EnergyModel:
    """The model in what :func:`model_state` gave."""
    try:
        config = validate(ModelConfig, data["config"], source)
        if data.get("revision", 0) < REVISION:
            _refuse_other_energies(config, source)
        dtype, state = getattr(torch, data["dtype"]), data["state"]
        if getattr(config.backbone, "file", None) is not None:
            raise InputError(f"{source} names another file of weights, which no model file does")
        model = EnergyModel(config).to(dtype)
        model.load_state_dict(state)
    except (KeyError, TypeError, AttributeError, RuntimeError) as error:
        reason = str(error).split("\n")[0]
        raise InputError(f"{source}: damaged or not a model of this version: {reason}") from error
    return model


def _refuse_other_energies(config: ModelConfig, source: str) -> None:
    """Refuse what an older muse_lr trained and this one would evaluate otherwise."""
    for name, head in config.heads.items():
        if getattr(head, "kind", None) == "coulomb" and getattr(head, "level", 0) > 0:
            raise InputError(
                f"{source}: head {name!r} acts on coarse nodes, on which one atom no longer repels "
                "itself; the model would give other energies than it was trained to: train it again"
            )


def read_tensors(path: str | Path, file_format: str, version: int) -> dict[str, Any]:
    """The content of a file of plain data and tensors, its format and version checked."""
    path = Path(path)
    try:
        data = torch.load(path, map_location="cpu", weights_only=True)
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror or error}") from error
    except Exception as error:  # whatever a damaged or hostile file provokes
        raise InputError(
            f"{path} is no file of muse_lr, or it is damaged (it was not executed)"
        ) from error
    if not isinstance(data, dict) or data.get("format") != file_format:
        raise InputError(f"{path} is no {file_format} file")
    if data.get("version") != version:
        raise InputError(
            f"{path} has version {data.get('version')} of the format, this muse_lr reads version "
            f"{version}: use the muse_lr that wrote it"
        )
    return data
