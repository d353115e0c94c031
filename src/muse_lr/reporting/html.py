"""Render a report: sections of text, tables, figures and configurations.

The same content is rendered as self-contained HTML (embedded style and images, no scripts, no
network access) and as Markdown with links to the images. All text is escaped.
"""

from __future__ import annotations

import base64
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import jinja2

from muse_lr.errors import InputError
from muse_lr.utils.files import atomic_write

# Characters that are markup in Markdown; underscores inside words and lone brackets are not.
_MARKDOWN = re.compile(r"[\\`*|~]|(?<![A-Za-z0-9])_|_(?![A-Za-z0-9])|\](?=[(\[:])")


@dataclass(frozen=True)
class Cell:
    """One cell of a table: a value, bold if ``strong``, followed by a smaller ``detail``."""

    text: str
    strong: bool = False
    detail: str = ""


@dataclass(frozen=True)
class Paragraph:
    """Plain text, highlighted if ``warning``."""

    text: str
    warning: bool = False

    kind = "paragraph"


@dataclass(frozen=True)
class Items:
    """A list of short lines."""

    lines: Sequence[str]

    kind = "items"


@dataclass(frozen=True)
class Table:
    """Rows of cells under column headings; the first column is text, the others numbers."""

    columns: Sequence[str]
    rows: Sequence[Sequence[Cell]]
    caption: str = ""

    kind = "table"


@dataclass(frozen=True)
class Image:
    """A PNG file with a caption, which is also the alternative text."""

    path: Path
    caption: str

    kind = "image"

    def data(self) -> str:
        """Content of the file, base64-encoded."""
        return base64.b64encode(self._bytes()).decode("ascii")

    def width(self) -> int:
        """Width in CSS pixels, chosen so that text has the same size in all figures."""
        pixels = int.from_bytes(self._bytes()[16:20], "big")  # IHDR of a PNG
        return round(0.82 * pixels)

    def _bytes(self) -> bytes:
        try:
            return self.path.read_bytes()
        except OSError as error:
            raise InputError(f"cannot read the figure {self.path}: {error.strerror}") from error


@dataclass(frozen=True)
class Details:
    """Preformatted text that is collapsed under a title."""

    title: str
    text: str

    kind = "details"


Block = Paragraph | Items | Table | Image | Details


@dataclass
class Section:
    """A heading with blocks."""

    title: str
    blocks: list[Block] = field(default_factory=list)


@dataclass
class Report:
    """A title, a subtitle and sections."""

    title: str
    subtitle: str
    sections: list[Section] = field(default_factory=list)


def write_html(report: Report, path: Path) -> Path:
    """Write ``report`` as one self-contained HTML file."""
    text = _environment().get_template("report.html.j2").render(report=report)
    with atomic_write(path) as handle:
        handle.write(text)
    return path


def write_markdown(report: Report, path: Path) -> Path:
    """Write ``report`` as Markdown; figures are linked by relative paths."""
    lines = [f"# {_escape(report.title)}", "", _escape(report.subtitle), ""]
    for section in report.sections:
        lines += [f"## {_escape(section.title)}", ""]
        for block in section.blocks:
            lines += [*_markdown(block, path.parent), ""]
    with atomic_write(path) as handle:
        handle.write("\n".join(lines).rstrip() + "\n")
    return path


def text_table(table: Table) -> str:
    """Format a table for the terminal with aligned columns; bold cells end with an asterisk."""
    marked = [any(row[i].strong for row in table.rows) for i in range(len(table.columns))]
    rows = [list(table.columns)]
    for cells in table.rows:
        marks = [" *" if c.strong else "  " * m for c, m in zip(cells, marked, strict=True)]
        rows.append([_join(cell) + mark for cell, mark in zip(cells, marks, strict=True)])
    widths = [max(len(row[i]) for row in rows) for i in range(len(table.columns))]
    lines = []
    for row in rows:
        numbers = [cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True)]
        lines.append("  ".join([row[0].ljust(widths[0]), *numbers]).rstrip())
    lines.insert(1, "-" * max(map(len, lines)))
    return "\n".join(lines)


def _environment() -> jinja2.Environment:
    return jinja2.Environment(
        loader=jinja2.PackageLoader("muse_lr.reporting", "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def _join(cell: Cell) -> str:
    return f"{cell.text} {cell.detail}".strip()


def _escape(text: str) -> str:
    """Escape ``text`` for Markdown and HTML, on one line."""
    text = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return _MARKDOWN.sub(r"\\\g<0>", text.replace("\n", " "))


def _markdown(block: Block, directory: Path) -> list[str]:
    match block:
        case Paragraph():
            text = _escape(block.text)
            # At the start of a line, these characters begin a heading or a list.
            text = f"\\{text}" if text.startswith(("#", "+", "-")) else text
            return [f"**{text}**" if block.warning else text]
        case Items():
            return [f"- {_escape(line)}" for line in block.lines]
        case Image():
            target = os.path.relpath(block.path, directory).replace(os.sep, "/")
            target = target.replace("<", "%3C").replace(">", "%3E")
            return [f"![{_escape(block.caption)}](<{target}>)", "", _escape(block.caption)]
        case Details():
            text = block.text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
            title = _escape(block.title)
            head = ["<details>", f"<summary>{title}</summary>", ""]
            return [*head, "<pre>", text, "</pre>", "", "</details>"]
        case Table():
            columns = "| " + " | ".join(_escape(name) for name in block.columns) + " |"
            rule = "|:---|" + "---:|" * (len(block.columns) - 1)
            rows = [" | ".join(_markdown_cell(cell) for cell in row) for row in block.rows]
            caption = [_escape(block.caption), ""] if block.caption else []
            return [*caption, columns, rule, *(f"| {row} |" for row in rows)]


def _markdown_cell(cell: Cell) -> str:
    text = _escape(_join(cell))
    return f"**{text}**" if cell.strong and text else text
