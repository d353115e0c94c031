"""The ``model`` section of a configuration: the parts of one energy model."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel, Field, SerializeAsAny, field_validator

from muse_lr.backbones.base import BackboneConfig
from muse_lr.charges.base import ChargesConfig
from muse_lr.config.paths import expand_path
from muse_lr.config.registry import BACKBONES, CHARGES, HEADS, MULTISCALE, kinds, lookup
from muse_lr.config.schema import PartError, Strict, check_elements, check_name, validate_part
from muse_lr.errors import InputError
from muse_lr.heads.base import HeadConfig
from muse_lr.multiscale.base import MultiscaleConfig

#: Names of energy terms that a head cannot have.
RESERVED_NAMES = ("e0", "backbone", "multiscale", "charges", "energy", "reference")
DEFAULT_KINDS = {"backbone": "painn", "multiscale": "muse", "charges": "conserved"}


def _part(slot: str, value: Any, default_kind: str | None) -> Any:
    """Validate the section of a part with the schema of its kind."""
    if value is None or isinstance(value, BaseModel):
        return value
    if not isinstance(value, Mapping):
        raise PartError([("", f"expected a mapping or null, got {value!r}")])
    kind = value.get("kind", default_kind)
    if kind is None:
        raise PartError([("kind", "this key is needed")])
    try:
        schema = lookup(slot, kind).Config
    except InputError as error:
        raise PartError([("kind", str(error))]) from error
    return validate_part(schema, {**value, "kind": kind})


class ModelConfig(Strict):
    """Keys of the energy model."""

    elements: tuple[str, ...] | None = Field(
        None, description="Chemical symbols. Default: the elements of the training data."
    )
    e0: dict[str, float] | None = Field(
        None,
        description="Energy of each isolated atom, eV. Default: a least-squares fit to the "
        "training data, or the energies in the backbone's file.",
    )
    backbone: SerializeAsAny[BackboneConfig] | None = Field(
        default_factory=lambda: _part("backbone", {}, "painn"),
        description=f"Local features and energy of the atoms: {', '.join(BACKBONES)} or null.",
    )
    multiscale: SerializeAsAny[MultiscaleConfig] | None = Field(
        None,
        description=f"Long-range message passing: {', '.join(MULTISCALE)} or null.",
    )
    charges: SerializeAsAny[ChargesConfig] | None = Field(
        default_factory=lambda: _part("charges", {}, "conserved"),
        description=f"Model of the charge density: {', '.join(CHARGES)} or null.",
    )
    heads: dict[str, SerializeAsAny[HeadConfig] | None] = Field(
        default_factory=lambda: {"coulomb": _part("head", {}, "coulomb")},
        description=f"Name -> energy head: {', '.join(HEADS)}. null disables a head.",
    )

    @field_validator("backbone", "charges", "multiscale", mode="before")
    @classmethod
    def _resolve_part(cls, value: Any, info: Any) -> Any:
        return _part(info.field_name, value, DEFAULT_KINDS[info.field_name])

    @field_validator("heads", mode="before")
    @classmethod
    def _resolve_heads(cls, value: Any) -> Any:
        if value is None:
            return {}
        if not isinstance(value, Mapping):
            raise PartError([("", "expected a mapping of names to heads")])
        heads = {}
        for name, section in value.items():
            if name in RESERVED_NAMES or str(name).startswith("backbone."):
                raise PartError([(str(name), "this name is taken by a part of the energy")])
            try:
                check_name(str(name), "head")
                heads[name] = _part("head", section, name if name in kinds("head") else None)
            except PartError as error:
                inner = [(f"{name}.{p}" if p else name, m) for p, m in error.problems]
                raise PartError(inner) from error
            except InputError as error:
                raise PartError([(str(name), str(error))]) from error
        return heads

    @field_validator("elements", mode="after")
    @classmethod
    def _known_elements(cls, value: tuple[str, ...] | None) -> tuple[str, ...] | None:
        check_elements(value or ())
        if value is not None and (len(set(value)) != len(value) or not value):
            raise InputError("list at least one element, and each element only once")
        return value


def resolve_files(model: ModelConfig, base: Path) -> ModelConfig:
    """Copy of ``model`` in which the path of the backbone's weights file is absolute.

    A relative path is relative to ``base``.
    """
    if model.backbone is None or model.backbone.weights_file is None:
        return model
    backbone = model.backbone.with_weights_file(expand_path(model.backbone.weights_file, base))
    return model.model_copy(update={"backbone": backbone})
