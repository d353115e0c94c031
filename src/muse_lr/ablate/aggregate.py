"""Collect the runs of a study: CSV files, means over seeds, differences to the reference."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from muse_lr.ablate.model_metrics import measured
from muse_lr.ablate.statistics import (
    Difference,
    FrameErrors,
    Mean,
    mean_interval,
    paired_difference,
)
from muse_lr.ablate.study import Run
from muse_lr.errors import InputError
from muse_lr.reporting.breakdown.offset import relative_metrics
from muse_lr.reporting.predictions import (
    Predictions,
    frame_sums,
    prediction_files,
    read_predictions,
)
from muse_lr.reporting.runs import Curves, node_shares, read_config, read_curves, read_summary
from muse_lr.reporting.wording import metric_order
from muse_lr.utils.files import write_csv

COSTS = ("parameters", "seconds", "peak_memory_mb", "inference_us_per_atom", "best_epoch")


@dataclass(frozen=True)
class Record:
    """One planned run, its status and, once finished, its results."""

    run: Run
    status: str
    summary: dict[str, Any] = field(default_factory=dict)
    curves: Curves = field(default_factory=dict)
    predictions: dict[str, Predictions] = field(default_factory=dict)
    metrics: dict[str, dict[str, float]] = field(default_factory=dict)

    @property
    def finished(self) -> bool:
        return self.status == "finished"


@dataclass(frozen=True, eq=False)
class Results:
    """All runs of a study, in the order of its variants and seeds.

    ``command`` trains the study again; it is empty where it is not known.
    """

    reference: str
    records: list[Record]
    command: str = ""

    @property
    def variants(self) -> list[str]:
        """Variants with at least one finished run."""
        return list(dict.fromkeys(r.run.variant for r in self.records if r.finished))

    def of(self, variant: str) -> list[Record]:
        """Finished runs of a variant."""
        return [r for r in self.records if r.finished and r.run.variant == variant]

    @property
    def tests(self) -> list[str]:
        """Names of the test sets of all finished runs."""
        finished = [r for r in self.records if r.finished]
        return list(dict.fromkeys(test for r in finished for test in r.summary.get("tests", {})))

    def metrics(self, test: str) -> list[str]:
        """Metrics that at least one run has for a test set."""
        finished = [r for r in self.records if r.finished]
        return metric_order({m for r in finished for m in r.summary["tests"].get(test, {})})


def collect(runs: Iterable[Run], reference: str, failed: Iterable[Run] = ()) -> Results:
    """Read the files of each planned run.

    Errors of relative energies are added to those of the summary, from the predictions.

    Parameters
    ----------
    runs : iterable of Run
        Planned runs.
    reference : str
        Name of the reference variant.
    failed : iterable of Run
        Runs that failed in this call. Other runs without a result have the status "not run".

    Raises
    ------
    InputError
        If the files of a finished run cannot be read.
    """
    lost = {(run.variant, run.seed) for run in failed}
    records = []
    for run in runs:
        summary = read_summary(run.directory)
        if summary is None:
            status = "failed" if (run.variant, run.seed) in lost else "not run"
            records.append(Record(run, status, curves=read_curves(run.directory)))
            continue
        config = read_config(run.directory / "config.yaml") or run.config
        keys = (config.get("data") or {}).get("keys") or {}
        predictions = {
            test: read_predictions(path, keys)
            for test, path in prediction_files(run.directory).items()
            if test in summary.get("tests", {})
        }
        tests = {
            test: metrics | (relative_metrics(predictions[test]) if test in predictions else {})
            for test, metrics in summary.get("tests", {}).items()
        }
        summary = summary | {"tests": tests}
        curves, metrics = read_curves(run.directory), measured(run.directory, run.metrics)
        records.append(Record(run, "finished", summary, curves, predictions, metrics))
    return Results(reference, records)


def write_results(results: Results, path: Path) -> Path:
    """Write one line per value: variant, seed, test, metric, value."""
    rows: list[Sequence[Any]] = [
        (r.run.variant, r.run.seed, test, metric, repr(float(value)))
        for r in results.records
        for test, metrics in (r.summary.get("tests", {}) | r.metrics).items()
        for metric, value in metrics.items()
    ]
    return write_csv(path, ("variant", "seed", "test", "metric", "value"), rows)


def write_runs(results: Results, path: Path) -> Path:
    """Write one line per run: status, cost and the fraction of coarse nodes of each test set."""
    found = [node_shares(r.summary) for r in results.records]
    places = sorted({place for shares in found for place in shares})
    rows = [
        (
            *(r.run.variant, r.run.seed, r.status),
            *(r.summary.get(name, "") for name in COSTS),
            *(shares.get(place, "") for place in places),
        )
        for r, shares in zip(results.records, found, strict=True)
    ]
    columns = [f"node_share_{test}_level{level}" for test, level in places]
    return write_csv(path, ("variant", "seed", "status", *COSTS, *columns), rows)


def means(results: Results, test: str, metric: str) -> dict[str, Mean]:
    """Mean over seeds of a metric, for each variant with this metric."""
    found = {}
    for variant in results.variants:
        values = [r.summary["tests"].get(test, {}).get(metric) for r in results.of(variant)]
        known = [float(value) for value in values if value is not None]
        if known:
            found[variant] = mean_interval(known)
    return found


def cost(results: Results, variant: str, name: str) -> Mean | None:
    """Mean over seeds of a cost; None if no run recorded it."""
    values = costs(results, variant, name)
    return mean_interval(values) if values else None


def costs(results: Results, variant: str, name: str) -> list[float]:
    """Cost of each run of a variant that recorded it."""
    values = [record.summary.get(name) for record in results.of(variant)]
    return [float(value) for value in values if value is not None]


def mean_node_shares(results: Results, variant: str) -> dict[tuple[str, int], Mean]:
    """Map (test set, level) to the mean fraction of coarse nodes; empty without nodes."""
    found = [node_shares(record.summary) for record in results.of(variant)]
    places = sorted({place for shares in found for place in shares})
    return {
        place: mean_interval([shares[place] for shares in found if place in shares])
        for place in places
    }


@lru_cache(maxsize=256)
def differences(
    results: Results, test: str, metric: str, reference: str = ""
) -> dict[str, Difference]:
    """Paired difference of each variant to a reference; empty without common frames.

    Parameters
    ----------
    results : Results
    test, metric : str
    reference : str
        A variant; default: the reference of the study.

    Raises
    ------
    InputError
        If two runs were tested on different frames.
    """
    pairs = _pairs(results, test, metric, reference)
    return {variant: paired_difference(*errors) for variant, errors in pairs.items()}


def subset_differences(
    results: Results, test: str, metric: str, frames: NDArray[np.bool_], reference: str = ""
) -> dict[str, Difference]:
    """:func:`differences` on the frames of the mask ``frames``, (n_frames,)."""
    pairs = _pairs(results, test, metric, reference)
    found = {v: (ours.subset(frames), theirs.subset(frames)) for v, (ours, theirs) in pairs.items()}
    return {v: paired_difference(*errors) for v, errors in found.items() if errors[0].counts.any()}


def _pairs(
    results: Results, test: str, metric: str, reference: str
) -> dict[str, tuple[FrameErrors, FrameErrors]]:
    """Errors of each variant and of the reference, for the seeds that both have."""
    against = reference or results.reference
    others = {r.run.seed: r for r in results.of(against)}
    found = {}
    for variant in results.variants:
        if variant == against:
            continue
        pairs = [(r, others[r.run.seed]) for r in results.of(variant) if r.run.seed in others]
        if not pairs or not all(
            _labeled(record, test, metric) for pair in pairs for record in pair
        ):
            continue
        first = pairs[0][1]
        for record in (record for pair in pairs for record in pair):
            _require_same_frames(record, first, test, metric)
        ours, theirs = (
            _frame_errors(list(side), test, metric) for side in zip(*pairs, strict=True)
        )
        found[variant] = (ours, theirs)
    return found


def inconsistencies(results: Results, tolerance: float = 1e-3) -> list[str]:
    """Describe runs whose predictions disagree with the metrics of their summary."""
    lines = []
    for record in results.records:
        for test, metrics in record.summary.get("tests", {}).items():
            for metric, value in metrics.items():
                if not _labeled(record, test, metric):
                    continue
                errors = _frame_errors([record], test, metric)
                recomputed = float(errors.metric(np.ones((len(errors.counts), 1)))[0, 0])
                if abs(recomputed - value) > tolerance * max(abs(value), 1e-9):
                    lines.append(
                        f"{record.run.variant}, seed {record.run.seed}, {test}: {metric} is "
                        f"{value:.4g} in summary.json and {recomputed:.4g} from the predictions"
                    )
    return lines


def _labeled(record: Record, test: str, metric: str) -> bool:
    label, _, kind = metric.rpartition("_")
    predictions = record.predictions.get(test)
    return kind in ("mae", "rmse") and predictions is not None and label in predictions.quantities


def _frame_errors(records: Sequence[Record], test: str, metric: str) -> FrameErrors:
    label, _, kind = metric.rpartition("_")
    sums = [frame_sums(record.predictions[test], label) for record in records]
    column = 1 if kind == "rmse" else 0
    return FrameErrors(np.stack([s[column] for s in sums]), sums[0][2], kind == "rmse")


def _require_same_frames(record: Record, first: Record, test: str, metric: str) -> None:
    label = metric.rpartition("_")[0]
    ours, theirs = (r.predictions[test].quantities[label].reference for r in (record, first))
    if ours.shape != theirs.shape or not np.allclose(ours, theirs, rtol=0.0, atol=1e-6):
        raise InputError(
            f"{record.run.directory} and {first.run.directory} were tested on different frames of "
            f"'{test}' ({label} differ): remove the older run directory and run the study again"
        )
