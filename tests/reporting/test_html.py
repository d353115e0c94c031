"""Reports are self-contained and escape what they print."""

from __future__ import annotations

import re
from html.parser import HTMLParser

import numpy as np
import pytest

from muse_lr.errors import InputError
from muse_lr.reporting.html import (
    Cell,
    Details,
    Image,
    Items,
    Paragraph,
    Report,
    Section,
    Table,
    text_table,
    write_html,
    write_markdown,
)
from muse_lr.reporting.plots import ParityPanel, parity
from muse_lr.reporting.style import save
from muse_lr.reporting.wording import duration, metric_heading, metric_order, number

HOSTILE = '<script>alert(1)</script>"onload=x |`*[a](javascript:b)'


class _Tags(HTMLParser):
    def __init__(self):
        super().__init__()
        self.tags, self.attributes = [], []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += attrs


def _report(tmp_path, text):
    image = tmp_path / "plots" / "<b>.png"
    save(parity([ParityPanel("", np.arange(3.0), np.arange(3.0), "eV")]), image)
    table = Table([text, text], [[Cell(text, True, text), Cell(text)]], text)
    blocks = [Paragraph(text, True), Items([text]), table, Image(image, text), Details(text, text)]
    return Report(text, text, [Section(text, blocks)])


def test_html_escapes_everything_and_needs_nothing_else(tmp_path):
    path = write_html(_report(tmp_path, HOSTILE), tmp_path / "report.html")
    parser = _Tags()
    parser.feed(path.read_text(encoding="utf-8"))
    assert "script" not in parser.tags
    assert "link" not in parser.tags
    names = {name for name, _ in parser.attributes}
    assert not any(name.startswith("on") for name in names)
    sources = [value for name, value in parser.attributes if name in ("src", "href")]
    assert sources
    assert all(s.startswith(("data:image/png;base64,", "#section-")) for s in sources)
    assert path.read_text(encoding="utf-8").count("&lt;script&gt;alert(1)") > 8


def test_markdown_escapes_html_links_and_columns(tmp_path):
    path = write_markdown(_report(tmp_path, HOSTILE), tmp_path / "report.md")
    text = path.read_text(encoding="utf-8")
    assert "<script" not in text
    assert not re.search(r"(?<!\\)\]\(javascript:", text.split("<pre>")[0])
    row = next(line for line in text.splitlines() if line.startswith("| **"))
    assert len(re.findall(r"(?<!\\)\|", row)) == 3
    assert "(<plots/%3Cb%3E.png>)" in text


def test_markdown_leaves_ordinary_names_and_intervals_readable(tmp_path):
    table = Table(["variant", "x"], [[Cell("short_range"), Cell("+1.0 [−1.0, +2.0]")]])
    report = Report("t", "s", [Section("x", [table, Paragraph("# no heading")])])
    text = write_markdown(report, tmp_path / "report.md").read_text(encoding="utf-8")
    assert "| short_range | +1.0 [−1.0, +2.0] |" in text
    assert "\n\\# no heading" in text


def test_a_missing_figure_is_named(tmp_path):
    report = Report("t", "s", [Section("x", [Image(tmp_path / "gone.png", "caption")])])
    with pytest.raises(InputError, match=r"gone\.png"):
        write_html(report, tmp_path / "report.html")
    assert not (tmp_path / "report.html").exists()


def test_the_terminal_table_is_aligned_and_marks_bold():
    rows = [[Cell("a"), Cell("1.0")], [Cell("long name"), Cell("12.5", True)]]
    lines = text_table(Table(["variant", "x"], rows)).splitlines()
    assert lines[2] == "a           1.0"
    assert lines[3] == "long name  12.5 *"


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (12.345, "12.3"),
        (0.9996, "1.00"),
        (999.9, "1,000"),
        (0.00123, "0.00123"),
        (-0.5, "−0.500"),
        (0.0, "0"),
        (-0.0, "0"),
        (1.5e-7, "1.50e-07"),
        (None, "–"),
        (float("nan"), "–"),
        (float("inf"), "∞"),
    ],
)
def test_numbers_have_three_significant_digits(value, expected):
    assert number(value) == expected


def test_signed_numbers():
    assert number(0.5, sign=True) == "+0.500"
    assert number(-0.5, sign=True) == "−0.500"


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [(4.25, "4.2 s"), (59.0, "59 s"), (185, "3 min 05 s"), (7620, "2 h 07 min"), (None, "–")],
)
def test_durations(seconds, expected):
    assert duration(seconds) == expected


def test_metrics_are_named_with_units_and_ordered():
    assert metric_heading("energy_mae") == "energy MAE (meV/atom)"
    assert metric_heading("strange_mae") == "strange MAE"
    names = {"strange_mae", "forces_mae", "energy_rmse", "energy_mae"}
    assert metric_order(names) == ["energy_mae", "energy_rmse", "forces_mae", "strange_mae"]
