"""Line breaks and code type in the text of reports.

Prose of a report marks names and commands as code with backticks, as in Markdown. The page shows
them in the type of code, and the terminal prints the backticks.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from markupsafe import Markup

# Spaces at which a line of text does not break: "12 %", "31.1 ± 1.5", "[−3, +4]".
_TIGHT = re.compile(r"(?<=\d) (?=%|±)|(?<=±) (?=\d)|(?<=[\d∞],) (?=[+−]?[\d∞.,]+\])")
# Places at which a long name breaks: after a separator, else after some letters.
_SEPARATOR, _LONG_WORD = re.compile(r"(?<=[_/.:-])(?=\w)"), re.compile(r"\S{17,}")
LONGEST_PIECE = 16
# A unit with a slash, at which lines would break: "(meV/Å)".
_UNIT = re.compile(r"\([\w³²]+/[\w³²]+\)")
# Code in prose, without spaces at its ends. Text with characters that HTML or tables of Markdown
# give a meaning is not code.
_CODE = re.compile(r"`([^`<>&|\s](?:[^`<>&|\n]*[^`<>&|\s])?)`")


def pieces(text: str) -> Iterator[tuple[str, bool]]:
    """Divide prose into text and code: pairs of a piece and whether it is code."""
    for i, piece in enumerate(_CODE.split(text)):
        if piece:
            yield piece, i % 2 == 1


def inline(text: str) -> Markup:
    """Escape prose for HTML, with its code in the type of code."""
    parts = (
        Markup("<code>{}</code>").format(breakable(piece)) if is_code else tight(piece)
        for piece, is_code in pieces(text)
    )
    return Markup().join(parts)


def plain(text: str) -> str:
    """Prose without the marks of code."""
    return "".join(piece for piece, _ in pieces(text))


def breakable(text: str) -> Markup:
    """Escape ``text`` and allow lines to break inside of its long words, such as names."""

    def broken(match: re.Match[str]) -> str:
        found = [
            piece[start : start + LONGEST_PIECE]
            for piece in _SEPARATOR.split(match[0])
            for start in range(0, len(piece), LONGEST_PIECE)
        ]
        return "\0".join(found)

    whole = Markup("<wbr>").join(_LONG_WORD.sub(broken, text).split("\0"))
    return Markup(_UNIT.sub(r'<span class="unit">\g<0></span>', str(whole)))


def tight(text: str) -> str:
    """Keep numbers, their intervals and percent signs on one line."""
    return _TIGHT.sub("\u00a0", text)
