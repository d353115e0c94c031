"""Figures of the reports. Each function takes arrays and returns a figure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator
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

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Array = NDArray[np.float64]

#: Above this number of points, a parity plot is a hexagonal histogram.
MANY_POINTS = 3000


@dataclass(frozen=True)
class ParityPanel:
    """One parity plot: reference and predicted values, (n,), in ``unit``.

    The errors in the corner are multiplied by ``error_scale`` and given in ``error_unit``.
    """

    title: str
    reference: Array
    predicted: Array
    unit: str
    error_unit: str = ""
    error_scale: float = 1.0


@dataclass(frozen=True)
class Curve:
    """Points ``x`` and ``y``, (n,), with an optional band from ``low`` to ``high``."""

    x: Array
    y: Array
    low: Array | None = None
    high: Array | None = None


@dataclass(frozen=True)
class InteractionPanel:
    """Interaction energy (eV) against distance (A): the reference and named curves."""

    title: str
    reference: Curve | None
    curves: Mapping[str, Curve] = field(default_factory=dict)


@styled
def parity(panels: Sequence[ParityPanel], columns: int = 3) -> Figure:
    """Parity plots of predicted against reference values, with MAE and RMSE in the corner."""
    figure, axes = grid(len(panels), columns, 2.9, 2.75)
    for ax, panel in zip(axes, panels, strict=True):
        _parity(ax, panel)
    return figure


@styled
def learning_curves(runs: Mapping[str, Sequence[Mapping[str, Array]]]) -> Figure:
    """Losses and validation errors against the epoch.

    Parameters
    ----------
    runs : mapping
        Name -> columns of ``metrics.csv`` of its runs (one per seed); one color per name. For a
        single run the training loss is drawn in addition to the validation loss.
    """
    single = sum(len(seeds) for seeds in runs.values()) == 1
    panels = {
        "valid_loss": ("Loss" if single else "Loss, validation", "loss"),
        "valid_energy_mae": ("Energy, validation", "MAE (meV/atom)"),
        "valid_forces_mae": ("Forces, validation", "MAE (meV/Å)"),
    }
    present = {name for seeds in runs.values() for curves in seeds for name in curves}
    shown = [name for name in panels if name in present] or ["valid_loss"]
    figure, axes = grid(len(shown), 3, 2.9, 2.7)
    for ax, name in zip(axes, shown, strict=True):
        ax.set_title(panels[name][0], loc="left")
        ax.set_xlabel("epoch")
        ax.set_ylabel(panels[name][1])
        for i, (label, seeds) in enumerate(runs.items()):
            for curves in seeds:
                if single and name == "valid_loss":
                    _learning_curve(ax, curves, "train_loss", "training", MUTED, "-")
                    _learning_curve(ax, curves, name, "validation", color(0), "-")
                else:
                    text = "validation" if single else label
                    _learning_curve(ax, curves, name, text, color(i), dash(i), len(seeds))
        _log_axis(ax)
    legend_below(figure, axes)
    return figure


@styled
def error_against_distance(series: Mapping[str, Mapping[str, tuple[Array, Array]]]) -> Figure:
    """Absolute energy error of each frame against its distance, with binned medians.

    Parameters
    ----------
    series : mapping
        Panel title -> series name -> (distance in A, absolute energy error in meV), each (n,).
    """
    figure, axes = grid(len(series), 2, 4.2, 3.1)
    for ax, (title, lines) in zip(axes, series.items(), strict=True):
        ax.set_title(title, loc="left")
        ax.set_xlabel("distance (Å)")
        ax.set_ylabel("|energy error| (meV)")
        edges = _edges(np.concatenate([d for d, _ in lines.values()]))
        for i, (name, (distance, error)) in enumerate(lines.items()):
            alpha = 0.45 if len(lines) == 1 else 0.22
            ax.scatter(distance, error, s=7, color=color(i), alpha=alpha, linewidths=0)
            center, median = binned_median(distance, error, edges)
            style: dict[str, Any] = {
                "color": color(i),
                "linestyle": dash(i),
                "marker": marker(i),
                "gid": name,
            }
            ax.plot(center, median, markeredgecolor="white", markeredgewidth=0.6, **style)
        _log_axis(ax)
    legend_below(figure, axes)
    return figure


@styled
def interaction_curves(panels: Sequence[InteractionPanel], columns: int = 3) -> Figure:
    """Interaction energy against distance, one panel per scan.

    The axis range follows the reference if there is one. A curve with large errors is then
    clipped and does not hide the others.
    """
    figure, axes = grid(len(panels), columns, 3.0, 2.7)
    names = list(dict.fromkeys(name for panel in panels for name in panel.curves))
    for ax, panel in zip(axes, panels, strict=True):
        ax.set_title(shortened(panel.title), loc="left")
        ax.set_xlabel("distance (Å)")
        ax.set_ylabel("interaction energy (eV)")
        ax.axhline(0.0, color="#bbbbbb", linewidth=0.8)
        for name, curve in panel.curves.items():
            i = names.index(name)
            if curve.low is not None and curve.high is not None:
                ax.fill_between(
                    curve.x, curve.low, curve.high, color=color(i), alpha=0.18, linewidth=0
                )
            style: dict[str, Any] = {
                "color": color(i),
                "linestyle": dash(i),
                "marker": marker(i),
                "gid": name,
            }
            ax.plot(curve.x, curve.y, markersize=3, **style)
        if panel.reference is not None:
            x, y = panel.reference.x, panel.reference.y
            style = {"color": REFERENCE, "marker": "o", "gid": "reference"}
            ax.plot(x, y, linestyle=(0, (1, 1.5)), linewidth=1.0, markersize=4, mfc="none", **style)
            _frame_reference(ax, panel)
    legend_below(figure, axes)
    return figure


def binned_median(distance: Array, error: Array, edges: Array) -> tuple[Array, Array]:
    """Median distance and median error of all bins with at least three frames."""
    which = np.digitize(distance, edges[1:-1])
    bins = [which == i for i in range(len(edges) - 1)]
    kept = [inside for inside in bins if inside.sum() >= 3]
    centers = [float(np.median(distance[inside])) for inside in kept]
    medians = [float(np.median(error[inside])) for inside in kept]
    return np.array(centers), np.array(medians)


def _edges(distance: Array) -> Array:
    bins = int(np.clip(len(distance) // 8, 1, 12))
    return np.linspace(distance.min(), distance.max() + 1e-9, bins + 1)


def _parity(ax: Axes, panel: ParityPanel) -> None:
    finite = np.isfinite(panel.reference) & np.isfinite(panel.predicted)
    x, y = panel.reference[finite], panel.predicted[finite]
    if not len(x):
        ax.set_title(shortened(panel.title), loc="left")
        ax.text(0.5, 0.5, "no finite prediction", transform=ax.transAxes, ha="center")
        return
    low, high = float(min(x.min(), y.min())), float(max(x.max(), y.max()))
    margin = 0.04 * (high - low) or 0.5
    limits = (low - margin, high + margin)
    if len(x) > MANY_POINTS:
        ax.hexbin(
            x, y, gridsize=55, bins="log", cmap="viridis", mincnt=1, extent=(*limits, *limits),
            linewidths=0.1,
        )  # fmt: skip
    else:
        density = _density(x, y)
        order = np.argsort(density)
        ax.scatter(x[order], y[order], c=density[order], cmap="viridis", s=9, linewidths=0)
    ax.plot(limits, limits, color=REFERENCE, linewidth=0.8, alpha=0.6)
    ax.set_xlim(limits)
    ax.set_ylim(limits)
    ax.set_box_aspect(1)
    ax.locator_params(nbins=5)
    ax.set_title(shortened(panel.title), loc="left")
    ax.set_xlabel(f"reference ({panel.unit})")
    ax.set_ylabel(f"predicted ({panel.unit})")
    error = panel.error_scale * (y - x)
    unit = panel.error_unit or panel.unit
    mae, rmse = np.abs(error).mean(), np.sqrt((error**2).mean())
    text = f"MAE {mae:.3g} {unit}\nRMSE {rmse:.3g} {unit}\nn = {len(x):,}"
    if not finite.all():
        text += f", {(~finite).sum():,} not finite"
    box = {"facecolor": "white", "alpha": 0.75, "edgecolor": "none", "pad": 1.5}
    at: dict[str, Any] = {"x": 0.04, "y": 0.96, "va": "top", "ha": "left"}
    u, v = (x - limits[0]) / (limits[1] - limits[0]), (y - limits[0]) / (limits[1] - limits[0])
    if ((u < 0.55) & (v > 0.7)).sum() > ((u > 0.45) & (v < 0.3)).sum():
        at = {"x": 0.97, "y": 0.04, "va": "bottom", "ha": "right"}
    ax.text(s=text, transform=ax.transAxes, fontsize=7.5, linespacing=1.35, bbox=box, **at)


def _density(x: Array, y: Array) -> Array:
    """Log(1 + number of points in the same cell of a 30 x 30 histogram), per point."""
    counts, xs, ys = np.histogram2d(x, y, bins=30)
    rows, columns = np.digitize(x, xs[1:-1]), np.digitize(y, ys[1:-1])
    density: Array = np.log1p(counts[rows, columns])
    return density


def _learning_curve(
    ax: Axes,
    curves: Mapping[str, Array],
    column: str,
    label: str,
    color: str,
    linestyle: str,
    seeds: int = 1,
) -> None:
    if column not in curves or not np.isfinite(curves[column]).any():
        return
    epochs = curves.get("epoch", np.arange(len(curves[column]), dtype=np.float64))
    width, alpha = (1.5, 1.0) if seeds == 1 else (1.0, 0.75)
    style: dict[str, Any] = {
        "color": color,
        "linestyle": linestyle,
        "linewidth": width,
        "alpha": alpha,
    }
    ax.plot(epochs, curves[column], gid=label, **style)


def _log_axis(ax: Axes) -> None:
    """Use a logarithmic y axis if all values are positive and span more than a factor of 3."""
    values = [np.asarray(line.get_ydata(), dtype=float) for line in ax.lines]
    values += [np.asarray(points.get_offsets())[:, 1] for points in ax.collections]
    drawn = np.concatenate([*values, np.empty(0)])
    drawn = drawn[np.isfinite(drawn)]
    positive = drawn[drawn > 0]
    if not len(positive) or (drawn < 0).any() or positive.max() < 3.0 * positive.min():
        return
    ax.set_yscale("log")
    if positive.max() / positive.min() < 30:
        ax.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    ax.yaxis.set_major_formatter("{x:g}")
    ax.yaxis.set_minor_formatter("")
    ax.grid(True, which="minor", color="#f2f2f2", linewidth=0.4)


def _frame_reference(ax: Axes, panel: InteractionPanel) -> None:
    """Set y limits around the reference and zero; other curves extend them by about its span."""
    assert panel.reference is not None
    values = panel.reference.y[np.isfinite(panel.reference.y)]
    if len(values) < 2:
        return
    low, high = min(values.min(), 0.0), max(values.max(), 0.0)
    span = (high - low) or 0.1
    drawn = np.concatenate([values, *(curve.y for curve in panel.curves.values())])
    drawn = np.clip(drawn[np.isfinite(drawn)], low - 1.2 * span, high + 1.2 * span)
    ax.set_ylim(min(low, drawn.min()) - 0.1 * span, max(high, drawn.max()) + 0.1 * span)
