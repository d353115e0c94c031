"""Names, comments and numbers of a configuration that is written for a file."""

from __future__ import annotations

import math
import os
import re
import textwrap
from pathlib import Path

from muse_lr.config.registry import kinds
from muse_lr.data.formats import printable
from muse_lr.data.selection import Source, parse_source

#: Longest line of a comment.
LINE_LENGTH = 100
#: Text that YAML 1.2 reads as the same string without quotes.
PLAIN = re.compile(r"[A-Za-z_./][A-Za-z0-9_./-]*")
RESERVED = {"true", "false", "null", "yes", "no", "on", "off", ".nan", ".inf"}


def quote(text: str) -> str:
    """Write ``text`` as a YAML scalar on one line, quoted where YAML would change it."""
    if PLAIN.fullmatch(text) and text.lower() not in RESERVED and not text.startswith("-"):
        return text
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return '"' + "".join(c if c.isprintable() else f"\\U{ord(c):08x}" for c in escaped) + '"'


def comment(text: str, indent: int = 0) -> list[str]:
    """Lines of a comment."""
    prefix = " " * indent + "# "
    return textwrap.wrap(
        text,
        LINE_LENGTH,
        initial_indent=prefix,
        subsequent_indent=prefix + "  ",
        break_long_words=False,
        break_on_hyphens=False,
    )


def kinds_comment(slot: str, indent: int, title: str = "kinds: ") -> list[str]:
    """Comment lines that list every registered kind of a slot, those of plugins included."""
    return comment(title + ", ".join(printable(kind) for kind in kinds(slot)), indent)


def relative_source(source: str, base: Path) -> str:
    """Keep an absolute path; write any other path relative to ``base``. Selections are kept."""
    parsed = parse_source(source)
    if Path(parsed.file).is_absolute():
        return source
    file = Path(os.path.relpath(parsed.file, base)).as_posix()
    return str(Source(file, parsed.selections))


def stem_of(source: str) -> str:
    """Name of a file without folder, selection and suffixes, of characters for a file name."""
    name = Path(parse_source(source).file).name.split(".")[0]
    return re.sub(r"[^A-Za-z0-9_-]+", "-", name).strip("-")


def round_up(value: float) -> int:
    """Round up to two significant digits."""
    unit = 10 ** max(0, math.floor(math.log10(value)) - 1)
    return math.ceil(value / unit) * unit
