"""Overrides of a resolved configuration by dotted keys, for ``--set`` and study variants."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from muse_lr.config.registry import BASES, kinds, lookup
from muse_lr.config.schema import Strict
from muse_lr.config.yaml import format_line, parse_yaml
from muse_lr.errors import InputError, nearest


def parse_assignment(text: str) -> tuple[str, Any]:
    """Split ``"a.b=1e-3"`` into a dotted key and a YAML value."""
    key, separator, value = text.partition("=")
    if not separator or not key.strip():
        raise InputError(f"--set {text!r}: key=value is needed, e.g. training.epochs=10")
    return key.strip(), parse_yaml(value, f"--set {key.strip()}")


def unique(pairs: Iterable[tuple[str, Any]], option: str) -> dict[str, Any]:
    """Collect assignments in a dictionary; a repeated key is an error."""
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found:
            raise InputError(f"{option} names {key!r} twice")
        found[key] = value
    return found


def apply_override(raw: Mapping[str, Any], key: str, value: Any) -> dict[str, Any]:
    """Copy a resolved configuration and set one dotted key.

    A new ``kind`` keeps two groups of keys: those that both kinds inherit from a common base, and
    those that the new kind also has and that differ from the default of the old kind.

    Raises
    ------
    InputError
        If the key does not exist in the configuration.
    """
    head, _, rest = key.partition(".")
    result = dict(raw)
    if not rest:
        if head not in raw and value is None:
            raise InputError(f"override {key!r} names nothing{nearest(head, raw)}")
        if head == "kind" and raw.get("kind") != value:
            result = _keys_of_kind(raw, value)
        result[head] = value
        return result
    if head not in raw:
        raise InputError(f"override {key!r}: there is no {head!r}{nearest(head, raw)}")
    if raw[head] is None:
        raise _NullSectionError(head, _nested(rest, value))
    if not isinstance(raw[head], Mapping):
        raise InputError(
            f"override {key!r}: {head!r} is {raw[head]!r}, so it has no key {rest!r}; "
            f"set {head!r} as a whole"
        )
    try:
        result[head] = apply_override(raw[head], rest, value)
    except _NullSectionError as error:
        raise _NullSectionError(f"{head}.{error.section}", error.keys) from error
    except InputError as error:
        raise InputError(str(error).replace(f"override {rest!r}", f"override {key!r}")) from error
    return result


class _NullSectionError(InputError):
    """A key of a section that is null; the message has the form that works."""

    def __init__(self, section: str, keys: Mapping[str, Any]) -> None:
        self.section, self.keys = section, keys
        text = format_line(keys)
        super().__init__(
            f"{section} is null, so it has no keys to override: set it as a whole, with --set "
            f"'{section}={text}', or in a study with {section}: {text}"
        )


def _nested(key: str, value: Any) -> dict[str, Any]:
    """Mapping in which a dotted key has a value."""
    head, _, rest = key.partition(".")
    return {head: _nested(rest, value) if rest else value}


def _keys_of_kind(section: Mapping[str, Any], kind: Any) -> dict[str, Any]:
    """Keys of a section that are kept when its kind changes.

    Keys that both kinds inherit from a common base class keep their values. Other keys of the same
    name, such as the radial basis of two backbones, are kept only if they differ from the default
    of the old kind. The default of one kind does not apply to the other.
    """
    before = section.get("kind")
    for slot in BASES:
        entries = kinds(slot)
        if _fits(before, entries) and _fits(kind, entries) and {before, kind} & {*entries}:
            old, new = lookup(slot, before).Config, lookup(slot, kind).Config
            bases = [c for c in old.__mro__ if issubclass(c, Strict) and c in new.__mro__]
            shared = {key for base in bases for key in base.model_fields}
            return {
                key: value
                for key, value in section.items()
                if key in shared or (key in new.model_fields and value != _default(old, key))
            }
    return dict(section)


def _fits(kind: Any, entries: Sequence[str]) -> bool:
    """Whether a kind is registered in a slot, or is a class from outside."""
    return isinstance(kind, str) and (kind in entries or ":" in kind)


def _default(schema: type[Strict], key: str) -> Any:
    field = schema.model_fields[key]
    return field.get_default(call_default_factory=True) if not field.is_required() else None
