"""The ``model`` section of a configuration: the parts of one energy model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, Field, SerializeAsAny, field_validator

from muse_lr.backbones.base import BackboneConfig
from muse_lr.charges.base import ChargesConfig
from muse_lr.config.paths import expand_path
from muse_lr.config.registry import BACKBONES, CHARGES, HEADS, MULTISCALE, kinds, lookup
from muse_lr.config.schema import PartError, Strict, check_elements, check_name, validate_part
from muse_lr.errors import InputError, described, nearest
from muse_lr.heads.base import HeadConfig
from muse_lr.multiscale.base import MultiscaleConfig

#: Names of energy terms that a head cannot have.
RESERVED_NAMES = ("e0", "backbone", "multiscale", "charges", "energy", "reference")
#: Values of ``e0`` that are not numbers. All but the last need training data.
E0_SOURCES = ("isolated", "lstsq", "average", "zero")
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
    e0: Literal["isolated", "lstsq", "average", "zero"] | dict[str, float] | None = Field(
        None,
        description="Energy of each isolated atom: element -> eV, or where it comes from. "
        "`isolated`: from neutral training frames of one atom, which are not trained on; `lstsq`: "
        "a least-squares fit to the training data; `average`: the mean energy per atom of the "
        "training data, the same for all elements; `zero`: for interaction energies. Default: the "
        "energies in the backbone's file, else `lstsq`.",
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

    @field_validator("e0", mode="before")
    @classmethod
    def _known_e0(cls, value: Any) -> Any:
        if value is None or (isinstance(value, str) and value in E0_SOURCES):
            return value
        if not isinstance(value, Mapping):
            hint = nearest(value, E0_SOURCES) if isinstance(value, str) else ""
            raise InputError(
                f"{value!r} is none of {', '.join(E0_SOURCES)}, and no mapping of elements to "
                f"energies in eV{hint}"
            )
        check_elements(value)
        for symbol, energy in value.items():
            if isinstance(energy, bool) or not isinstance(energy, (int, float)):
                raise InputError(f"the energy of {symbol} is {energy!r}: a number in eV is needed")
        return value

    @field_validator("elements", mode="before")
    @classmethod
    def _list_of_symbols(cls, value: Any) -> Any:
        if value is None:
            return None
        if not isinstance(value, (list, tuple)):
            raise InputError(f"a list of chemical symbols is needed, such as [H, O], got {value!r}")
        check_elements(value)
        return value

    @field_validator("elements", mode="after")
    @classmethod
    def _known_elements(cls, value: tuple[str, ...] | None) -> tuple[str, ...] | None:
        if value is not None and (len(set(value)) != len(value) or not value):
            raise InputError("list at least one element, and each element only once")
        return value


def e0_numbers(
    e0: Mapping[str, float] | str | None, elements: Sequence[str]
) -> dict[str, float] | None:
    """Energies of ``elements`` in eV; None if they are not given.

    Raises
    ------
    InputError
        If an element has no energy, or if the energies come from training data.
    """
    if e0 is None:
        return None
    if e0 == "zero":
        return dict.fromkeys(elements, 0.0)
    if isinstance(e0, str):
        raise InputError(
            f"model.e0 is {e0}, which needs training data: give numbers to build a model without"
        )
    if not isinstance(e0, Mapping):
        raise InputError(f"E0s map elements to energies in eV, {{'H': -13.6}}, not {described(e0)}")
    check_elements(e0)
    missing = [element for element in elements if element not in e0]
    if missing:
        raise InputError(f"model.e0 has no energy for {', '.join(missing)}")
    return {element: float(e0[element]) for element in elements}


def without_data(model: ModelConfig) -> ModelConfig:
    """Copy of ``model`` that can be built before the E0s are taken from the training data."""
    return model.model_copy(update={"e0": None}) if isinstance(model.e0, str) else model


def resolve_files(model: ModelConfig, base: Path) -> ModelConfig:
    """Copy of ``model`` in which the path of the backbone's weights file is absolute.

    A relative path is relative to ``base``.
    """
    if model.backbone is None or model.backbone.weights_file is None:
        return model
    backbone = model.backbone.with_weights_file(expand_path(model.backbone.weights_file, base))
    return model.model_copy(update={"backbone": backbone})
