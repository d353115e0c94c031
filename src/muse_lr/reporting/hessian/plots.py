"""Figures of a comparison of Hessians: blocks by distance, frequencies."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, NullFormatter
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

Array = NDArray[np.float64]

#: Names of the reference in the legends.
NORM, NOISE = "reference (error of the zero model)", "noise of the reference"

#: Right end of the axis of distances, in units of the largest one.
MARGIN = 1.08


@dataclass(frozen=True)
class Curve:
    """Measures of one model against distance, in eV/A^2 but for the cosine.

    Attributes
    ----------
    distance : sequence of float
        Centers of the ranges, A.
    error, cosine : sequence of float
    model_norm : sequence of float
        Empty if it is not drawn.
    """

    distance: Sequence[float]
    error: Sequence[float]
    cosine: Sequence[float]
    model_norm: Sequence[float] = ()


@dataclass(frozen=True)
class CurvePanel:
    """The reference and the models of one set of structures.

    Attributes
    ----------
    distance, norm, noise : sequence of float
        Centers of the ranges, norm of the blocks of the reference and its noise.
    models : mapping of str to Curve
    reaches : mapping of str to float
        Model -> reach of its backbone, A.
    """

    distance: Sequence[float]
    norm: Sequence[float]
    noise: Sequence[float] = ()
    models: Mapping[str, Curve] = field(default_factory=dict)
    reaches: Mapping[str, float] = field(default_factory=dict)


@styled
def block_curves(panels: Mapping[str, CurvePanel]) -> Figure:
    """Norm, error and cosine of the blocks against distance; one row for each set.

    Parameters
    ----------
    panels : mapping
        Title of a set -> its curves. The order of the models gives the colors.
    """
    norms = any(curve.model_norm for panel in panels.values() for curve in panel.models.values())
    columns = 3 if norms else 2
    figure, axes = grid(columns * len(panels), columns, 3.3, 2.7)
    for row, (title, panel) in enumerate(panels.items()):
        of_row = axes[row * columns : (row + 1) * columns]
        for ax in of_row:
            ax.set_xlabel("distance (Å)")
        if norms:
            _draw_norms(of_row[0], panel)
        _draw_errors(of_row[-2], panel)
        _draw_cosines(of_row[-1], panel)
        if len(panels) > 1:
            of_row[0].set_title(shortened(title), loc="left")
    legend_below(figure, axes, columns=3)
    return figure


@styled
def frequency_parity(models: Mapping[str, tuple[Array, Array]]) -> Figure:
    """Frequencies of each model against those of the reference, in ascending order.

    Parameters
    ----------
    models : mapping
        Name -> frequencies of the reference and of the model, 1/cm.
    """
    figure, axes = grid(len(models), 3, 3.0, 2.8)
    for index, (ax, (name, (reference, model))) in enumerate(
        zip(axes, models.items(), strict=True)
    ):
        ax.set_title(shortened(name), loc="left")
        both = np.concatenate([reference, model])
        ends = [float(both.min()), float(both.max())]
        ax.plot(ends, ends, color=MUTED, linewidth=0.8)
        ax.plot(reference, model, marker=".", linestyle="", color=color(index), alpha=0.5)
        ax.set_xlabel("frequency of the reference (1/cm)")
        ax.set_ylabel("frequency of the model (1/cm)")
    return figure


def _draw_norms(ax: Axes, panel: CurvePanel) -> None:
    _draw_reference(ax, panel)
    for index, (name, curve) in enumerate(panel.models.items()):
        _draw(ax, curve.distance, curve.model_norm, name, index)
    ax.set_ylabel("norm of the blocks (eV/Å²)")
    _finish(ax, panel, logarithmic=True)


def _draw_errors(ax: Axes, panel: CurvePanel) -> None:
    _draw_reference(ax, panel)
    for index, (name, curve) in enumerate(panel.models.items()):
        _draw(ax, curve.distance, curve.error, name, index)
    ax.set_ylabel("error of the blocks (eV/Å²)")
    _finish(ax, panel, logarithmic=True)


def _draw_cosines(ax: Axes, panel: CurvePanel) -> None:
    for index, (name, curve) in enumerate(panel.models.items()):
        _draw(ax, curve.distance, curve.cosine, name, index)
    ax.axhline(0.0, color=MUTED, linewidth=0.8)
    ax.set_ylabel("cosine with the reference")
    ax.set_ylim(-1.05, 1.05)
    _finish(ax, panel, logarithmic=False)


def _draw_reference(ax: Axes, panel: CurvePanel) -> None:
    ax.plot(panel.distance, panel.norm, color=REFERENCE, marker=".", gid=NORM)
    if any(value > 0 for value in panel.noise):
        noise = [value if value > 0 else np.nan for value in panel.noise]
        ax.plot(panel.distance, noise, color=MUTED, linestyle=":", gid=NOISE)


def _draw(ax: Axes, x: Sequence[float], y: Sequence[float], name: str, index: int) -> None:
    ax.plot(x, y, color=color(index), linestyle=dash(index), marker=marker(index), gid=name)


def _finish(ax: Axes, panel: CurvePanel, logarithmic: bool) -> None:
    """Mark the reaches, with words if there is one; choose the scale."""
    if logarithmic:
        ax.set_yscale("log")
        low, high = ax.get_ylim()
        plain = FuncFormatter(lambda value, _: f"{value:g}")
        ax.yaxis.set_major_formatter(plain)
        # Within one decade, there may be no tick at a power of ten.
        ax.yaxis.set_minor_formatter(plain if high < 10 * low else NullFormatter())
    right = MARGIN * max(panel.distance, default=1.0)
    ax.set_xlim(0.0, right)
    reaches = {reach for reach in panel.reaches.values() if 0 < reach < right}
    for reach in reaches:
        ax.axvline(reach, color=MUTED, linestyle="--", linewidth=0.9)
    if len(reaches) == 1:
        (reach,) = reaches
        style: dict[str, Any] = {"fontsize": 7, "color": MUTED, "va": "bottom", "rotation": 90}
        where = ax.get_xaxis_transform()
        ax.text(reach, 0.02, "inside: learnability", ha="right", transform=where, **style)
        ax.text(reach, 0.02, "beyond: range", ha="left", transform=where, **style)
