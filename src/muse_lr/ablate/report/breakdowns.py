"""Errors of all variants by element and by subset, and the charges that they predict."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from muse_lr.ablate.aggregate import Results
from muse_lr.ablate.report.tables import mean_cell
from muse_lr.ablate.statistics import mean_interval
from muse_lr.data.formats import printable
from muse_lr.reporting.breakdown.errors import FRAME_PROPERTIES, Group, breakdowns, known_keys
from muse_lr.reporting.figures import reference_charges
from muse_lr.reporting.html import Cell, Table
from muse_lr.reporting.metric_units import METRIC_UNITS
from muse_lr.reporting.wording import code, times

Array = NDArray[np.float64]

#: Labels whose errors are divided.
LABELS = ("forces", "energy", "charges")


@dataclass
class _Row:
    """One group: numbers of frames and atoms, and the MAE of each run by variant."""

    frames: int
    atoms: int
    values: dict[str, list[float]] = field(default_factory=dict)


def breakdown_tables(
    results: Results, test: str, by: Sequence[str] = ()
) -> tuple[list[Table], list[Table]]:
    """Tables of the MAE of each variant: one table for each property and label.

    Parameters
    ----------
    results : Results
    test : str
        Name of a test set.
    by : sequence of str
        Info keys of subsets. Default, and for a test set without these keys: the keys of
        :data:`~muse_lr.reporting.breakdown.grouping.SUBSET_KEYS` that the frames have.

    Returns
    -------
    tables, others : list of Table
        By element and subset; by number of atoms, total charge and boundary. Rows: elements or
        subsets. Columns: variants, with the mean over seeds ± half of the Student interval and the
        ratio to the reference.
    """
    tables: dict[tuple[str, str], dict[str, _Row]] = {}
    for variant in results.variants:
        for record in results.of(variant):
            predictions = record.predictions.get(test)
            if predictions is None:
                continue
            for parts in breakdowns(predictions, known_keys(predictions, by)):
                for label in LABELS:
                    for group in parts.groups:
                        _add(tables.setdefault((parts.by, label), {}), variant, group, label)
    found = {key: _table(results, test, *key, rows) for key, rows in tables.items() if rows}
    others = [table for (name, _), table in found.items() if name in FRAME_PROPERTIES]
    return [table for (name, _), table in found.items() if name not in FRAME_PROPERTIES], others


def unknown_keys(results: Results, by: Sequence[str]) -> list[str]:
    """Keys of ``by`` that no frame of any test set has, or that cannot be grouped."""
    tests = [p for record in results.records for p in record.predictions.values()]
    return [key for key in by if not any(known_keys(test, [key]) for test in tests)]


def predicted_charges(
    results: Results, test: str
) -> tuple[dict[str, dict[int, Array]], dict[int, Array]]:
    """Charges by element of all frames of a test set.

    Returns
    -------
    predicted : dict
        Variant -> atomic number -> (n,) charges of all seeds, e; without variants that have none.
    reference : dict
        Atomic number -> (n,) labels, e; empty without labels.
    """
    predicted: dict[str, dict[int, Array]] = {}
    reference: dict[int, Array] = {}
    for variant in results.variants:
        tests = [r.predictions[test] for r in results.of(variant) if test in r.predictions]
        elements = sorted({z for found in tests for z in found.charges})
        pooled = {
            z: np.concatenate([found.charges[z] for found in tests if z in found.charges])
            for z in elements
        }
        predicted |= {variant: pooled} if pooled else {}
        for found in tests:
            reference = reference or reference_charges(found)
    return predicted, reference


def _add(rows: dict[str, _Row], variant: str, group: Group, label: str) -> None:
    errors = group.errors.get(label)
    if errors is not None:
        row = rows.setdefault(group.name, _Row(group.frames, group.atoms))
        row.values.setdefault(variant, []).append(errors.mae)


def _table(results: Results, test: str, by: str, label: str, found: Mapping[str, _Row]) -> Table:
    variants = [v for v in results.variants if any(v in row.values for row in found.values())]
    rows = []
    for name, row in found.items():
        cells = [Cell(f"{row.frames:,}"), Cell(f"{row.atoms:,}")]
        scale = np.mean(row.values.get(results.reference, [np.nan]))
        for variant in variants:
            values = row.values.get(variant)
            cell = mean_cell(mean_interval(values) if values else None)
            if values and variant != results.reference and scale > 0:
                cell = Cell(cell.text, detail=f"({times(float(np.mean(values) / scale))})")
            cells.append(cell)
        rows.append([Cell(printable(name)), *cells])
    about = METRIC_UNITS[label]
    caption = (
        f"Test set {test}: {label} MAE ({about.unit}) by {printable(by)}; in parentheses, the "
        f"ratio to {code(results.reference)}."
    )
    return Table([printable(by), "frames", "atoms", *variants], rows, caption)
