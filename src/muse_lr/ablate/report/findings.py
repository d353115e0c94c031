"""What a reader must know before the result of a study is believed."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache

import numpy as np

from muse_lr.ablate.aggregate import Results, means
from muse_lr.ablate.report.outcome import (
    MAIN_METRICS,
    outcomes,
    trained_labels,
    validation_errors,
)
from muse_lr.reporting.breakdown.errors import overall
from muse_lr.reporting.breakdown.mean_predictor import is_fair
from muse_lr.reporting.breakdown.offset import Offset, composition_offset, remedy
from muse_lr.reporting.metric_units import METRIC_UNITS, RELATIVE_ENERGY
from muse_lr.reporting.predictions import Predictions
from muse_lr.reporting.runs import late_improvement
from muse_lr.reporting.wording import (
    code,
    label_title,
    listed,
    metric_title,
    metric_unit,
    number,
    percent,
)

#: Errors above this share of those of the mean predictor show that little was learned.
LITTLE_LEARNED = 0.8
#: What the mean predictor knows of a label, and what to do before it is used.
ELEMENTS_ONLY = "knows the number of atoms of each element only"
KNOWS = {
    "energy": f"{ELEMENTS_ONLY} and is fitted to the test set itself",
    "stress": "is the isotropic mean of the test set",
}
BEFORE_USE = {
    "stress": " Train on it before dynamics at constant pressure: `training.loss: {stress: ...}`."
}


def findings(results: Results) -> list[str]:
    """Sentences on variants without use, on offsets of energies, and on runs that ended early."""
    return [
        *_untrained(results),
        *_worse_than_the_mean(results),
        *_offsets(results),
        *_unfinished(results),
    ]


@lru_cache(maxsize=64)
def scales(results: Results, test: str) -> dict[str, float]:
    """Errors of the mean predictor on a test set: metric -> value, where it is defined."""
    found: dict[str, float] = {}
    for predictions in _predictions(results, test):
        for label, errors in overall(predictions).errors.items():
            for kind, value in (("mae", errors.mean_mae), ("rmse", errors.mean_rmse)):
                if np.isfinite(value):
                    found.setdefault(f"{label}_{kind}", value)
    return found


def label_notes(results: Results, test: str) -> list[str]:
    """Labels that only some frames of a test set have."""
    counts: dict[str, tuple[int, int]] = {}
    for predictions in _predictions(results, test):
        for label, quantity in predictions.quantities.items():
            labeled = len(np.unique(quantity.frame))
            counts.setdefault(label, (labeled, predictions.num_frames))
    notes = []
    for label in METRIC_UNITS:
        labeled, total = counts.get(label, (0, 0))
        if labeled < total:
            what = f"the label {label_title(label)}"
            if label == RELATIVE_ENERGY:
                what = "a relative energy; the others are alone with their composition"
            notes.append(f"Test set {test}: {labeled:,} of {total:,} frames have {what}.")
    return notes


def _predictions(results: Results, test: str) -> Iterator[Predictions]:
    """Predictions of one run of each variant, which have the same references."""
    for variant in results.variants:
        yield from (r.predictions[test] for r in results.of(variant)[:1] if test in r.predictions)


def _untrained(results: Results) -> Iterator[str]:
    """Main labels that are tested but were not in the loss."""
    trained = trained_labels(results)
    for metric in MAIN_METRICS:
        label = metric.rpartition("_")[0]
        tests = [test for test in results.tests if metric in results.metrics(test)]
        if tests and label not in trained:
            yield (
                f"No run was trained on {label} (`training.loss`), so that errors of {label} are "
                "not what these models can reach. Are they missing in the training data, or is "
                f"their key (`data.keys.{label}`)?"
            )


def _worse_than_the_mean(results: Results) -> Iterator[str]:
    for test in results.tests:
        scale = scales(results, test)
        fair = {
            label
            for p in _predictions(results, test)
            for label in p.quantities
            if is_fair(p, label)
        }
        for metric in (*reversed(MAIN_METRICS), "stress_mae"):
            limit, label = scale.get(metric), metric.rpartition("_")[0]
            if limit is None or label not in fair:
                continue
            worse = [
                f"{code(variant)} ({number(mean.value)})"
                for variant, mean in means(results, test, metric).items()
                if mean.value > LITTLE_LEARNED * limit
            ]
            if worse:
                yield (
                    f"On the test set {code(test)}, the {metric_title(metric)} of "
                    f"{listed(worse)} is above {100 * LITTLE_LEARNED:.0f} % of that of the mean "
                    f"predictor ({number(limit)} {metric_unit(metric)}), which "
                    f"{KNOWS.get(label, ELEMENTS_ONLY)}: little was learned of "
                    f"{'total energies' if label == 'energy' else label_title(label)}."
                    f"{BEFORE_USE.get(label, '')}"
                )


def _offsets(results: Results) -> Iterator[str]:
    valid = validation_errors(results, "energy_mae")
    for test in results.tests:
        parts, offsets = [], []
        for variant in results.variants:
            tests = [r.predictions[test] for r in results.of(variant) if test in r.predictions]
            found = [x for predictions in tests if (x := composition_offset(predictions))]
            if not found:
                continue
            mean = Offset(
                found[0].frames,
                found[0].compositions,
                float(np.mean([offset.mae for offset in found])),
                float(np.mean([offset.relative_mae for offset in found])),
                float(np.mean([offset.size for offset in found])),
                float(np.mean([offset.unexplained for offset in found])),
                float(np.mean(list(valid[variant].values()))) if variant in valid else None,
            )
            if mean.is_most:
                values = f"{number(mean.relative_mae)} instead of {number(mean.mae)} meV/atom"
                offsets.append(mean)
                parts.append(f"{values} with {code(variant)}")
        if parts:
            yield (
                f"On the test set {code(test)}, most of the energy error is a constant offset of "
                "each composition. The MAE of relative energies, each against the mean of its "
                f"composition, is {listed(parts)}. {remedy(offsets)}"
            )


def preliminary(results: Results) -> list[str]:
    """A sentence that says why the order of the variants is not settled; none if it is."""
    reasons = []
    changes = [change for outcome in outcomes(results) for change in outcome.changes.values()]
    if changes and all(change.seeds == 1 for change in changes):
        reasons.append("each variant has one seed")
    if changes and (falls := late_falls(results)):
        finished = sum(record.finished for record in results.records)
        reasons.append(f"{len(falls)} of {finished} runs still improved at their end")
    if not reasons:
        return []
    return [f"Preliminary: {' and '.join(reasons)}. The order of the variants may change."]


def late_falls(results: Results) -> list[float]:
    """Falls of the validation losses that still fell at the end; empty if few did."""
    finished = [record for record in results.records if record.finished]
    found = [late_improvement(record.summary, record.curves) for record in finished]
    falls = [fall for fall in found if fall is not None]
    return falls if 2 * len(falls) >= len(finished) else []


def _unfinished(results: Results) -> Iterator[str]:
    finished = [record for record in results.records if record.finished]
    if falls := late_falls(results):
        count = (
            f"All {len(falls)}"
            if len(falls) == len(finished)
            else f"{len(falls)} of {len(finished)}"
        )
        yield (
            f"{count} runs had their lowest validation loss in the last epoch. It still fell by "
            f"{percent(float(np.median(falls)))} % (median) in the last fifth of the epochs: more "
            "epochs may lower the errors and change the result."
        )
