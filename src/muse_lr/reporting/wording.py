"""Format numbers, durations and names of metrics for the reports."""

from __future__ import annotations

import math

from muse_lr.reporting.predictions import METRIC_UNITS

MINUS = "−"


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


def metric_title(metric: str) -> str:
    """Format a metric such as ``forces_mae`` as ``forces MAE``."""
    label, _, kind = metric.rpartition("_")
    return f"{label.replace('_', ' ')} {kind.upper()}" if label else metric


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
