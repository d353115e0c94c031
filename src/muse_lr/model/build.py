"""Build models from configurations.

>>> from muse_lr.model.build import build_model
>>> charges = {"kind": "fixed", "by_element": {"Na": 1, "Cl": -1}, "width": 0}
>>> model = build_model({"elements": ["Na", "Cl"], "backbone": None, "charges": charges})
>>> model.cutoff
6.0
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from muse_lr.config.schema import validate
from muse_lr.config.yaml import load_yaml
from muse_lr.errors import InputError, described, nearest
from muse_lr.model.config import ModelConfig, resolve_files
from muse_lr.model.energy_model import EnergyModel

#: Sections of a complete configuration file. Only the first describes the model.
SECTIONS = ("model", "data", "training")


def build_model(source: str | Path | Mapping[str, Any] | ModelConfig) -> EnergyModel:
    """Build an untrained model from a configuration.

    Parameters
    ----------
    source : path, mapping or ModelConfig
        A configuration file or its content. It holds all sections or only the content of the
        ``model`` section.

    Raises
    ------
    InputError
        If the configuration is invalid, if it is not a configuration, or if its parts are not
        compatible.
    """
    if isinstance(source, ModelConfig):
        return EnergyModel(source)
    if not isinstance(source, (str, Path, Mapping)):
        inner = isinstance(getattr(source, "model", None), ModelConfig)
        hint = ": give its attribute .model" if inner else ""
        raise InputError(
            "build_model takes a configuration file, a mapping such as {'elements': ['H', 'O']} or "
            f"a ModelConfig, not {described(source)}{hint}"
        )
    if not isinstance(source, Mapping) and Path(source).suffix == ".pt":
        raise InputError(f"{source} is a model file: read it with muse_lr.load_model")
    name = "" if isinstance(source, Mapping) else str(source)
    raw = dict(source) if isinstance(source, Mapping) else load_yaml(source)
    section = raw
    if set(raw) & set(SECTIONS):
        for key in raw:
            if key not in SECTIONS:
                where = f"{name}: " if name else ""
                raise InputError(f"{where}{key}: unknown key{nearest(key, SECTIONS)}")
        section = raw.get("model") or {}
    base = Path(name).parent if name else Path()
    return EnergyModel(resolve_files(validate(ModelConfig, section, name), base))
