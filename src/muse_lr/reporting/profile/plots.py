"""Figures of energy profiles."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.figure import Figure

from muse_lr.reporting.plots import Curve
from muse_lr.reporting.style import (
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

#: Curves extend the axis by at most this factor of the range of the reference.
BEYOND = 0.6


@dataclass(frozen=True)
class ProfilePanel:
    """The curves of one path.

    Attributes
    ----------
    title, label : str
        Name of the path, and of its coordinate with the unit.
    reference : Curve or None
    curves : mapping of str to Curve
    """

    title: str
    label: str
    reference: Curve | None
    curves: Mapping[str, Curve] = field(default_factory=dict)


@styled
def profile_curves(panels: Sequence[ProfilePanel], ylabel: str, columns: int = 3) -> Figure:
    """Energies against the coordinate, one panel per path.

    The axis follows the reference if there is one: a curve with large errors is then clipped and
    does not hide the others.
    """
    figure, axes = grid(len(panels), columns, 3.2, 2.8)
    names = list(dict.fromkeys(name for panel in panels for name in panel.curves))
    for ax, panel in zip(axes, panels, strict=True):
        if len(panels) > 1:
            ax.set_title(shortened(panel.title), loc="left")
        ax.set_xlabel(panel.label)
        ax.set_ylabel(ylabel)
        ax.axhline(0.0, color="#bbbbbb", linewidth=0.8)
        for name, curve in panel.curves.items():
            _draw(ax, curve, name, names.index(name))
        if panel.reference is not None:
            x, y = panel.reference.x, panel.reference.y
            ax.plot(x, y, color=REFERENCE, linewidth=1.0, zorder=1)
            style: dict[str, Any] = {"color": REFERENCE, "marker": "o", "gid": "reference"}
            ax.plot(x, y, linestyle="", markersize=3.5, zorder=3, **style)
            _limit(ax, panel)
    legend_below(figure, axes)
    return figure


def _draw(ax: Axes, curve: Curve, name: str, index: int) -> None:
    if curve.low is not None and curve.high is not None:
        band: dict[str, Any] = {"color": color(index), "alpha": 0.18, "linewidth": 0}
        ax.fill_between(curve.x, curve.low, curve.high, **band)
    style: dict[str, Any] = {
        "color": color(index),
        "linestyle": dash(index),
        "marker": marker(index),
        "gid": name,
    }
    ax.plot(curve.x, curve.y, markersize=2.5, linewidth=1.2, **style)


def _limit(ax: Axes, panel: ProfilePanel) -> None:
    """Set the y limits to the range of the reference, extended by what the curves need of it."""
    assert panel.reference is not None
    values = panel.reference.y[np.isfinite(panel.reference.y)]
    if len(values) < 2:
        return
    low, high = min(values.min(), 0.0), max(values.max(), 0.0)
    span = (high - low) or 0.1
    drawn = np.concatenate([values, *(curve.y for curve in panel.curves.values())])
    drawn = np.clip(drawn[np.isfinite(drawn)], low - BEYOND * span, high + BEYOND * span)
    ax.set_ylim(min(low, drawn.min()) - 0.06 * span, max(high, drawn.max()) + 0.06 * span)
