"""Figures that compare variants: relative changes of errors, distributions of charges."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from ase.data import chemical_symbols
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter
from numpy.typing import NDArray

from muse_lr.reporting.style import (
    MUTED,
    REFERENCE,
    color,
    dash,
    grid,
    legend_below,
    marker,
    shortened,
    styled,
)
from muse_lr.reporting.wording import MINUS

Array = NDArray[np.float64]

#: From this largest ratio on, or below this smallest one, the axis of changes is logarithmic.
LARGE_RATIO, SMALL_RATIO = 3.0, 0.1
#: Width of a panel of changes; heights of a row, of an error in it, and of the rest, inches.
CHANGE_WIDTH, ROW, LINE, REST = 4.6, 0.14, 0.12, 0.75
#: Shades of the errors in a figure of changes.
SHADES = (REFERENCE, "#7a7a7a")
#: Number of bins of a histogram of charges, and the smallest range that they divide (e).
BINS, SMALLEST_RANGE = 40, 0.02
#: Largest number of elements that are drawn.
MOST_ELEMENTS = 12


@dataclass(frozen=True)
class Change:
    """Ratio of an error to that of the reference, with its interval (NaN: none)."""

    ratio: float
    low: float
    high: float


@styled
def relative_changes(panels: Mapping[str, Mapping[str, Mapping[str, Change]]]) -> Figure:
    """Changes of errors relative to the reference, with 95 % intervals.

    Parameters
    ----------
    panels : mapping
        Panel title -> name of an error -> variant -> its change. One row for each variant, one
        marker for each error; the first one is filled.
    """
    variants = list(
        dict.fromkeys(v for lines in panels.values() for c in lines.values() for v in c)
    )
    errors = list(dict.fromkeys(name for lines in panels.values() for name in lines))
    height = REST + len(variants) * (ROW + LINE * len(errors))
    figure, axes = grid(len(panels), 1, CHANGE_WIDTH, height)
    ratios = [
        [bound for c in lines.values() for x in c.values() for bound in (x.ratio, x.low, x.high)]
        for lines in panels.values()
    ]
    for ax, (title, lines), values in zip(axes, panels.items(), ratios, strict=True):
        ax.set_title(shortened(title, 60), loc="left")
        _change_axis(ax, np.array(values))
        ax.set_yticks(range(len(variants)), [shortened(name) for name in variants])
        ax.set_ylim(len(variants) - 0.5, -0.5)
        ax.grid(False, axis="y")
        for name, changes in lines.items():
            _draw_changes(ax, changes, variants, name, errors)
    axes[-1].set_xlabel("change of the error (%)")
    if len(errors) > 1:
        legend_below(figure, axes)
    return figure


@styled
def charge_distributions(
    charges: Mapping[str, Mapping[int, Array]],
    reference: Mapping[int, Array] | None = None,
    models: Sequence[str] = (),
) -> Figure:
    """Histograms of the charges of each element, one line for each model.

    Parameters
    ----------
    charges : mapping
        Model -> atomic number -> (n,) charges in e.
    reference : mapping, optional
        Atomic number -> (n,) reference charges in e.
    models : sequence of str, optional
        All models of the report, whose order gives the colors.
    """
    order = list(models or charges)
    counts: dict[int, int] = {}
    for found in charges.values():
        for z, values in found.items():
            counts[z] = counts.get(z, 0) + len(values)
    shown = sorted(sorted(counts, key=lambda z: -counts[z])[:MOST_ELEMENTS])
    figure, axes = grid(len(shown), 3, 2.9, 2.3)
    for ax, z in zip(axes, shown, strict=True):
        lines = {name: found[z] for name, found in charges.items() if z in found}
        truth = (reference or {}).get(z)
        everything = np.concatenate([*lines.values(), *([] if truth is None else [truth])])
        low, high = float(everything.min()), float(everything.max())
        margin = max(0.05 * (high - low), 0.5 * (SMALLEST_RANGE - (high - low)))
        edges = np.linspace(low - margin, high + margin, BINS + 1)
        ax.set_title(chemical_symbols[z], loc="left")
        ax.set_xlabel("charge (e)")
        ax.set_ylabel("share of atoms (%)")
        if truth is not None:
            _histogram(ax, truth, edges, "reference", REFERENCE, ":", False)
        for name, values in lines.items():
            i = order.index(name)
            _histogram(ax, values, edges, name, color(i), dash(i), True)
        ax.set_ylim(bottom=0)
        ax.locator_params(axis="x", nbins=5)
    legend_below(figure, axes)
    return figure


def _histogram(
    ax: Axes, values: Array, edges: Array, name: str, shade: str, linestyle: str, filled: bool
) -> None:
    share = 100 * np.histogram(values, edges)[0] / max(len(values), 1)
    x, y = np.repeat(edges, 2)[1:-1], np.repeat(share, 2)
    if filled:
        ax.fill_between(x, y, color=shade, alpha=0.18, linewidth=0)
    ax.plot(x, y, color=shade, linestyle=linestyle, linewidth=1.2, gid=name)


def _change_axis(ax: Axes, ratios: Array) -> None:
    """Set the scale of the ratios and ticks in percent; draw the line of the reference."""
    ratios = ratios[np.isfinite(ratios) & (ratios > 0)]
    ax.axvline(1.0, color=MUTED, linewidth=1.0)
    ax.xaxis.set_major_formatter(FuncFormatter(lambda x, _: _percent(x)))
    low, high = min(1.0, *ratios, 1.0), max(1.0, *ratios, 1.0)
    if high > LARGE_RATIO or low < SMALL_RATIO:
        ax.set_xscale("log")
        ax.xaxis.set_major_formatter(FuncFormatter(lambda x, _: _percent(x)))
        ax.minorticks_off()
        steps = np.array([0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0])
        ticks = np.concatenate([steps, 1.0 / steps[-2::-1]])
        inside = ticks[(ticks >= 0.7 * low) & (ticks <= 1.4 * high)]
        ax.set_xticks(_around_one(inside))
        ax.set_xlim(0.8 * low, 1.25 * high)
        return
    margin = 0.06 * (high - low) or 0.05
    ax.set_xlim(low - margin, high + margin)


def _around_one(ticks: Array) -> Array:
    """At most about eight of the ticks, 1 among them."""
    step = max(1, len(ticks) // 8)
    return ticks[(np.arange(len(ticks)) - int(np.argmin(np.abs(ticks - 1)))) % step == 0]


def _percent(ratio: float) -> str:
    value = round(100 * (ratio - 1), 3)
    sign = "+" if value > 0 else MINUS if value < 0 else ""
    return f"{sign}{abs(value):g}"


def _draw_changes(
    ax: Axes,
    changes: Mapping[str, Change],
    variants: Sequence[str],
    name: str,
    errors: Sequence[str],
) -> None:
    place = errors.index(name)
    # Not the colors of the palette, which stand for variants in the other figures.
    shade = SHADES[place % len(SHADES)]
    shift = 0.5 * ((place + 0.5) / len(errors) - 0.5)
    rows = [variants.index(variant) + shift for variant in changes]
    values = np.array([[x.ratio, x.low, x.high] for x in changes.values()]).reshape(-1, 3)
    ax.hlines(rows, values[:, 1], values[:, 2], color=shade, linewidth=1.6)
    face = shade if place == 0 else "white"
    style: dict[str, Any] = {"color": shade, "marker": marker(place), "mfc": face}
    ax.plot(values[:, 0], rows, linestyle="none", markersize=5.5, gid=name, **style)
