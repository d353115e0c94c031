"""Format numbers, durations and names of metrics for the reports."""

from __future__ import annotations

import math
from collections.abc import Sequence

from muse_lr.analysis.averages import Estimate
from muse_lr.reporting.metric_units import METRIC_UNITS

MINUS = "−"
#: What the share of coarse nodes is, where it is shown.
COARSE_NODES = (
    "A coarse node is a site of the hierarchy, at the position of an atom. Nodes exchange messages "
    "over long distances and hand on what they learn to the atoms around them. The fewer nodes, "
    "the coarser and cheaper the hierarchy."
)
#: Largest number of decimals of a change in percent.
MOST_DECIMALS = 3


def number(value: float | None, digits: int = 3, sign: bool = False) -> str:
    """Format ``value`` with ``digits`` significant digits, without exponent from 1e-4 to 1e6.

    None and NaN give a dash.
    """
    if value is None or math.isnan(value):
        return "–"
    if not math.isfinite(value):
        return "∞" if value > 0 else f"{MINUS}∞"
    size = abs(value)
    if size and not 1e-4 <= size < 1e6:
        text = f"{size:.{digits - 1}e}"
    else:
        rounded = float(f"{size:.{digits}g}")
        decimals = digits - 1 - math.floor(math.log10(rounded)) if rounded else 0
        text = f"{rounded:,.{max(decimals, 0)}f}"
    if value < 0 and float(text.replace(",", "")):
        return MINUS + text
    return f"+{text}" if sign and value > 0 else text


def with_error(estimate: Estimate) -> str:
    """``1.23 ± 0.04``, without an error that is not known."""
    text = number(estimate.value)
    if math.isfinite(estimate.error):
        text += f" ± {number(estimate.error, 2)}"
    return text


def times(ratio: float) -> str:
    """Format a ratio as ``×0.23`` or ``×0.982``."""
    return f"×{number(ratio, 2 if ratio < 0.95 else 3)}"


def duration(seconds: float | None) -> str:
    """Format seconds as ``45 s``, ``3 min 05 s`` or ``2 h 07 min``."""
    if seconds is None or not math.isfinite(seconds):
        return "–"
    total = round(seconds)
    if total < 60:
        return f"{seconds:.1f} s" if seconds < 10 else f"{total} s"
    if total < 3600:
        return f"{total // 60} min {total % 60:02d} s"
    return f"{total // 3600} h {total % 3600 // 60:02d} min"


def percent(share: float | None) -> str:
    """Format a fraction as a percentage, without the percent sign."""
    return number(None if share is None else 100 * share)


def label_title(label: str) -> str:
    """Format a label such as ``relative_energy`` as ``relative energy``."""
    return label.replace("_", " ")


def code(name: str) -> str:
    """Mark a name or a command in prose as code, so that it does not read as a word."""
    return f"`{name}`"


def metric_title(metric: str) -> str:
    """Format a metric such as ``forces_mae`` as ``forces MAE``."""
    label, _, kind = metric.rpartition("_")
    return f"{label_title(label)} {kind.upper()}" if label else metric


def metric_unit(metric: str) -> str:
    """Unit of a metric; empty for an unknown metric."""
    label = metric.rpartition("_")[0]
    return METRIC_UNITS[label].unit if label in METRIC_UNITS else ""


def metric_heading(metric: str) -> str:
    """Title and unit of a metric for a column heading."""
    unit = metric_unit(metric)
    return f"{metric_title(metric)} ({unit})" if unit else metric_title(metric)


def metric_order(metrics: set[str]) -> list[str]:
    """Sort metrics by label, MAE before RMSE, followed by unknown metrics by name."""
    known = [f"{label}_{kind}" for label in METRIC_UNITS for kind in ("mae", "rmse")]
    return [m for m in known if m in metrics] + sorted(metrics.difference(known))


def humanized(name: str) -> str:
    """Format the name of a file as a title: ``ions_in-water`` as ``Ions in water``."""
    words = name.replace("_", " ").replace("-", " ").split()
    text = " ".join(words) or name
    return text[0].upper() + text[1:]


def listed(names: Sequence[str]) -> str:
    """Join names as ``a, b and c``."""
    return " and ".join(filter(None, (", ".join(names[:-1]), *names[-1:])))


def percent_change(ratio: float, *bounds: float) -> list[str]:
    """Sizes of the changes of a value and of the bounds of its interval, in percent.

    Parameters
    ----------
    ratio : float
        New value over old value; below 1 for a decrease.
    bounds : float
        Lower and upper bound of the ratio, or none.

    Returns
    -------
    list of str
        Size of the change and of its smaller and larger bound, without the percent sign. A bound on
        the other side of zero has a minus. As many decimals as needed, so that no change reads as 0
        and no decrease as 100.
    """
    sign = -1.0 if ratio < 1 else 1.0
    values = [100 * sign * (ratio - 1), *sorted(100 * sign * (bound - 1) for bound in bounds)]
    exact = (0.0, 100.0) if sign < 0 else (0.0,)
    decimals = 0
    while decimals < MOST_DECIMALS and any(
        round(value, decimals) in exact and value not in exact for value in values
    ):
        decimals += 1
    return [_fixed(value, decimals) for value in values]


def percent_interval(ratio: float, *bounds: float) -> str:
    """Change in percent with its sign, and its interval: ``"−2 % [−6, +3]"``.

    As many decimals as needed, so that no bound reads as zero.
    """
    values = [100 * (value - 1) for value in (ratio, *bounds)]
    decimals = 0
    while decimals < MOST_DECIMALS and any(
        value and not round(value, decimals) for value in values[1:] or values
    ):
        decimals += 1
    value, *sides = (_fixed(v, decimals, sign=True) for v in values)
    return f"{value} %" + (f" [{', '.join(sides)}]" if sides else "")


def _fixed(value: float, decimals: int, sign: bool = False) -> str:
    text = f"{abs(value):,.{decimals}f}"
    if not float(text.replace(",", "")):
        return text
    return f"{MINUS if value < 0 else '+' if sign else ''}{text}"
