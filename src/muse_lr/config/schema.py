"""The base class of configuration sections, and validation errors that name the key."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Annotated, Any, ClassVar, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, ValidationError

from muse_lr.errors import InputError, nearest


class Strict(BaseModel):
    """A configuration section. Unknown keys raise an error, and values are immutable.

    Attributes
    ----------
    renamed : dict of str to str
        Former name of a key -> current name, for the error message.
    advice : dict of str to str
        Former name of a key -> what else the message says.
    """

    renamed: ClassVar[dict[str, str]] = {}
    advice: ClassVar[dict[str, str]] = {}

    model_config = ConfigDict(
        extra="forbid", frozen=True, validate_default=True, allow_inf_nan=False
    )


S = TypeVar("S", bound=Strict)
V = TypeVar("V")
NAME = re.compile(r"[A-Za-z0-9_.-]+")


def check_name(name: str, what: str) -> str:
    """Raise an error for names that are not safe as a file name."""
    if not NAME.fullmatch(name) or name in (".", ".."):
        raise InputError(f"{what} {name!r}: only letters, digits, '_', '.' and '-' are allowed")
    return name


def check_elements(symbols: Iterable[Any]) -> None:
    """Raise an error for what is not a chemical symbol."""
    from ase.data import atomic_numbers

    for symbol in symbols:
        if not isinstance(symbol, str) or symbol not in atomic_numbers or symbol == "X":
            shown = repr(symbol) if isinstance(symbol, str) else str(symbol)
            raise InputError(f"{shown} is no element{_symbol_of(symbol)}")


def element_keys(value: Any) -> Any:
    """Check that the keys of a mapping are chemical symbols; for a validator."""
    if isinstance(value, Mapping):
        check_elements(value)
    return value


def by_pair(values: Mapping[str, V]) -> dict[str, V]:
    """Values of pairs of elements such as ``H-O``, with the elements in alphabetical order."""
    known: dict[str, V] = {}
    for name, value in values.items():
        symbols = name.split("-")
        if len(symbols) != 2:
            raise InputError(f"{name!r} is not a pair of elements such as H-O")
        check_elements(symbols)
        pair = "-".join(sorted(symbols))
        if pair in known:
            raise InputError(f"the pair {pair} is listed twice")
        known[pair] = value
    return known


def _symbol_of(value: Any) -> str:
    """The symbol of an element that is given by its number, its name or in other letters.

    Similar symbols are no suggestion, since they belong to other elements.
    """
    from ase.data import atomic_names, chemical_symbols

    text = str(value).strip()
    names = [name.lower() for name in atomic_names[1:]]
    found = text.capitalize() if text.capitalize() in chemical_symbols[1:] else None
    if text.isdecimal() and 0 < int(text) < len(chemical_symbols):
        found = chemical_symbols[int(text)]
    elif text.lower() in names:
        found = chemical_symbols[names.index(text.lower()) + 1]
    return f": write its symbol, {found}" if found else ""


#: Type of a key that maps chemical symbols to numbers.
ByElement = Annotated[dict[str, float], BeforeValidator(element_keys)]


class PartError(ValueError):
    """Problems inside a nested section, as pairs of a dotted path and a message."""

    def __init__(self, problems: list[tuple[str, str]]) -> None:
        super().__init__("; ".join(f"{path}: {message}" for path, message in problems))
        self.problems = problems


def validate(schema: type[S], data: Any, source: str = "") -> S:
    """Validate ``data`` and return an instance of ``schema``.

    Raises
    ------
    InputError
        One line with the source, the first invalid key and its problem.
    """
    try:
        return schema.model_validate(data)
    except ValidationError as error:
        problems = _problems(error, schema)
        path, message = problems[0]
        more = f" (and {len(problems) - 1} more problems)" if len(problems) > 1 else ""
        where = ": ".join(part for part in (source, path) if part)
        raise InputError(f"{where}: {message}{more}") from error


def validate_part(schema: type[S], data: Any) -> S:
    """Like :func:`validate`, for use in a validator of an outer section, which adds its path."""
    try:
        return schema.model_validate(data)
    except ValidationError as error:
        raise PartError(_problems(error, schema)) from error


def _problems(error: ValidationError, schema: type[BaseModel]) -> list[tuple[str, str]]:
    problems: list[tuple[str, str]] = []
    for item in error.errors():
        path = ".".join(str(key) for key in item["loc"])
        cause = item.get("ctx", {}).get("error")
        if isinstance(cause, PartError):
            problems += [(_join(path, inner), message) for inner, message in cause.problems]
        elif item["type"] == "extra_forbidden":
            problems.append((path, _unknown_key(schema, item["loc"])))
        elif item["type"] == "missing":
            problems.append((path, "this key is needed"))
        elif cause is not None:
            problems.append((path, str(cause)))
        else:
            problems.append((path, f"{_lower(item['msg'])}, got {item['input']!r}"))
    return problems


def _unknown_key(schema: type[BaseModel], path: tuple[int | str, ...]) -> str:
    """Message for a key that does not exist in its section."""
    section, key = _schema_at(schema, path[:-1]), str(path[-1])
    if section is None:
        return "unknown key"
    if issubclass(section, Strict) and key in section.renamed:
        advice = f"; {section.advice[key]}" if key in section.advice else ""
        return f"unknown key; it is called {section.renamed[key]!r}{advice}"
    return f"unknown key{nearest(key, section.model_fields)}"


def _join(outer: str, inner: str) -> str:
    return ".".join(part for part in (outer, inner) if part)


def _lower(message: str) -> str:
    return message[:1].lower() + message[1:]


def _schema_at(schema: type[BaseModel], path: tuple[int | str, ...]) -> type[BaseModel] | None:
    """The schema of the section at ``path``, or None if it cannot be determined."""
    for key in path:
        field = schema.model_fields.get(str(key))
        if field is None or not isinstance(field.annotation, type):
            return None
        if not issubclass(field.annotation, BaseModel):
            return None
        schema = field.annotation
    return schema
