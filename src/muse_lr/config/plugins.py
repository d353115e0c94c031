"""Parts from outside the package: entry points and ``package.module:Class``.

A distribution registers a part under the group ``muse_lr.parts`` with the name ``SLOT.KIND``:

    [project.entry-points."muse_lr.parts"]
    "head.screened" = "own_head:ScreenedCoulomb"

Its kind is then a name like those of the package. Without an entry point, ``kind:
"own_head:ScreenedCoulomb"`` names the class; the module may also be a file of the working
directory.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from functools import cache
from importlib import import_module, metadata
from typing import Any

from muse_lr.config.schema import Strict
from muse_lr.errors import InputError

GROUP = "muse_lr.parts"
_trusted: ContextVar[bool] = ContextVar("trusted", default=True)


@dataclass(frozen=True)
class Plugin:
    """An entry point of the group ``muse_lr.parts``.

    Attributes
    ----------
    slot, kind : str
        Where it plugs in, and its name there.
    path : str
        ``package.module:Class``.
    distribution, version : str
        Who registered it.
    """

    slot: str
    kind: str
    path: str
    distribution: str
    version: str

    @property
    def name(self) -> str:
        """The name of the entry point."""
        return f"{self.slot}.{self.kind}"

    @property
    def label(self) -> str:
        """What messages about it begin with."""
        return f"{self.slot} kind {self.kind!r} of {self.distribution}"

    def load(self, base: type) -> Any:
        """The class, checked.

        Raises
        ------
        InputError
            If it cannot be imported, or is no such part.
        """
        return _checked(self.path, base, self.label, import_module)


@cache
def find_plugins() -> tuple[Plugin, ...]:
    """All registered parts; nothing of them is imported."""
    found = []
    for entry in metadata.entry_points(group=GROUP):
        slot, _, kind = entry.name.partition(".")
        owner = entry.dist
        name, version = ("an unknown distribution", "") if owner is None else _identity(owner)
        found.append(Plugin(slot, kind, f"{entry.module}:{entry.attr}", name, version))
    return tuple(sorted(found, key=lambda plugin: (plugin.slot, plugin.kind, plugin.distribution)))


@contextmanager
def trusting(trust: bool) -> Iterator[None]:
    """Within this context, whether ``package.module:Class`` may be imported.

    The content of a model file is only ever read within it. The gate is at the import itself, so
    that no form or place of a name in a file gets around it.
    """
    token = _trusted.set(trust)
    try:
        yield
    finally:
        _trusted.reset(token)


def load_external(slot: str, path: str, base: type) -> Any:
    """The class that ``package.module:Class`` names, checked.

    Raises
    ------
    InputError
        If it is not trusted, cannot be imported, or is no part of that slot.
    """
    if not _trusted.get():
        raise InputError(
            f"{slot} kind {path!r} would run code: if you trust it, load the file with trust=True "
            "or --trust"
        )
    part = _checked(path, base, f"{slot} kind {path!r}", _import_from_here)
    if part.Config.model_fields["kind"].annotation is not str:
        raise InputError(
            f"{slot} kind {path!r}: its Config inherits a fixed kind: declare `kind: str` in it"
        )
    return part


def external_kinds(config: Any) -> Iterator[tuple[str, str]]:
    """Slot and kind of every part in a ``model`` section, the parts inside of parts included."""
    if not isinstance(config, Mapping):
        return
    for key, section in config.items():
        if key == "heads" and isinstance(section, Mapping):
            named = [("head", head) for head in section.values()]
        elif key in ("backbone", "multiscale", "charges"):
            named = [(key, section)]
        else:
            continue
        for slot, part in named:
            kind = part.get("kind") if isinstance(part, Mapping) else part
            if isinstance(kind, str):
                yield slot, kind
            # A hierarchy names the backbone of its levels in its own section.
            yield from external_kinds(part)


def _identity(owner: metadata.Distribution) -> tuple[str, str]:
    return str(owner.metadata["Name"]), owner.version


def owner_of(module: str) -> tuple[str, str]:
    """Distribution and version that a module belongs to; empty for a plain file."""
    names = metadata.packages_distributions().get(module.split(".")[0], [])
    return (names[0], metadata.version(names[0])) if names else ("", "")


def load_attribute(path: str, what: str) -> Any:
    """What ``module:name`` names; the module may also be a file of the working directory.

    Parameters
    ----------
    path : str
        ``package.module:name``. Importing the module runs its code.
    what : str
        What messages begin with.

    Raises
    ------
    InputError
        If it cannot be imported, or has no such name.
    """
    return _imported(path, what, _import_from_here, "package.module:name")


def _imported(path: str, what: str, load: Callable[[str], Any], form: str) -> Any:
    module_name, _, name = path.partition(":")
    if not all(word.isidentifier() for word in [*module_name.split("."), name]):
        raise InputError(f"{what}: {form} is needed")
    try:
        module = load(module_name)
    except ModuleNotFoundError as error:
        if error.name is not None and f"{module_name}.".startswith(f"{error.name}."):
            raise InputError(f"{what}: there is no module {module_name!r}; install it") from error
        raise InputError(f"{what}: importing {module_name} failed: {error}") from error
    except (Exception, SystemExit) as error:  # the code of a plugin may raise anything
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        raise InputError(f"{what}: importing {module_name} failed: {reason}") from error
    found = getattr(module, name, None)
    if found is None:
        raise InputError(f"{what}: module {module_name!r} has no {name!r}")
    return found


def _checked(path: str, base: type, what: str, load: Callable[[str], Any]) -> Any:
    part = _imported(path, what, load, "package.module:Class")
    name = path.partition(":")[2]
    if not (isinstance(part, type) and issubclass(part, base)):
        raise InputError(f"{what}: {name} is not derived from {base.__module__}.{base.__name__}")
    schema = getattr(part, "Config", None)
    if not (isinstance(schema, type) and issubclass(schema, Strict)):
        raise InputError(f"{what}: {name} has no Config derived from the Config of its base class")
    if not any(ancestor.__module__ == base.__module__ for ancestor in schema.__mro__):
        raise InputError(f"{what}: the Config of {name} is not derived from that of its base class")
    missing = ", ".join(sorted(getattr(part, "__abstractmethods__", ())))
    if missing:
        raise InputError(f"{what}: {name} does not define {missing}")
    return part


def _import_from_here(name: str) -> Any:
    """Import a module that may also be a file of the working directory."""
    folder = os.getcwd()
    if folder in sys.path or "" in sys.path:
        return import_module(name)
    sys.path.append(folder)
    try:
        return import_module(name)
    finally:
        sys.path.remove(folder)
