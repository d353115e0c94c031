"""Content of a report (text, tables, figures, configurations), and its page in HTML.

The page is self-contained: style and images are embedded, and it needs no network. All text is
escaped. The only script of a page sorts its tables, and the policy of the page admits no other one.
:mod:`.markdown` renders the same content as Markdown.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path

import jinja2
from markupsafe import Markup

from muse_lr.errors import InputError
from muse_lr.reporting.typography import breakable, inline, plain
from muse_lr.utils.files import atomic_write

# The first number of a cell: "85.4 ± 1.5", "27,041", "−12.3 (×0.23)", "12.0 %".
_NUMBER = re.compile(r"([+−-]?)(\d[\d,]*(?:\.\d+)?(?:e[+-]?\d+)?|∞)(?: ?%)?(?: [(±].*)?")
_DURATION = re.compile(r"(?:(\d+) h )?(?:(\d+) min)?(?: ?(\d+(?:\.\d+)?) s)?")
#: Printed for a value that is not there; sorted last.
MISSING = ("–", "—", "")


@dataclass(frozen=True)
class Cell:
    """One cell of a table: a value, bold if ``strong``, followed by a smaller ``detail``."""

    text: str
    strong: bool = False
    detail: str = ""

    @property
    def whole(self) -> str:
        """Text and detail on one line."""
        return f"{self.text} {self.detail}".strip()

    @property
    def order(self) -> float | None:
        """Number by which the cell is sorted; None for text and for a missing value."""
        return sort_value(self.text)

    @property
    def missing(self) -> bool:
        """Whether the cell stands for a value that is not there."""
        return self.text in MISSING


@dataclass(frozen=True)
class Paragraph:
    """Prose, highlighted if ``warning``; names between backticks are code."""

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
    """Rows of cells under column headings.

    The first column and those named in ``texts`` are text, the others numbers.
    """

    columns: Sequence[str]
    rows: Sequence[Sequence[Cell]]
    caption: str = ""
    texts: Sequence[str] = ()

    kind = "table"

    def is_text(self, column: int) -> bool:
        """Whether a column is text, aligned at the left."""
        return column == 0 or self.columns[column] in self.texts

    @property
    def sortable(self) -> bool:
        """Whether readers may sort the rows; not in a list of names and values."""
        return "" not in self.columns

    def is_numeric(self, column: int) -> bool:
        """Whether a column is sorted by numbers: all its cells are numbers or missing."""
        cells = [row[column] for row in self.rows]
        return all(c.missing or c.order is not None for c in cells)


@dataclass(frozen=True)
class Image:
    """A PNG file with a caption, and the alternative text where the caption does not suffice."""

    path: Path
    caption: str
    alt: str = ""

    kind = "image"

    @property
    def alternative(self) -> str:
        """Text for readers who do not see the figure."""
        return self.alt or self.caption

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


@dataclass(frozen=True)
class Fold:
    """Blocks that are collapsed under a title."""

    title: str
    blocks: Sequence[Block]

    kind = "fold"


Block = Paragraph | Items | Table | Image | Details | Fold


@dataclass(frozen=True)
class Lead:
    """The result, with warnings, notes in small print and a figure beside them.

    Attributes
    ----------
    sentences : sequence of str or Items
        Paragraphs, and lists under them.
    notes, warnings : sequence of str
    image : Image, optional
    """

    sentences: Sequence[str | Items]
    notes: Sequence[str] = ()
    image: Image | None = None
    warnings: Sequence[str] = ()

    @property
    def result(self) -> list[Paragraph | Items]:
        """The sentences as blocks."""
        return [x if isinstance(x, Items) else Paragraph(x) for x in self.sentences]

    @property
    def cautions(self) -> list[Paragraph]:
        """The warnings as blocks."""
        return [Paragraph(text, warning=True) for text in self.warnings]


@dataclass
class Section:
    """A heading with blocks."""

    title: str
    blocks: list[Block] = field(default_factory=list)


@dataclass
class Report:
    """A title, the result, a subtitle, a description and sections."""

    title: str
    subtitle: str
    sections: list[Section] = field(default_factory=list)
    lead: Lead | None = None
    description: str = ""


def write_html(report: Report, path: Path) -> Path:
    """Write ``report`` as one self-contained HTML file."""
    template = _environment().get_template("report.html.j2")
    script = files("muse_lr.reporting").joinpath("templates", "sort.js").read_text(encoding="utf-8")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode("ascii")
    text = template.render(report=report, script=Markup(script), digest=digest)
    with atomic_write(path) as handle:
        handle.write(text)
    return path


def sort_value(text: str) -> float | None:
    """Number by which the text of a cell is sorted; None for other text.

    It is the first number of ``"85.4 ± 1.5"``, ``"27,041"`` or ``"−12.3 (×0.23)"``, and the seconds
    of ``"3 min 05 s"``.
    """
    found = _NUMBER.fullmatch(text)
    if found:
        sign, digits = found.groups()
        size = float("inf") if digits == "∞" else float(digits.replace(",", ""))
        return -size if sign in ("−", "-") else size
    times = _DURATION.fullmatch(text) if text else None
    if times and any(times.groups()):
        return sum(
            unit * float(value or 0)
            for unit, value in zip((3600, 60, 1), times.groups(), strict=True)
        )
    return None


def text_table(table: Table) -> str:
    """Format a table for the terminal with aligned columns; bold cells end with an asterisk."""
    marked = [any(row[i].strong for row in table.rows) for i in range(len(table.columns))]
    rows = [list(table.columns)]
    for line in table.rows:
        marks = [" *" if c.strong else "  " * m for c, m in zip(line, marked, strict=True)]
        rows.append([cell.whole + mark for cell, mark in zip(line, marks, strict=True)])
    widths = [max(len(row[i]) for row in rows) for i in range(len(table.columns))]
    lines = []
    for row in rows:
        cells = [
            cell.ljust(width) if table.is_text(i) else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        lines.append("  ".join(cells).rstrip())
    lines.insert(1, "-" * max(map(len, lines)))
    return "\n".join(lines)


def text_lines(blocks: Sequence[Paragraph | Items]) -> list[str]:
    """Lines for the terminal: prose as it is, lists indented, warnings announced."""
    lines = []
    for block in blocks:
        if isinstance(block, Items):
            lines += [f"  {line}" for line in block.lines]
        else:
            lines.append(f"{'warning: ' * block.warning}{block.text}")
    return lines


def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("muse_lr.reporting", "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"breakable": breakable, "inline": inline, "plain": plain}
    return environment
