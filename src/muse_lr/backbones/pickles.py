"""Models of other packages: pickles, opened only where they are trusted."""

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
    """Refuse a file that is not there or that the user does not trust, before anything of it runs.

    Raises
    ------
    InputError
    """
    if not path.is_file():
        raise InputError(f"{path}: no such file")
    if not trust:
        raise InputError(
            f"{path}: a model saved by {package} is a pickle, and loading it runs the code in it; "
            "set trust: true in the backbone's section if you trust where it comes from"
        )


def unpickle(path: Path, package: str, advice: str = "") -> Any:
    """What is in a trusted file of a package that is imported already.

    Parameters
    ----------
    path : Path
    package : str
        Its name, for errors.
    advice : str
        What to do about a file of another version of it.

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
        raise InputError(f"{path}: is not a readable model of {package} ({line})") from error
    except (ImportError, AttributeError) as error:
        raise InputError(
            f"{path}: was saved with other packages or another {package} ({error}){advice}"
        ) from error


def refuse_contradictions(
    given: BackboneConfig, read: BackboneConfig, own_keys: Collection[str], path: str | Path
) -> None:
    """Refuse hyperparameters that were given and contradict those of a file.

    Parameters
    ----------
    given, read : BackboneConfig
        As the user wrote it, and as the file has it.
    own_keys : collection of str
        Keys that may be given also with a file.
    path : str or Path

    Raises
    ------
    InputError
    """
    for name in sorted(given.model_fields_set - set(own_keys)):
        value, default = getattr(given, name), type(given).model_fields[name].default
        # A value equal to the default may come from a configuration written out in full.
        if value != getattr(read, name) and value != default:
            raise InputError(
                f"backbone.{name} is {value!r}, but {path} has {getattr(read, name)!r}: "
                "leave the key out"
            )


def unsupported(error: ValidationError, path: Path) -> InputError:
    """The first hyperparameter of a file for which the backbone has no key or value."""
    first = error.errors()[0]
    where = ".".join(str(part) for part in first["loc"])
    return InputError(f"{path}: {where} {first['input']!r} is not supported: {first['msg']}")
