"""Render a report as Markdown with links to its figures. All text is escaped."""

from __future__ import annotations

import os
import re
from pathlib import Path

from muse_lr.reporting.html import (
    Block,
    Cell,
    Details,
    Fold,
    Image,
    Items,
    Paragraph,
    Report,
    Table,
)
from muse_lr.reporting.typography import pieces, plain
from muse_lr.utils.files import atomic_write

# Characters that are markup in Markdown; underscores inside words and lone brackets are not.
_MARKDOWN = re.compile(r"[\\`*|~]|(?<![A-Za-z0-9])_|_(?![A-Za-z0-9])|\](?=[(\[:])")


def write_markdown(report: Report, path: Path) -> Path:
    """Write ``report`` as Markdown; figures are linked by relative paths."""
    lines = [f"# {_escape(report.title)}", ""]
    if report.lead is not None:
        notes = map(Paragraph, report.lead.notes)
        for part in (*report.lead.result, *report.lead.cautions, *notes):
            lines += [*_markdown(part, path.parent), ""]
        if report.lead.image is not None:
            lines += [*_markdown(report.lead.image, path.parent), ""]
    for text in filter(None, (report.subtitle, report.description)):
        lines += [*_markdown(Paragraph(text), path.parent), ""]
    for section in report.sections:
        lines += [f"## {_escape(section.title)}", ""]
        for block in section.blocks:
            lines += [*_markdown(block, path.parent), ""]
    with atomic_write(path) as handle:
        handle.write("\n".join(lines).rstrip() + "\n")
    return path


def _escape(text: str) -> str:
    """Escape ``text`` for Markdown and HTML, on one line."""
    text = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return _MARKDOWN.sub(r"\\\g<0>", text.replace("\n", " "))


def _inline(text: str) -> str:
    """Escape prose; its code stays code."""
    parts = (f"`{piece}`" if is_code else _escape(piece) for piece, is_code in pieces(text))
    return "".join(parts)


def _markdown(block: Block, directory: Path) -> list[str]:
    match block:
        case Paragraph():
            text = _inline(block.text)
            # At the start of a line, these characters begin a heading or a list.
            text = f"\\{text}" if text.startswith(("#", "+", "-")) else text
            return [f"**{text}**" if block.warning else text]
        case Items():
            return [f"- {_inline(line)}" for line in block.lines]
        case Image():
            target = os.path.relpath(block.path, directory).replace(os.sep, "/")
            target = target.replace("<", "%3C").replace(">", "%3E")
            alternative = _escape(plain(block.alternative))
            return [f"![{alternative}](<{target}>)", "", _inline(block.caption)]
        case Fold():
            inner = [line for b in block.blocks for line in (*_markdown(b, directory), "")]
            head = ["<details>", f"<summary>{_escape(block.title)}</summary>", ""]
            return [*head, *inner, "</details>"]
        case Details():
            text = block.text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
            title = _escape(block.title)
            head = ["<details>", f"<summary>{title}</summary>", ""]
            return [*head, "<pre>", text, "</pre>", "", "</details>"]
        case Table():
            columns = "| " + " | ".join(_escape(name) for name in block.columns) + " |"
            texts = [block.is_text(i) for i in range(len(block.columns))]
            rule = "|" + "".join(":---|" if text else "---:|" for text in texts)
            rows = [" | ".join(_markdown_cell(cell) for cell in row) for row in block.rows]
            caption = [_inline(block.caption), ""] if block.caption else []
            return [*caption, columns, rule, *(f"| {row} |" for row in rows)]


def _markdown_cell(cell: Cell) -> str:
    text = _escape(cell.whole)
    return f"**{text}**" if cell.strong and text else text
