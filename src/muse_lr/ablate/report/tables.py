"""Tables of a study for the report and the terminal."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

from muse_lr.ablate.aggregate import Results, cost, costs, differences, mean_node_shares, means
from muse_lr.ablate.report.findings import scales
from muse_lr.ablate.report.outcome import MAIN_METRICS, outcomes
from muse_lr.ablate.statistics import Difference, Mean
from muse_lr.reporting.html import Cell, Table
from muse_lr.reporting.metric_units import RELATIVE_ENERGY
from muse_lr.reporting.wording import (
    COARSE_NODES,
    code,
    duration,
    metric_heading,
    metric_title,
    number,
    percent,
    times,
)

Key = TypeVar("Key", str, tuple[str, str])

#: Name of the row with the scale of the errors.
_MEAN_PREDICTOR = Cell("mean predictor", detail="(fitted to the test set)")
#: Number of digits of a digest in a table.
SHOWN_DIGITS = 8
#: Explanations of intervals that seem to disagree, around an example.
OVERLAP = (
    "The intervals of two means may overlap although their difference is bold ({}). Runs of the "
    "same seed share batches and frames. This common part of the spread widens the intervals of "
    "both means and cancels in the difference."
)
APART = (
    "The intervals of two means may be apart although their difference is not bold ({}). The "
    "interval of a mean covers the seeds only, that of the difference also the choice of frames."
)


def accuracy_table(results: Results, test: str) -> Table:
    """Mean over seeds and 95 % interval of the metrics of a test set, one row per variant.

    The last row has the errors of the mean predictor.
    """
    metrics = _shown(results, test)
    columns = {metric: means(results, test, metric) for metric in metrics}
    rows = []
    for variant in results.variants:
        cells = [mean_cell(columns[metric].get(variant)) for metric in metrics]
        rows.append([_variant(results, variant), Cell(str(len(results.of(variant)))), *cells])
    scale = scales(results, test)
    if any(metric in scale for metric in metrics):
        rows.append([_MEAN_PREDICTOR, Cell("–"), *_scale_cells(scale, metrics)])
    caption = (
        f"Test set {test}: mean over seeds ± half width of the Student 95 % interval. The scale is "
        "the error of the mean predictor, which knows the number of atoms of each element only and "
        "is fitted to the references of this test set, which no variant knows."
    )
    return Table(["variant", "seeds", *map(metric_heading, metrics)], rows, caption)


def difference_table(results: Results, test: str) -> Table | None:
    """Paired differences to the reference, bold if they are significant."""
    columns = {metric: differences(results, test, metric) for metric in _shown(results, test)}
    columns = {metric: found for metric, found in columns.items() if found}
    variants = [v for v in results.variants if any(v in found for found in columns.values())]
    if not variants:
        return None
    rows = [
        [Cell(variant), *(difference_cell(found.get(variant)) for found in columns.values())]
        for variant in variants
    ]
    single = all(change.seeds == 1 for found in columns.values() for change in found.values())
    bold = (
        "The intervals cover the test frames only, since there is one seed"
        if single
        else "Bold: the interval excludes zero"
    )
    caption = (
        f"Test set {test}: variant minus {code(results.reference)} (and ratio), 95 % interval of "
        f"the difference in brackets. {bold}. Negative values are better."
    )
    return Table(["variant", *map(metric_heading, columns)], rows, caption)


def interval_notes(results: Results, test: str) -> list[str]:
    """Explain where the intervals of two means and of their difference seem to disagree.

    Each note has one example of the test set. There is none if all intervals agree at a glance.
    """
    notes: dict[bool, str] = {}
    reference = results.reference
    for metric in _shown(results, test):
        known = means(results, test, metric)
        for variant, difference in differences(results, test, metric).items():
            ours, theirs = known[variant], known[reference]
            if ours.half_width is None or theirs.half_width is None:
                continue
            overlap = abs(ours.value - theirs.value) <= ours.half_width + theirs.half_width
            if overlap != difference.significant or overlap in notes:
                continue
            change = f"{number(difference.value, sign=True)} {difference_cell(difference).detail}"
            example = (
                f"{metric_title(metric)}, {code(variant)} {mean_cell(ours).text}, "
                f"{code(reference)} {mean_cell(theirs).text}, difference {change}"
            )
            notes[overlap] = (OVERLAP if overlap else APART).format(example)
    return list(notes.values())


def validation_table(results: Results) -> Table:
    """Errors of the best epochs on the validation data, for studies without a test set."""
    found = [o for m in reversed(MAIN_METRICS) for o in outcomes(results, (m,)) if o.metric == m]
    rows = [
        [
            _variant(results, variant),
            Cell(str(len(results.of(variant)))),
            *(mean_cell(outcome.values.get(variant)) for outcome in found),
        ]
        for variant in results.variants
    ]
    caption = (
        "Validation data, best epoch: mean over seeds ± half width of the Student 95 % interval. "
        "There is no test set."
    )
    return Table(["variant", "seeds", *(metric_heading(o.metric) for o in found)], rows, caption)


def cost_table(results: Results) -> Table:
    """Cost and main errors of each variant, means over seeds."""
    accuracy = [
        (test, metric)
        for test in results.tests
        for metric in reversed(MAIN_METRICS)
        if metric in results.metrics(test)
    ]
    rows = []
    for variant in results.variants:
        cells = [
            Cell(_count(cost(results, variant, "parameters"))),
            _spread_cell(costs(results, variant, "seconds"), duration),
            Cell(number(_value(cost(results, variant, "peak_memory_mb")))),
            _spread_cell(costs(results, variant, "inference_us_per_atom"), number),
        ]
        cells += [mean_cell(means(results, t, metric).get(variant)) for t, metric in accuracy]
        rows.append([_variant(results, variant), *cells])
    columns = ["variant", "parameters", "training time", "peak memory (MB)", "inference (µs/atom)"]
    columns += [f"{test}: {metric_heading(metric)}" for test, metric in accuracy]
    caption = (
        "Means over seeds; in parentheses, the smallest and the largest time. Times depend on what "
        "else the machine did."
    )
    return Table(columns, rows, caption)


def node_table(results: Results) -> Table | None:
    """Fraction of atoms with a coarse node, by test set and level; None without nodes."""
    found = {variant: mean_node_shares(results, variant) for variant in results.variants}
    places = sorted({place for shares in found.values() for place in shares})
    if not places:
        return None
    rows = [
        [
            _variant(results, variant),
            *(Cell(percent(_value(shares.get(place)))) for place in places),
        ]
        for variant, shares in found.items()
        if shares
    ]
    columns = [f"{test}: level {level} (%)" for test, level in places]
    caption = (
        "Percentage of the atoms of a test set that carry a coarse node, means over seeds. "
        f"{COARSE_NODES}"
    )
    return Table(["variant", *columns], rows, caption)


def compact_table(results: Results) -> Table:
    """Table for the terminal: main errors, their ratio to the reference, scale, inference time."""
    columns = [
        (test, metric)
        for test in results.tests
        for metric in reversed(MAIN_METRICS)
        if metric in results.metrics(test)
    ]
    paired = {key: differences(results, *key) for key in columns}
    rows = []
    for variant in results.variants:
        cells = []
        for key in columns:
            cell = mean_cell(means(results, *key).get(variant))
            difference = paired[key].get(variant)
            if difference is not None:
                text = f"{cell.text} ({times(difference.ratio)})"
                cell = Cell(text, difference.significant)
            cells.append(cell)
        time = Cell(number(_value(cost(results, variant, "inference_us_per_atom"))))
        rows.append([_variant(results, variant), *cells, time])
    scale = {
        (test, m): value for test in results.tests for m, value in scales(results, test).items()
    }
    if any(key in scale for key in columns):
        rows.append([_MEAN_PREDICTOR, *_scale_cells(scale, columns), Cell("–")])
    names = [f"{test} {metric_heading(metric)}" for test, metric in columns]
    return Table(["variant", *names, "µs/atom"], rows)


def runs_table(results: Results) -> Table:
    """All runs with their status, as in runs.csv."""
    rows = []
    for record in results.records:
        summary = record.summary
        work = summary.get("work", {})
        rows.append(
            [
                Cell(record.run.variant),
                Cell(str(record.run.seed)),
                Cell(record.status, strong=not record.finished),
                Cell(duration(summary.get("seconds"))),
                Cell(str(summary.get("epochs", "–"))),
                Cell(str(summary.get("steps", "–"))),
                Cell(str(work.get("structures", "–"))),
                Cell(number(work.get("largest_rate"))),
                Cell(work.get("batches", "–")[:SHOWN_DIGITS]),
                Cell(str(summary.get("best_epoch", "–"))),
            ]
        )
    columns = ["variant", "seed", "status", "training time", "epochs", "steps", "structures seen"]
    columns += ["largest rate", "batches", "best epoch"]
    caption = (
        "Batches: first digits of the digest of the structures in all batches, in order. Equal "
        "digests mean the same batches."
    )
    return Table(columns, rows, caption)


def mean_cell(mean: Mean | None) -> Cell:
    """Format a mean as ``12.3 ± 0.4``, without interval for a single seed."""
    if mean is None:
        return Cell("–")
    if mean.half_width is None:
        return Cell(number(mean.value))
    return Cell(f"{number(mean.value)} ± {number(mean.half_width, 2)}")


def difference_cell(difference: Difference | None) -> Cell:
    """``−12.3 (×0.23) [−14.0, −10.1]``, bold if the difference is significant."""
    if difference is None:
        return Cell("–")
    value, low, high = (
        number(v, sign=True) for v in (difference.value, difference.low, difference.high)
    )
    text = f"{value} ({times(difference.ratio)})"
    return Cell(text, difference.significant, f"[{low}, {high}]")


def _shown(results: Results, test: str) -> list[str]:
    """Metrics in the tables: all but the RMSE of relative energies, which stands in results.csv."""
    return [metric for metric in results.metrics(test) if metric != f"{RELATIVE_ENERGY}_rmse"]


def _scale_cells(scale: Mapping[Key, float], keys: Sequence[Key]) -> list[Cell]:
    return [Cell(number(scale.get(key))) for key in keys]


def _spread_cell(values: Sequence[float], text: Callable[[float | None], str]) -> Cell:
    """Mean of the runs, with the smallest and the largest value of several ones."""
    if not values:
        return Cell(text(None))
    low, high = text(min(values)), text(max(values))
    detail = f"({low} to {high})" if low != high else ""
    return Cell(text(sum(values) / len(values)), detail=detail)


def _variant(results: Results, variant: str) -> Cell:
    return Cell(variant, detail="(reference)" if variant == results.reference else "")


def _value(mean: Mean | None) -> float | None:
    return None if mean is None else mean.value


def _count(mean: Mean | None) -> str:
    return "–" if mean is None else f"{mean.value:,.0f}"
