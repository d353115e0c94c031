"""Errors caused by the input of a user.

The command line prints the message of an :class:`InputError` on one line and exits with status 2.
"""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches

#: Longest word of which half the letters may differ from a suggestion, such as ``NA`` for ``Na``.
SHORT = 3


class InputError(ValueError):
    """Invalid input. The message states the problem, its location and how to fix it."""


def nearest(word: str, known: Iterable[str]) -> str:
    """Suggestion ``" (did you mean 'x'?)"`` for the closest known word, or an empty string."""
    cutoff = 0.5 if len(word) <= SHORT else 0.65
    matches = get_close_matches(word, list(known), n=1, cutoff=cutoff)
    return f" (did you mean '{matches[0]}'?)" if matches else ""
