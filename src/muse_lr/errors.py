"""Errors caused by the input of a user.

The command line prints the message of an :class:`InputError` on one line and exits with status 2.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from difflib import get_close_matches
from pathlib import Path, PurePath

#: Form of a chemical symbol.
SYMBOL = re.compile("[A-Z][a-z]?")
#: Longest word of which half the letters may differ from a suggestion, such as ``c7`` for ``c6``.
SHORT = 3
#: Number of characters of a text in a message.
LONGEST_TEXT = 60


class InputError(ValueError):
    """Invalid input. The message states the problem, its location and how to fix it."""


def described(value: object) -> str:
    """What a value is, for messages about values of a wrong type: ``"a list"``."""
    if value is None or isinstance(value, (bool, int, float)):
        return repr(value)
    if isinstance(value, (str, PurePath)):
        return f"the text {str(value)[:LONGEST_TEXT]!r}"
    name = type(value).__name__
    return f"{'an' if name[:1] in 'AEIOaeio' else 'a'} {name}"


def nearest(word: str, known: Iterable[str]) -> str:
    """Suggestion ``" (did you mean 'x'?)"`` for the closest known word, or an empty string.

    A chemical symbol is not suggested for another one, since similar symbols have no similar
    meaning.
    """
    known = list(known)
    if SYMBOL.fullmatch(word) and all(SYMBOL.fullmatch(other) for other in known):
        return ""
    cutoff = 0.5 if len(word) <= SHORT else 0.65
    matches = get_close_matches(word, known, n=1, cutoff=cutoff)
    return f" (did you mean '{matches[0]}'?)" if matches else ""


def nearest_file(path: str | PurePath) -> str:
    """Suggestion for a file that does not exist, from the names in its folder, or an empty text."""
    path = Path(path)
    try:
        names = [other.name for other in path.parent.iterdir() if other.is_file()]
    except OSError:
        return ""
    return "" if path.name in names else nearest(path.name, names)
