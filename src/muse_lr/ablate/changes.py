"""Changes of the base configuration of a study, by its variants and from the command line."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from muse_lr.data.selection import expand_source, expand_sources
from muse_lr.errors import InputError

#: Keys whose values are paths of data.
DATA_PATHS = ("data.train", "data.valid", "data.test", "data.isolated_atoms")
#: Key that the study sets in every run -> what to use instead of an override.
RESERVED_KEYS = {"training.seed": "seeds in the study file", "training.directory": "--out"}


def refuse_hidden(
    changes: Mapping[str, Any], variants: Mapping[str, Mapping[str, Any]], path: Path
) -> None:
    """Refuse changes for all variants that one of them would hide, or that the study sets itself.

    Parameters
    ----------
    changes : mapping
        Dotted key -> value, from the option ``--set``.
    variants : mapping
        Name -> overrides of the variant.
    path : Path
        Study file, for messages.

    Raises
    ------
    InputError
        If a variant sets the same key, or the section that contains it. A section that it sets to
        null has no keys, which hides nothing.
    """
    for key in changes:
        if key in RESERVED_KEYS:
            raise InputError(f"--set {key}: the study sets this key; use {RESERVED_KEYS[key]}")
        for variant, own in variants.items():
            for other, value in own.items():
                if key == other or (key.startswith(f"{other}.") and value is not None):
                    raise InputError(
                        f"--set {key}: variant {variant!r} sets {other} itself, so that the value "
                        f"would not be the same for all variants: change it in {path}"
                    )


def anchored(key: str, value: Any, directory: Path) -> Any:
    """Make data paths of an override relative to ``directory`` instead of the base."""
    if key not in DATA_PATHS and not key.startswith("data.test."):
        return value
    if isinstance(value, str):
        return expand_source(value, directory)
    if isinstance(value, list):
        if all(isinstance(item, str) for item in value):
            return list(expand_sources(value, directory, key))
        return value  # refused by the schema
    if isinstance(value, dict):
        return {name: anchored(key, item, directory) for name, item in value.items()}
    return value
