"""The page of a physics exam, which stands alone."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from muse_lr import __version__
from muse_lr.analysis.charge_statistics import Verdict
from muse_lr.reporting.audit.tables import printed, result_table, skips, summary, tolerance_text
from muse_lr.reporting.charge_statistics import (
    statistics_figure,
    statistics_notes,
    verdict_table,
)
from muse_lr.reporting.html import (
    Block,
    Cell,
    Image,
    Items,
    Lead,
    Paragraph,
    Report,
    Section,
    Table,
    write_html,
)
from muse_lr.reporting.style import MUTED, color, dash, grid, legend_below, save, styled
from muse_lr.reporting.wording import listed
from muse_lr.testing.exam.check import Plot, Result
from muse_lr.testing.exam.registry import check_class

#: Colors of the verdicts.
VERDICTS = {"fail": color(1), "known": color(4), "pass": color(2)}
#: Smallest ratio of value and tolerance that is drawn; smaller ones stand there.
SMALLEST = 1e-9


def write_page(
    results: Sequence[Result],
    path: Path,
    about: Mapping[str, str],
    saved: Mapping[str, Path],
    statistics: Sequence[Verdict] = (),
) -> None:
    """Write the page.

    Parameters
    ----------
    results : sequence of Result
    path : Path
    about : mapping
        Names and values for the last table.
    saved : mapping of str to Path
        Files of the structures of failed checks.
    statistics : sequence of Verdict
        Statistics of a trajectory.
    """
    with tempfile.TemporaryDirectory() as folder:
        figures = Path(folder)
        measured = [result for result in results if result.value is not None]
        image = None
        if measured:
            file = save(verdicts(measured), figures / "verdicts.png")
            image = Image(file, "Largest value of each check over its tolerance.")
        sections = [Section("Results", [result_table(results)])]
        for status in _HEADINGS:
            chosen = [result for result in results if result.status == status]
            blocks = [block for result in chosen for block in _blocks(result, figures, saved)]
            if blocks:
                sections.append(Section(_HEADINGS[status], blocks))
        if statistics:
            sections.append(_statistics(statistics, figures))
        lines = [f"{listed(names)}: {reason}" for reason, names in skips(results).items()]
        if lines:
            sections.append(Section("Skipped", [Items(lines)]))
        rows = [[Cell(name), Cell(value)] for name, value in about.items()]
        sections.append(Section("About", [Table(["", "value"], rows)]))
        report = Report(
            title=f"Physics exam of {about['potential']}",
            subtitle=f"{len(results)} checks; muse_lr {__version__}",
            lead=Lead([summary(results)], image=image),
            sections=sections,
        )
        write_html(report, path)


def _statistics(judged: Sequence[Verdict], figures: Path) -> Section:
    """Statistics of long range: verdicts, curves, and what they mean."""
    found = [verdict.statistic for verdict in judged]
    blocks: list[Block] = [verdict_table(judged)]
    figure = statistics_figure(found)
    if figure is not None:
        caption = "Averages over the trajectory with bands of one standard error."
        blocks.append(Image(save(figure, figures / "statistics.png"), caption))
    reasons = [f"{v.statistic.name}: {v.why}" for v in judged if v.status != "skipped"]
    blocks += [Items(reasons)] if reasons else []
    return Section("Long range along the trajectory", [*blocks, statistics_notes(found)])


_HEADINGS = {
    "fail": "Failed",
    "known": "Known",
    "pass": "Passed",
}


@styled
def verdicts(results: Sequence[Result]) -> Figure:
    """Values over tolerances of all measured checks on a logarithmic axis."""
    figure, axes = grid(1, 1, 5.4, 0.8 + 0.17 * len(results))
    ax = axes[0]
    for index, result in enumerate(reversed(results)):
        assert result.value is not None
        assert result.tolerance is not None
        ratio = result.value / result.tolerance
        drawn = max(ratio, SMALLEST) if np.isfinite(ratio) else 1e9
        style = VERDICTS[result.status]
        ax.plot([SMALLEST, drawn], [index, index], color=style, linewidth=1.0, alpha=0.5)
        ax.plot(drawn, index, color=style, marker="o", gid=result.status, linestyle="")
    ax.axvline(1.0, color=MUTED, linewidth=0.8)
    ax.set_xscale("log")
    ax.xaxis.set_major_formatter("{x:g}")
    ax.set_xlabel("value / tolerance")
    ax.set_yticks(range(len(results)), [result.name for result in reversed(results)])
    ax.set_ylim(-0.7, len(results) - 0.3)
    legend_below(figure, axes)
    return figure


@styled
def curves(plot: Plot) -> Figure:
    """The curves of a check."""
    figure, axes = grid(1, 1, 4.4, 2.9)
    ax = axes[0]
    for index, (name, (x, y)) in enumerate(plot.curves.items()):
        values = np.abs(y) if plot.log else y
        style: dict[str, Any] = {"color": color(index), "linestyle": dash(index), "gid": name}
        ax.plot(x, values, marker="o" if len(x) < 30 else "", markersize=3, **style)
    if plot.log:
        ax.set_xscale("log")
        if any((np.abs(y) > 0).any() for _, y in plot.curves.values()):
            ax.set_yscale("log")
        for axis in (ax.xaxis, ax.yaxis):
            axis.set_major_formatter("{x:g}")
            axis.set_minor_formatter("")
    ax.set_xlabel(plot.x_label)
    ax.set_ylabel(plot.y_label)
    if len(plot.curves) > 1:
        legend_below(figure, axes)
    return figure


def _blocks(result: Result, figures: Path, saved: Mapping[str, Path]) -> list[Block]:
    """Texts and the figure of one check."""
    check = check_class(result.name)
    value = printed(result.value, result.unit)
    limit = printed(result.tolerance, result.unit)
    blocks: list[Block] = [
        Paragraph(f"`{result.name}`: {check.title()}. {check.equation}"),
        Paragraph(f"{value}, tolerance {limit}; {result.why}.", warning=result.status == "fail"),
        Paragraph(f"The tolerance is {tolerance_text(check)}: {check.reason}."),
    ]
    if result.status == "fail":
        blocks.append(Paragraph(f"{check.meaning} {check.remedy}"))
    if result.name in saved:
        blocks.append(Paragraph(f"Structure: `{saved[result.name]}`"))
    if result.plot is not None:
        file = save(curves(result.plot), figures / f"{result.name}.png")
        blocks.append(Image(file, f"{result.name}: {result.plot.y_label}."))
    return blocks
