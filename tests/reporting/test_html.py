"""Reports are self-contained and escape what they print."""

from __future__ import annotations

import base64
import hashlib
import re
from html.parser import HTMLParser

import numpy as np
import pytest

from muse_lr.errors import InputError
from muse_lr.reporting.html import (
    Cell,
    Details,
    Fold,
    Image,
    Items,
    Lead,
    Paragraph,
    Report,
    Section,
    Table,
    sort_value,
    text_lines,
    text_table,
    write_html,
)
from muse_lr.reporting.markdown import write_markdown
from muse_lr.reporting.plots import ParityPanel, parity
from muse_lr.reporting.style import save
from muse_lr.reporting.typography import breakable, inline, plain, tight
from muse_lr.reporting.wording import (
    duration,
    humanized,
    listed,
    metric_heading,
    metric_order,
    number,
    percent_change,
    percent_interval,
    times,
)

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
    blocks.append(Fold(text, [Paragraph(text), table]))
    lead = Lead([text], [text], Image(image, text, f"alternative {text}"))
    return Report(text, text, [Section(text, blocks)], lead, text)


def _page(tmp_path, text):
    path = write_html(_report(tmp_path, text), tmp_path / "report.html")
    parser = _Tags()
    parser.feed(path.read_text(encoding="utf-8"))
    return path.read_text(encoding="utf-8"), parser


def test_html_escapes_everything_and_needs_nothing_else(tmp_path):
    page, parser = _page(tmp_path, HOSTILE)
    assert page.startswith("<!DOCTYPE html>")
    assert parser.tags.count("script") == 1  # the one that sorts
    assert "link" not in parser.tags
    names = {name for name, _ in parser.attributes}
    assert not any(name.startswith("on") for name in names)
    sources = [value for name, value in parser.attributes if name in ("src", "href", "srcset")]
    assert sources
    assert all(s.startswith(("data:image/png;base64,", "#section-")) for s in sources)
    assert not re.search(r"https?:|//[a-z]|url\(|@import", re.sub(r"base64,[^\"]*", "", page))
    shown = page.replace("<wbr>", "").replace("\u00a0", " ")
    assert shown.count("&lt;script&gt;alert(1)&lt;/script&gt;") > 20


def test_the_policy_admits_the_script_of_the_page_and_no_other(tmp_path):
    page, _ = _page(tmp_path, "plain")
    (script,) = re.findall(r"<script>(.*?)</script>", page, re.DOTALL)
    (policy,) = re.findall(r'Content-Security-Policy" content="([^"]*)"', page)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    rules = dict(rule.strip().split(" ", 1) for rule in policy.split(";"))
    assert rules["default-src"] == "'none'"
    assert rules["script-src"] == f"'sha256-{digest}'"
    assert "aria-sort" in script


def test_pictures_have_alternative_texts_and_labels_are_unique(tmp_path):
    page, parser = _page(tmp_path, "some text")
    texts = [value for name, value in parser.attributes if name == "alt"]
    assert len(texts) == parser.tags.count("img") == 2
    assert "alternative some text" in texts
    ids = [value for name, value in parser.attributes if name == "id"]
    assert len(ids) == len(set(ids))
    labels = [value for name, value in parser.attributes if name == "aria-labelledby"]
    assert len(labels) == 2
    assert set(labels) <= set(ids)
    assert page.index("some text") < page.index("<nav")


def test_the_figure_of_the_lead_scales_on_a_narrow_page(tmp_path):
    """Other wide figures keep a width at which they can be read, and scroll."""
    path = write_html(Report("t", "", []), tmp_path / "report.html")
    narrow = path.read_text(encoding="utf-8").partition("@media (max-width: 35rem)")[2]
    wide, lead = narrow.index("  figure.wide img {"), narrow.index("  .lead figure.wide img {")
    assert wide < lead
    assert narrow[lead:].split("}")[0].endswith("{ max-width: 100%; width: auto; ")


def test_tables_scroll_in_a_box_and_say_how_they_are_sorted(tmp_path):
    rows = [
        [Cell("a"), Cell("85.4 ± 1.5"), Cell("–"), Cell("yes")],
        [Cell("b"), Cell("27,041"), Cell("−3"), Cell("no", detail="(7)")],
    ]
    tables = [Table(["name", "x", "y", "z"], rows), Table(["", "value"], [[Cell("k"), Cell("1")]])]
    path = write_html(Report("t", "", [Section("s", tables)]), tmp_path / "report.html")
    page = path.read_text(encoding="utf-8")
    assert page.count('<div class="scroll" role="region" tabindex="0"') == 2
    assert page.count('<table class="sortable">') == 1  # names and values stay in their order
    heads = re.findall(r"<th scope=\"col\"([^>]*)>(\w*)<", page)
    assert [name for extra, name in heads if "data-numeric" in extra] == ["x", "y", "value"]
    assert re.findall(r'data-order="([^"]*)"', page) == ["85.4", "27041.0", "-3.0", "1.0"]
    assert page.count("<td data-missing>") == 1


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("85.4 ± 1.5", 85.4),
        ("27,041", 27041.0),
        ("−12.3 (×0.23)", -12.3),
        ("+0.5", 0.5),
        ("1.50e-07", 1.5e-7),
        ("12.0 %", 12.0),
        ("∞", float("inf")),
        ("−∞", float("-inf")),
        ("3 min 05 s", 185.0),
        ("2 h 07 min", 7620.0),
        ("4.2 s", 4.2),
        ("10 (8)", 10.0),
        ("–", None),
        ("", None),
        ("charges", None),
        ("3d model", None),
        ("1.2.3", None),
    ],
)
def test_cells_are_sorted_by_their_first_number(text, value):
    assert sort_value(text) == value


def test_long_names_break_and_numbers_do_not():
    name = breakable("muse_with_charges<b>_abcdefghijklmnopqrstuvwxyz")
    assert str(name).replace("<wbr>", "") == "muse_with_charges&lt;b&gt;_abcdefghijklmnopqrstuvwxyz"
    assert max(map(len, name.unescape().split("<wbr>"))) <= 16
    assert breakable("short_range") == "short_range"
    assert "(meV/Å)</span>" in breakable("forces MAE (meV/Å)")
    assert tight("9 % lower [5, 12], 31.1 ± 1.5") == (
        "9\u00a0% lower [5,\u00a012], 31.1\u00a0±\u00a01.5"
    )


def test_names_between_backticks_are_code(tmp_path):
    text = "with `both` and `short_range`, not `<b>` or ` alone"
    assert inline("3 ± 1 `a_b` <i>") == "3\u00a0±\u00a01 <code>a_b</code> &lt;i&gt;"
    assert plain("`a` and `b`") == "a and b"
    image = tmp_path / "x.png"
    save(parity([ParityPanel("", np.arange(3.0), np.arange(3.0), "eV")]), image)
    blocks = [Paragraph(text), Items([text]), Image(image, text), Table(["x"], [], text)]
    report = Report("t", text, [Section("s", blocks)], Lead([text], [text], None, [text]), text)
    page = write_html(report, tmp_path / "report.html").read_text(encoding="utf-8")
    code = "with <code>both</code> and <code>short_range</code>, not `&lt;b&gt;` or ` alone"
    assert page.count(code) == 9
    assert 'alt="with both and short_range' in page
    text = write_markdown(report, tmp_path / "report.md").read_text(encoding="utf-8")
    assert text.count("with `both` and `short_range`, not \\`&lt;b&gt;\\` or \\` alone") == 9


def test_a_lead_has_lists_and_warnings_in_the_page_and_in_the_terminal(tmp_path):
    lead = Lead(["Compared:", Items(["`a`: lower", "`b`: higher"])], ["note"], None, ["Beware."])
    report = Report("t", "s", [], lead)
    page = write_html(report, tmp_path / "report.html").read_text(encoding="utf-8")
    order = ["<p>Compared:</p>", "<li><code>a</code>: lower</li>", '<p class="note">note</p>']
    places = [page.index(text) for text in [*order, '<p class="warning">Beware.</p>']]
    assert places == sorted(places)
    lines = ["Compared:", "  `a`: lower", "  `b`: higher", "warning: Beware."]
    assert text_lines([*lead.result, *lead.cautions]) == lines


def test_markdown_escapes_html_links_and_columns(tmp_path):
    path = write_markdown(_report(tmp_path, HOSTILE), tmp_path / "report.md")
    text = path.read_text(encoding="utf-8")
    assert "<script" not in text
    assert not re.search(r"(?<!\\)\]\(javascript:", text.split("<pre>")[0])
    assert text.index("alternative") < text.index("## ")
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


def test_names_of_files_become_titles():
    assert humanized("ions_in-water") == "Ions in water"
    assert humanized("NaCl") == "NaCl"
    assert humanized("_") == "_"
    assert listed(["a"]) == "a"
    assert listed(["a", "b", "c"]) == "a, b and c"


@pytest.mark.parametrize(
    ("ratios", "expected"),
    [
        ((0.86, 0.81, 0.91), ["14", "9", "19"]),
        ((1.14, 1.09, 1.19), ["14", "9", "19"]),
        ((0.86,), ["14"]),
        ((0.996, 0.993, 0.9993), ["0.4", "0.1", "0.7"]),  # nothing reads as 0
        ((0.003, 0.001, 0.004), ["99.7", "99.6", "99.9"]),  # nothing reads as 100
        ((0.98, 0.94, 1.03), ["2", "−3", "6"]),
        ((0.0, 0.0, 0.0), ["100", "100", "100"]),
    ],
)
def test_changes_in_percent(ratios, expected):
    assert percent_change(*ratios) == expected


def test_changes_with_a_sign():
    assert percent_interval(0.98, 0.94, 1.03) == "−2 % [−6, +3]"
    assert percent_interval(1.0, 1.0, 1.0) == "0 % [0, 0]"
    assert percent_interval(0.999, 0.998, 1.002) == "−0.1 % [−0.2, +0.2]"
    assert percent_interval(1.04, 0.998, 1.08) == "+4.0 % [−0.2, +8.0]"
    assert percent_interval(1.001, 0.97, 1.03) == "0 % [−3, +3]"
    assert percent_interval(1.2) == "+20 %"
    assert (times(0.234), times(1.018)) == ("×0.23", "×1.02")
