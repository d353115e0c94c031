"""Loading of models that other packages saved as pickles; only trusted files are opened."""

from __future__ import annotations

import pickle
import warnings
from collections.abc import Collection
from pathlib import Path
from typing import Any

import torch
from pydantic import ValidationError

from muse_lr.backbones.base import BackboneConfig
from muse_lr.errors import InputError


def require_trust(path: Path, trust: bool, package: str) -> None:
    """Check that a file exists and is trusted, before any of its code runs.

    Raises
    ------
    InputError
        If the file does not exist or is not trusted.
    """
    if not path.is_file():
        raise InputError(f"{path}: no such file")
    if not trust:
        raise InputError(
            f"{path}: a model saved by {package} is a pickle, and loading it runs the code in it; "
            "set trust: true in the backbone section if you trust the source of the file"
        )


def unpickle(path: Path, package: str, advice: str = "") -> Any:
    """Load a trusted file. The package that saved it must be imported already.

    Parameters
    ----------
    path : Path
    package : str
        Name of the package, for error messages.
    advice : str
        Added to the error message if the file was saved with another version of the package.

    Raises
    ------
    InputError
        If the file cannot be read.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return torch.load(path, map_location="cpu", weights_only=False)
    except (pickle.UnpicklingError, EOFError, RuntimeError, OSError, KeyError, ValueError) as error:
        line = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise InputError(f"{path}: not a readable model of {package} ({line})") from error
    except (ImportError, AttributeError) as error:
        raise InputError(
            f"{path}: saved with other packages or another version of {package} ({error}){advice}"
        ) from error


def refuse_contradictions(
    given: BackboneConfig, read: BackboneConfig, own_keys: Collection[str], path: str | Path
) -> None:
    """Check that no given hyperparameter contradicts the file.

    Parameters
    ----------
    given, read : BackboneConfig
        The section of the configuration, and the hyperparameters of the file.
    own_keys : collection of str
        Keys that are not compared, since they are also allowed with a file.
    path : str or Path

    Raises
    ------
    InputError
        If a hyperparameter differs from both the file and the default.
    """
    for name in sorted(given.model_fields_set - set(own_keys)):
        value, default = getattr(given, name), type(given).model_fields[name].default
        # A value equal to the default may come from a configuration written out in full.
        if value != getattr(read, name) and value != default:
            raise InputError(
                f"backbone.{name} is {value!r}, but {path} has {getattr(read, name)!r}; "
                "remove the key from the configuration"
            )


def unsupported(error: ValidationError, path: Path) -> InputError:
    """An error that names the first hyperparameter of the file that is not supported."""
    first = error.errors()[0]
    where = ".".join(str(part) for part in first["loc"])
    return InputError(f"{path}: {where} {first['input']!r} is not supported: {first['msg']}")
