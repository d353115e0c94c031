"""Model files, with a format version, the configuration and tensors; loading runs no code."""

from __future__ import annotations

import io
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from muse_lr.config.plugins import external_kinds, trusting
from muse_lr.config.registry import origins
from muse_lr.config.schema import validate
from muse_lr.errors import InputError, described, nearest_file
from muse_lr.model.config import ModelConfig
from muse_lr.model.energy_model import EnergyModel
from muse_lr.utils.files import atomic_write

FORMAT = "muse_lr model"
#: Increased whenever a file of the previous version could be misread.
FORMAT_VERSION = 2


def model_state(model: EnergyModel) -> dict[str, Any]:
    """Serialize the model to plain data and tensors."""
    config = model.config.model_dump(mode="json")
    return {
        "format": FORMAT,
        "version": FORMAT_VERSION,
        "config": config,
        "plugins": origins(config),
        "revisions": {name: part.revision for name, part in model.parts.named().items()},
        "dtype": str(model.dtype).removeprefix("torch."),
        "state": {key: value.detach().cpu() for key, value in model.state_dict().items()},
    }


def save_model(model: EnergyModel, path: str | Path) -> None:
    """Write a model file atomically.

    Raises
    ------
    InputError
        If the file cannot be written, or if ``model`` is not a model.
    """
    if not isinstance(model, EnergyModel) or not isinstance(path, (str, Path)):
        raise InputError(
            "save_model takes the model and the path, save_model(model, 'model.pt'), not "
            f"{described(model)} and {described(path)}"
        )
    write_tensors(model_state(model), path)


def write_tensors(data: dict[str, Any], path: str | Path) -> None:
    """Write plain data and tensors atomically."""
    buffer = io.BytesIO()  # torch.save hides write errors if it opens the file itself
    torch.save(data, buffer)
    with atomic_write(path, "wb") as handle:
        handle.write(buffer.getbuffer())


def load_model(
    path: str | Path, device: str | torch.device = "cpu", trust: bool = False
) -> EnergyModel:
    """Read a model file.

    The file is read with ``weights_only=True``, which runs no code. Parts of installed
    distributions are found by name. A part named as ``package.module:Class`` runs code that the
    file selects, so it is loaded only with ``trust``.

    Parameters
    ----------
    path : str or Path
    device : str or torch.device
    trust : bool
        Whether to load parts named as ``package.module:Class``.

    Returns
    -------
    EnergyModel
        In evaluation mode.

    Raises
    ------
    InputError
        If the file is missing, damaged, of another version or not a model file, or if it names a
        part that is not installed or not trusted.
    """
    if not isinstance(path, (str, Path)):
        raise InputError(
            f"load_model takes the path of a model file, not {described(path)}{_made(path)}"
        )
    if Path(path).suffix in (".yaml", ".yml"):
        raise InputError(
            f"{path} is a configuration: muse_lr.build_model makes an untrained model of it"
        )
    data = read_tensors(path, FORMAT, FORMAT_VERSION)
    return restore_model(data, str(path), trust).to(device).eval()


def as_model(source: Any, trust: bool = False) -> EnergyModel:
    """Return a model, or read it if its path is given.

    Raises
    ------
    InputError
        If ``source`` is neither. The message says what to give instead.
    """
    if isinstance(source, EnergyModel):
        return source
    if isinstance(source, (str, Path)):
        return load_model(source, trust=trust)
    raise InputError(
        f"an EnergyModel or the path of a model file is needed, not {described(source)}"
        f"{_made(source)}"
    )


def _made(source: Any) -> str:
    """How to get a model from something else, for a message."""
    if isinstance(source, EnergyModel):
        return ", which needs no loading"
    if isinstance(source, (Mapping, ModelConfig)):
        return ": muse_lr.build_model makes a model of a configuration"
    if isinstance(getattr(source, "model", None), EnergyModel):
        return ": give its attribute .model"
    return ""


def restore_model(data: dict[str, Any], source: str, trust: bool = False) -> EnergyModel:
    """Build the model from the output of :func:`model_state`."""
    try:
        with trusting(trust):
            return _restore(data, source, trust)
    except (KeyError, TypeError, AttributeError, RuntimeError) as error:
        reason = str(error).split("\n")[0]
        raise InputError(f"{source}: damaged or not a model of this version: {reason}") from error


def _restore(data: dict[str, Any], source: str, trust: bool) -> EnergyModel:
    _check_plugins(data, source, trust)
    config = validate(ModelConfig, data["config"], source)
    dtype, state = getattr(torch, data["dtype"]), data["state"]
    if config.backbone is not None and config.backbone.weights_file is not None:
        raise InputError(
            f"{source} refers to another file of weights, which is not allowed in a model file"
        )
    model = EnergyModel(config).to(dtype)
    _check_revisions(data.get("revisions", {}), model, source)
    model.load_state_dict(state)
    return model


def _check_revisions(then: Mapping[str, int], model: EnergyModel, source: str) -> None:
    """Raise an error for a part whose equations have changed since the file was written."""
    for name, part in model.parts.named().items():
        if then.get(name, 1) != part.revision:
            raise InputError(
                f"{source}: the equations of {name} have changed since this "
                "file was written, and the same weights give other energies: train again, or use "
                "the muse_lr that wrote it"
            )


def _check_plugins(data: dict[str, Any], source: str, trust: bool) -> None:
    """Raise an error for untrusted or missing parts, and warn about other versions."""
    for slot, kind in external_kinds(data["config"]):
        if ":" in kind and not trust:
            raise InputError(
                f"{source} would run the code of the {slot} {kind}: if you trust it, load the file "
                "with trust=True or --trust"
            )
    now = {(item["slot"], item["kind"]): item for item in origins(data["config"])}
    for then in data.get("plugins", []):
        found = now.get((then["slot"], then["kind"]))
        owner = f"{then['distribution']} {then['version']}".strip()
        if found is None:
            raise InputError(
                f"{source} needs the {then['slot']} {then['kind']!r} of {owner}, which is not "
                "installed"
            )
        if (found["distribution"], found["version"]) != (then["distribution"], then["version"]):
            other = f"{found['distribution']} {found['version']}".strip()
            warnings.warn(
                f"{source} was written with the {then['slot']} {then['kind']!r} of "
                f"{owner or 'a file'}; the installed version is {other or 'a file'}",
                stacklevel=4,
            )


def read_tensors(path: str | Path, file_format: str, version: int) -> dict[str, Any]:
    """Read a file of plain data and tensors, and check its format and version."""
    path = Path(path)
    try:
        data = torch.load(path, map_location="cpu", weights_only=True)
    except OSError as error:
        near = nearest_file(path) if isinstance(error, FileNotFoundError) else ""
        raise InputError(f"cannot read {path}: {error.strerror or error}{near}") from error
    except Exception as error:  # a damaged or malicious file can raise any exception
        raise InputError(
            f"{path} is not a muse_lr file, or it is damaged (it was not executed)"
        ) from error
    if not isinstance(data, dict) or data.get("format") != file_format:
        raise InputError(f"{path} is no {file_format} file")
    if data.get("version") != version:
        raise InputError(
            f"{path} has version {data.get('version')} of the format, this muse_lr reads version "
            f"{version}: use the muse_lr that wrote it"
        )
    return data
