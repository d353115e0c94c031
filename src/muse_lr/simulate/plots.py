"""Figures of a simulation. Each function takes results and returns a figure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from muse_lr.analysis.rdf import RadialDistribution
from muse_lr.reporting.style import color, dash, grid, legend_below, marker, styled
from muse_lr.simulate.results import CopyResult, Group

Array = NDArray[np.float64]

#: A curve is drawn with at most about this number of points.
POINTS = 2000


@styled
def time_series(results: Sequence[CopyResult], columns: Mapping[str, str]) -> Figure:
    """Columns of the log against time, one panel each and one curve per copy.

    Parameters
    ----------
    results : sequence of CopyResult
    columns : mapping
        Column of the log -> label of the axis.
    """
    figure, axes = grid(len(columns), 2, 4.2, 2.4)
    targets = sorted({result.target for result in results})
    for ax, (name, label) in zip(axes, columns.items(), strict=True):
        ax.set_xlabel("time (ps)")
        ax.set_ylabel(label)
        for result in results:
            index = targets.index(result.target)
            time, values = _thinned(result.log["time_ps"], result.log[name])
            ax.plot(
                time,
                values,
                color=color(index),
                linestyle=dash(index),
                linewidth=0.8,
                alpha=0.8,
                gid=f"{result.target:g} K",
            )
    legend_below(figure, axes)
    return figure


@styled
def energies(results: Sequence[CopyResult]) -> Figure:
    """Change of the potential, kinetic, total and conserved energy per atom against time."""
    names = {
        "potential_eV": "potential energy",
        "kinetic_eV": "kinetic energy",
        "total_eV": "total energy",
        "conserved_eV": "conserved energy",
    }
    return _changes(results, names)


@styled
def energy_parts(results: Sequence[CopyResult]) -> Figure:
    """Change of each named energy per atom against time, for those that change."""
    columns = [name for name in results[0].log if name.startswith("part_")]
    names = {
        name: name.removeprefix("part_").removesuffix("_eV")
        for name in columns
        if any(np.ptp(result.log[name]) > 0 for result in results)
    }
    return _changes(results, names or {"potential_eV": "potential energy"})


@styled
def radial_distributions(found: Mapping[float, Sequence[RadialDistribution]]) -> Figure:
    """Radial distribution functions, one panel per pair of elements and one curve per temperature.

    Without three periodic directions, the number of neighbors per distance is drawn.
    """
    pairs = list(dict.fromkeys(each.pair for curves in found.values() for each in curves))
    figure, axes = grid(len(pairs), 3, 2.9, 2.4)
    for ax, pair in zip(axes, pairs, strict=True):
        ax.set_title(pair, loc="left")
        ax.set_xlabel("distance (Å)")
        for index, (temperature, curves) in enumerate(found.items()):
            for each in curves:
                if each.pair == pair:
                    values = each.density if each.g is None else each.g
                    ax.set_ylabel("neighbors per Å" if each.g is None else "g(r)")
                    style: dict[str, Any] = {"color": color(index), "linestyle": dash(index)}
                    ax.plot(each.r, values, linewidth=1.2, gid=f"{temperature:g} K", **style)
        ax.set_ylim(bottom=0)
    legend_below(figure, axes)
    return figure


@styled
def failure_times(groups: Sequence[Group]) -> Figure:
    """Time that each copy ran against its temperature; crosses are failures."""
    figure, (ax,) = grid(1, 1, 4.6, 2.6)
    for found in groups:
        for copy in found.copies:
            failed = copy.failure is not None
            style: dict[str, Any] = {"color": color(int(failed)), "marker": "x" if failed else "o"}
            name = "failed" if failed else "ran to the end"
            ax.plot([found.target], [copy.time_ps], linestyle="", gid=name, **style)
    means = [found.survival.restricted_mean for found in groups]
    ax.plot([found.target for found in groups], means, color="#888888", linewidth=1, gid="mean")
    ax.set_xlabel("temperature (K)")
    ax.set_ylabel("time (ps)")
    ax.set_ylim(bottom=0)
    legend_below(figure, [ax])
    return figure


@styled
def times_by_temperature(curves: Mapping[str, tuple[list[float], list[float]]]) -> Figure:
    """Mean time to failure against temperature; name -> temperatures (K) and times (ps)."""
    figure, (ax,) = grid(1, 1, 4.6, 2.8)
    for index, (variant, (kelvin, times)) in enumerate(curves.items()):
        ax.plot(
            kelvin,
            times,
            color=color(index),
            linestyle=dash(index),
            marker=marker(index),
            gid=variant,
        )
    ax.set_xlabel("temperature (K)")
    ax.set_ylabel("time to failure (ps)")
    ax.set_ylim(bottom=0)
    legend_below(figure, [ax])
    return figure


def _changes(results: Sequence[CopyResult], names: Mapping[str, str]) -> Figure:
    figure, axes = grid(len(names), 2, 4.2, 2.4)
    targets = sorted({result.target for result in results})
    for ax, (name, title) in zip(axes, names.items(), strict=True):
        ax.set_title(title, loc="left")
        ax.set_xlabel("time (ps)")
        ax.set_ylabel("change (meV/atom)")
        for result in results:
            index = targets.index(result.target)
            change = 1000 * (result.log[name] - result.log[name][0]) / result.atoms
            time, values = _thinned(result.log["time_ps"], change)
            style: dict[str, Any] = {"color": color(index), "linestyle": dash(index)}
            ax.plot(time, values, linewidth=0.8, alpha=0.8, gid=f"{result.target:g} K", **style)
    legend_below(figure, axes)
    return figure


def _thinned(time: Array, values: Array) -> tuple[Array, Array]:
    every = max(len(time) // POINTS, 1)
    return time[::every], values[::every]
