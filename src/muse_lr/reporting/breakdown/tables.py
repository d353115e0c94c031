"""Tables of errors by element, subset and size, of their scale and of the worst frames.

They are the same for the page and for the terminal.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from muse_lr.data.formats import printable
from muse_lr.reporting.breakdown.errors import Breakdown, Errors, Group
from muse_lr.reporting.breakdown.mean_predictor import MEAN_PREDICTORS, SCALES
from muse_lr.reporting.breakdown.worst_frames import WorstFrame
from muse_lr.reporting.html import Cell, Table
from muse_lr.reporting.metric_units import KINDS, METRIC_UNITS
from muse_lr.reporting.wording import label_title, metric_heading, number
from muse_lr.utils.files import write_csv

SCALE_CAPTION = (
    "The scale is the error of the mean predictor, which knows the number of atoms of each element "
    "only and is fitted to the references of this set, which no model knows."
)
#: Columns of the file of all errors.
COLUMNS = (
    *("by", "group", "frames", "atoms", "label", "count"),
    *("mae", "rmse", "mean_error", "mean_predictor_mae", "mean_predictor_rmse", "unit"),
)


def scale_table(group: Group) -> Table:
    """One row for each label: errors, their scale, and the errors in percent of the scale."""
    rows = [
        [
            Cell(label_title(label)),
            Cell(number(found.mae)),
            Cell(number(found.rmse)),
            Cell(found.unit),
            Cell(number(found.mean_mae)),
            Cell(number(found.mean_rmse)),
            Cell(share(found.relative_mae)),
            Cell(share(found.relative_rmse)),
        ]
        for label, found in group.errors.items()
    ]
    columns = ["label", "MAE", "RMSE", "unit", "scale: MAE", "scale: RMSE"]
    columns += ["MAE (% of scale)", "RMSE (% of scale)"]
    return Table(columns, rows, SCALE_CAPTION, ["unit"])


def mean_predictor_table(group: Group) -> Table:
    """One row for each label with a scale: what the mean predictor gives, and what its RMSE is."""
    rows = [
        [Cell(label_title(label)), Cell(MEAN_PREDICTORS[label]), Cell(SCALES[label])]
        for label, found in group.errors.items()
        if np.isfinite(found.mean_rmse)
    ]
    columns = ["label", "mean predictor", "its RMSE"]
    return Table(columns, rows, texts=columns[1:])


def breakdown_table(
    breakdown: Breakdown, kinds: Sequence[str] = KINDS, labels: Sequence[str] | None = None
) -> Table:
    """One row for each group, with frames, atoms, and the errors of each label.

    Parameters
    ----------
    breakdown : Breakdown
    kinds : sequence of str
        ``"mae"``, ``"rmse"`` or both. In parentheses: percent of the scale over the group.
    labels : sequence of str, optional
        Labels that are shown; default: all.
    """
    chosen = [label for label in breakdown.labels if labels is None or label in labels]
    headings = [metric_heading(f"{label}_{kind}") for label in chosen for kind in kinds]
    rows = []
    for group in breakdown.groups:
        found = [group.errors.get(label) for label in chosen]
        cells = [_error_cell(errors, kind) for errors in found for kind in kinds]
        counts = [Cell(f"{group.frames:,}"), Cell(f"{group.atoms:,}")]
        rows.append([Cell(printable(group.name)), *counts, *cells])
    by = printable(breakdown.by)
    caption = f"Errors by {by}. In parentheses: % of the scale of the group."
    return Table([by, "frames", "atoms", *headings], rows, caption)


def worst_table(worst: Sequence[WorstFrame], sources: Sequence[str] = ()) -> Table:
    """One row for each of the worst frames of one label.

    Parameters
    ----------
    worst : sequence of WorstFrame
        At least one.
    sources : sequence of str, optional
        Name of every frame of the set, such as ``"file.xyz, frame 12"``; default: its index.
    """
    about, atoms = METRIC_UNITS[worst[0].label], any(frame.atom is not None for frame in worst)
    signed = worst[0].signed
    heading = f"{worst[0].label} {'error' if signed else 'RMSE'} ({about.unit})"
    columns = ["frame", "formula", "atoms", heading, *(["largest error of an atom"] * atoms)]
    rows = []
    for frame in worst:
        cells = [
            Cell(sources[frame.frame] if sources else str(frame.frame)),
            Cell(frame.formula),
            Cell(str(frame.num_atoms)),
            Cell(number(frame.error, sign=signed)),
        ]
        if atoms:
            where = f"{frame.element}, atom {frame.atom}"
            cells.append(Cell(number(frame.largest), detail=f"({where})"))
        rows.append([*cells, Cell(printable("; ".join(frame.facts) or "–"))])
    caption = f"Worst frames: {worst[0].label}."
    special = "what is special"
    return Table([*columns, special], rows, caption, ["formula", special])


def write_errors(total: Group, breakdowns: Sequence[Breakdown], path: Path) -> Path:
    """Write all errors as CSV, one line for each group and label, with units in ASCII."""
    groups = [("all", total)]
    groups += [(found.by, group) for found in breakdowns for group in found.groups]
    rows = [
        (
            *(by, group.name, group.frames, group.atoms, label, found.count),
            *(found.mae, found.rmse, found.mean_error, found.mean_mae, found.mean_rmse),
            METRIC_UNITS[label].plain,
        )
        for by, group in groups
        for label, found in group.errors.items()
    ]
    return write_csv(path, COLUMNS, rows)


def write_worst(worst: Sequence[WorstFrame], sources: Sequence[str], path: Path) -> Path:
    """Write the worst frames of all labels as CSV, with units in ASCII."""
    columns = (
        *("label", "frame", "source", "formula", "atoms", "error", "unit"),
        *("worst_atom", "element", "atom_error", "facts"),
    )
    rows = [
        (
            *(x.label, x.frame, sources[x.frame], x.formula, x.num_atoms, x.error),
            METRIC_UNITS[x.label].plain,
            *("" if x.atom is None else x.atom, x.element, "" if x.atom is None else x.largest),
            "; ".join(x.facts),
        )
        for x in worst
    ]
    return write_csv(path, columns, rows)


def share(fraction: float) -> str:
    """Format a fraction as a percentage of two digits, without the percent sign."""
    return number(100 * fraction, digits=2)


def _error_cell(errors: Errors | None, kind: str) -> Cell:
    if errors is None:
        return Cell(number(None))
    value, relative = (
        (errors.mae, errors.relative_mae) if kind == "mae" else (errors.rmse, errors.relative_rmse)
    )
    return Cell(number(value), detail=f"({share(relative)} %)" if np.isfinite(relative) else "")
