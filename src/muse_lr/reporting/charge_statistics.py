"""Table and figure of the statistics of long range of a trajectory."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from textwrap import fill

import numpy as np
from matplotlib.figure import Figure

from muse_lr.analysis.averages import Estimate
from muse_lr.analysis.charge_statistics import Profile, Statistic, Verdict
from muse_lr.reporting.html import Cell, Items, Table
from muse_lr.reporting.style import REFERENCE, color, grid, legend_below, shortened, styled
from muse_lr.reporting.wording import number, with_error

#: Curves of fewer points have markers.
MANY = 60

CAPTION = (
    "Values with their standard errors from block averages. The last column is the difference from "
    "the reference in standard errors, those of the reference included."
)


def statistics_table(found: Sequence[Statistic]) -> Table:
    """One row for each statistic that applies, with its reference if it is known."""
    rows = []
    for each in found:
        if each.skipped:
            continue
        rows.append(
            [
                Cell(each.name),
                Cell(with_error(Estimate(each.value, each.error))),
                Cell(_reference(each)),
                Cell(each.unit),
                Cell(number(each.deviation, 2, sign=True)),
            ]
        )
    columns = ["statistic", "value", "reference", "unit", "deviation"]
    return Table(columns, rows, CAPTION, texts=("unit",))


def verdict_table(verdicts: Sequence[Verdict]) -> Table:
    """One row for each statistic: status, value, reference and the deviation that passes."""
    rows = []
    for verdict in verdicts:
        each = verdict.statistic
        value = with_error(Estimate(each.value, each.error)) if not each.skipped else number(None)
        rows.append(
            [
                Cell(each.name),
                Cell(verdict.status, strong=verdict.status == "fail"),
                Cell(value),
                Cell(_reference(each)),
                Cell(number(verdict.tolerance, 2)),
                Cell(each.unit),
            ]
        )
    columns = ["statistic", "status", "value", "reference", "tolerance", "unit"]
    return Table(columns, rows, texts=("status", "unit"))


def verdict_lines(verdicts: Sequence[Verdict], width: int) -> Iterator[str]:
    """What was compared with which reference, or why it was not; with cautions."""
    for verdict in verdicts:
        text = "; ".join((verdict.why, *verdict.statistic.cautions))
        line = f"{verdict.statistic.name}: {verdict.status}: {text}."
        yield fill(line, width, subsequent_indent="  ", break_long_words=False)


def statistics_notes(found: Sequence[Statistic]) -> Items:
    """What each statistic says, its cautions, and why others do not apply."""
    lines = []
    for each in found:
        if each.skipped:
            lines.append(f"{each.name}: does not apply: {each.skipped}")
        else:
            lines += [f"{each.name}: {each.meaning}", *(f"{each.name}: {c}" for c in each.cautions)]
    return Items(lines)


def _reference(found: Statistic) -> str:
    if found.reference is None:
        return number(None)
    error = found.reference_error or float("nan")  # an exact reference has no error
    return with_error(Estimate(found.reference, error))


def statistics_figure(found: Sequence[Statistic]) -> Figure | None:
    """Curves of the statistics with bands of one standard error, and their references.

    Returns
    -------
    matplotlib.figure.Figure or None
        None if no statistic has a curve.
    """
    # Two numbers from one curve share its panel.
    panels: dict[int, tuple[str, Profile]] = {}
    for each in found:
        if each.profile is not None:
            panels.setdefault(id(each.profile), (each.name, each.profile))
    return _figure(list(panels.values())) if panels else None


@styled
def _figure(panels: Sequence[tuple[str, Profile]]) -> Figure:
    figure, axes = grid(len(panels), 2, 4.2, 2.8)
    for ax, (name, profile) in zip(axes, panels, strict=True):
        ax.set_title(shortened(name, 44), loc="left")
        ax.set_xlabel(profile.x_label)
        ax.set_ylabel(profile.y_label)
        x, y = profile.x, profile.y
        ax.plot(x, y, color=color(0), marker="o" if len(x) < MANY else "", gid="trajectory")
        if profile.error is not None and np.isfinite(profile.error).all():
            low, high = y - profile.error, y + profile.error
            ax.fill_between(x, low, high, color=color(0), alpha=0.25, linewidth=0)
        if profile.reference is not None:
            ax.plot(
                x, profile.reference, color=REFERENCE, linestyle="--", linewidth=1, gid="reference"
            )
    legend_below(figure, axes)
    return figure
