"""Selections of the frames of a file, such as ``data.xyz@subset=rutile@:40``.

A source is the name of a file, followed by any number of selections. Each begins with "@", and they
apply from left to right: each counts the frames that the one before it leaves.

======================  =======================================================================
``@3``, ``@-1``         one frame, counted from 0, or from the end
``@:40``, ``@::5``      a slice of Python, as in ASE
``@KEY=VALUE``          the frames whose ``info[KEY]`` is VALUE
``@KEY=A,B``            the frames whose ``info[KEY]`` is A or B
``@random=N``           N frames at random, in the order of the file; ``@random=N,seed=S`` draws
                        others
``@random=-N``          all frames but those of ``@random=N``
======================  =======================================================================

A file whose own name contains "@" is found first: the longest name that exists is the file.
"""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from muse_lr.config.paths import expand_path
from muse_lr.errors import InputError, nearest

SIGN = "@"
SLICE = re.compile(r"(-?\d+)?:(-?\d+)?(?::(-?\d+)?)?")
INDEX = re.compile(r"-?\d+")
RANDOM = re.compile(r"random=(-?\d+)(?:,seed=(\d+))?")
#: Entropy of the permutation of :func:`random_subset`, beside the seed.
STREAM = (0, 1)
FORMS = ":40, ::5 or 3 as in ASE, KEY=VALUE, KEY=VALUE,VALUE, random=N, -N or N,seed=S"
#: Largest number of keys or values that a message lists.
LISTED = 12


@dataclass(frozen=True)
class Source:
    """A file and the selections of its frames.

    Attributes
    ----------
    file : str
        Name of the file.
    selections : tuple of str
        Selections from left to right, without the sign.
    """

    file: str
    selections: tuple[str, ...] = ()

    def __str__(self) -> str:
        return SIGN.join((self.file, *self.selections))


def parse_source(text: str | Path) -> Source:
    """Divide the name of a source into the file and the selections of its frames.

    Raises
    ------
    InputError
        If the file exists, but what follows it is not a selection.
    """
    parts = str(text).split(SIGN)
    splits = [Source(SIGN.join(parts[:n]), tuple(parts[n:])) for n in range(len(parts), 0, -1)]
    for source in splits:
        if source.file and os.path.exists(source.file):
            for selection in source.selections:
                _check_form(selection, source)
            return source
    # No such file, which its reader reports.
    named = [source for source in splits if source.file and all(map(_is_form, source.selections))]
    return named[-1] if named else splits[0]


def expand_source(text: str, base: Path) -> str:
    """Make the file of a source absolute, as :func:`~muse_lr.config.paths.expand_path` does."""
    source = parse_source(expand_path(text, base))
    return str(Source(str(Path(source.file).resolve()), source.selections))


def expand_sources(texts: Sequence[str], base: Path, key: str) -> tuple[str, ...]:
    """:func:`expand_source` of each item of the list ``key`` of a configuration.

    Raises
    ------
    InputError
        If an item seems to be the second value of a selection, because YAML divides
        ``[data.xyz@subset=a,b]`` at the comma.
    """
    found = tuple(expand_source(text, base) for text in texts)
    for (first, second), (source, file) in zip(pairwise(texts), pairwise(found), strict=True):
        selections = parse_source(source).selections
        if selections and "=" in selections[-1] and "." not in second and not os.path.exists(file):
            raise InputError(f"{key}: {divided(first, second)}")
    return found


def divided(first: str, second: object) -> str:
    """Message for a selection that YAML divided into two items of a list."""
    return (
        f"{first!r} and {second!r} are two items of the list, because YAML divides it at commas: "
        f'put quotes around a selection, "{first},{second}"'
    )


def refuse_divided(value: Any) -> None:
    """Raise an error for a list in which YAML divided a selection at a comma before a number."""
    for first, second in pairwise(value if isinstance(value, (list, tuple)) else ()):
        if isinstance(first, str) and SIGN in first and "=" in first:
            seed = isinstance(second, str) and re.fullmatch(r"seed=\d+", second)
            if seed or isinstance(second, (int, float)):
                raise InputError(divided(first, second))


def select_frames(source: Source, infos: Sequence[Mapping[str, Any]]) -> list[int]:
    """Indices of the frames that a source selects, each counted in the file.

    Parameters
    ----------
    source : Source
    infos : sequence of mappings
        ``atoms.info`` of all frames of the file.

    Raises
    ------
    InputError
        If a selection leaves no frame, or names a frame, a key or a value that is not there. The
        message says how many frames, or which keys and values there are.
    """
    kept = list(range(len(infos)))
    for number, selection in enumerate(source.selections):
        before = "".join(f"{SIGN}{text}" for text in source.selections[:number])
        there = f"{len(kept)} frame{'s' * (len(kept) != 1)}"
        there = f"{before} leaves {there}" if before else f"the file has {there}"
        try:
            kept = [kept[i] for i in _chosen(selection, [infos[i] for i in kept], there)]
        except InputError as error:
            raise InputError(f"{SIGN}{selection}: {error}") from error
    return kept


def _chosen(selection: str, infos: Sequence[Mapping[str, Any]], there: str) -> list[int]:
    """Indices of ``infos`` that one selection keeps; ``there`` says how many frames there are."""
    count = len(infos)
    if INDEX.fullmatch(selection):
        index = int(selection)
        if not -count <= index < count:
            raise InputError(f"{there}, 0 to {count - 1}")
        return [index % count]
    if match := SLICE.fullmatch(selection):
        bounds = [int(part) if part else None for part in match.groups()]
        chosen = list(range(count))[slice(*bounds)]
        if not chosen:
            raise InputError(f"{there}, and none of them is in the slice")
        return chosen
    if match := RANDOM.fullmatch(selection):
        number = int(match[1])
        drawn = random_subset(count, abs(number), int(match[2] or 0), there)
        if number > 0:
            return drawn
        if len(drawn) == count:
            raise InputError(f"{there}, and none of them is left")
        return sorted(set(range(count)) - set(drawn))
    key, _, values = selection.partition("=")
    return _with_values(infos, key, values.split(","))


def random_subset(count: int, number: int, seed: int, there: str) -> list[int]:
    """``number`` of ``count`` indices at random, in ascending order.

    They are the first ones of a permutation that depends on ``count`` and ``seed`` only, so that a
    larger subset contains a smaller one.

    Raises
    ------
    InputError
        If there are fewer; ``there`` says so.
    """
    if number > count:
        raise InputError(f"{there}, fewer than {number}")
    if number == 0:
        raise InputError("this selects no frames: give a number of at least 1")
    return sorted(np.random.default_rng([seed, *STREAM]).permutation(count)[:number].tolist())


def _with_values(infos: Sequence[Mapping[str, Any]], key: str, wanted: list[str]) -> list[int]:
    """Indices of the frames whose ``info[key]`` is one of ``wanted``."""
    known = dict.fromkeys(name for info in infos for name, v in info.items() if is_scalar(v))
    if not any(key in info for info in infos):
        listed = ", ".join(map(repr, list(known)[:LISTED])) or "none"
        more = f" and {len(known) - LISTED} more" * (len(known) > LISTED)
        raise InputError(f"no frame has the key {key!r}{nearest(key, known)}; keys: {listed}{more}")
    values = {i: scalar(info[key], key) for i, info in enumerate(infos) if key in info}
    chosen: set[int] = set()
    for text in wanted:
        found = {i for i, value in values.items() if _equals(value, text)}
        if not found:
            raise InputError(_no_value(text, list(values.values())))
        chosen |= found
    return sorted(chosen)


def _no_value(text: str, values: Sequence[str | bool | float]) -> str:
    """Error message for a value that no frame has; it lists those that frames have."""
    counts = Counter(str(value) for value in values)
    listed = ", ".join(f"{value!r} ({n})" for value, n in counts.most_common(LISTED))
    listed = f"values (and frames): {listed}" + f" and {len(counts) - LISTED} more" * (
        len(counts) > LISTED
    )
    numbers = [value for value in values if not isinstance(value, (str, bool))]
    if len(counts) > LISTED and len(numbers) == len(values):
        listed = f"there are {len(counts)} values, {min(numbers):g} to {max(numbers):g}"
    return f"no frame has the value {text!r}{nearest(text, counts)}; {listed}"


def _plain(value: Any) -> Any:
    """The number in a NumPy object that holds just one; any other value as it is."""
    return (
        value.item() if isinstance(value, (np.ndarray, np.generic)) and value.size == 1 else value
    )


def is_scalar(value: Any) -> bool:
    """Whether a value of ``info`` is a text, a truth value or a single number."""
    return isinstance(_plain(value), (str, bool, int, float))


def scalar(value: Any, key: str) -> str | bool | float:
    """A text, a truth value or a number of ``info``; any other value is an error."""
    if not is_scalar(value):
        raise InputError(f"the key {key!r} has values that are not text or single numbers")
    found: str | bool | float = _plain(value)
    return found


def _equals(value: str | bool | float, text: str) -> bool:
    if str(value) == text:
        return True
    if isinstance(value, bool):
        return text.lower() == str(value).lower() or text == str(value)[0]
    try:
        return not isinstance(value, str) and value == float(text)
    except ValueError:
        return False


def _is_form(selection: str) -> bool:
    """Whether a text has the form of a selection."""
    if match := SLICE.fullmatch(selection):
        return match[3] is None or int(match[3]) != 0
    key, separator, values = selection.partition("=")
    if key == "random":
        return RANDOM.fullmatch(selection) is not None
    keyed = bool(key and separator) and all(values.split(","))
    return keyed or INDEX.fullmatch(selection) is not None


def _check_form(selection: str, source: Source) -> None:
    if not _is_form(selection):
        raise InputError(f"{source}: {SIGN}{selection} is not a selection: write {FORMS} after @")
