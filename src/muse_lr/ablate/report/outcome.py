"""The result of a study: changes of the main errors of all variants against one of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from muse_lr.ablate.aggregate import Results, differences, means
from muse_lr.ablate.statistics import Difference, Mean, mean_interval, paired_seeds
from muse_lr.reporting.runs import validation_error
from muse_lr.reporting.wording import code, label_title, metric_unit, number

#: Metrics by which variants are compared in the sentences.
MAIN_METRICS = ("forces_mae", "energy_mae")


@dataclass(frozen=True, eq=False)
class Outcome:
    """Changes of one error on one test set, or on the validation data.

    Attributes
    ----------
    test : str
        Name of the test set; empty for the validation data.
    metric : str
        Such as ``forces_mae``.
    reference : str
        Variant to which the others are compared.
    values : dict of str to Mean
        Variant -> mean of the metric over its seeds.
    changes : dict of str to Difference
        Variant -> paired difference to the reference.
    """

    test: str
    metric: str
    reference: str
    values: dict[str, Mean]
    changes: dict[str, Difference]

    @property
    def start(self) -> str:
        """The data, as the start of a sentence: ``"On the test set `far`"``."""
        return f"On the test set {code(self.test)}" if self.test else "On the validation data"

    @property
    def noun(self) -> str:
        """The error in words: ``"force error"``."""
        label = self.metric.rpartition("_")[0]
        return f"{'force' if label == 'forces' else label_title(label)} error"

    @property
    def error(self) -> str:
        """The metric in words: ``"force error (MAE)"``."""
        return f"{self.noun} ({self.metric.rpartition('_')[2].upper()})"

    def value(self, variant: str) -> str:
        """Mean, interval and unit of a variant: ``"47.0 ± 2.8 meV/Å"``."""
        mean = self.values[variant]
        half = "" if mean.half_width is None else f" ± {number(mean.half_width, 2)}"
        return f"{number(mean.value)}{half} {metric_unit(self.metric)}".rstrip()


def main_metrics(results: Results) -> list[str]:
    """Main metrics, those of labels that the runs were trained on first."""
    trained = trained_labels(results)
    return sorted(MAIN_METRICS, key=lambda metric: metric.rpartition("_")[0] not in trained)


def trained_labels(results: Results) -> set[str]:
    """Labels of the losses of all runs; the labels of the main metrics if none is known."""
    losses = [(r.run.config.get("training") or {}).get("loss") or {} for r in results.records]
    known = {label for loss in losses for label, weight in loss.items() if weight}
    return known or {metric.rpartition("_")[0] for metric in MAIN_METRICS}


def outcomes(results: Results, metrics: Sequence[str] = ()) -> list[Outcome]:
    """Compare the variants by the first of ``metrics`` that each test set has.

    Default: :func:`main_metrics`. Test sets with none of them are compared by their first MAE.
    Without any test set, the errors of the best epoch on the validation data are compared.

    Raises
    ------
    InputError
        If two runs were tested on different frames.
    """
    metrics = metrics or main_metrics(results)
    if not results.tests:
        known = (_compared(results, "", metric, results.reference) for metric in metrics)
        return [outcome for outcome in known if outcome.values][:1]
    found = []
    for test in results.tests:
        there = results.metrics(test)
        candidates = [m for m in metrics if m in there]
        candidates += [m for m in there if m.endswith("_mae") and m not in candidates]
        compared = [m for m in candidates if differences(results, test, m)]
        found += [
            _compared(results, test, metric, results.reference)
            for metric in (compared or candidates)[:1]
        ]
    return found


def other_errors(results: Results, outcome: Outcome) -> list[Outcome]:
    """The same comparison for the other main errors of a test set."""
    found = (
        _compared(results, outcome.test, metric, outcome.reference)
        for metric in MAIN_METRICS
        if metric != outcome.metric
    )
    return [other for other in found if other.changes]


def against(results: Results, outcome: Outcome, reference: str) -> Outcome:
    """The same errors, compared with another variant."""
    return _compared(results, outcome.test, outcome.metric, reference)


def validation_errors(results: Results, metric: str) -> dict[str, dict[int, float]]:
    """Validation errors of the best epochs: variant -> seed -> value, where they are known."""
    found = {
        variant: {
            record.run.seed: value
            for record in results.of(variant)
            if (value := validation_error(record.summary, record.curves, metric)) is not None
        }
        for variant in results.variants
    }
    return {variant: seeds for variant, seeds in found.items() if seeds}


def _compared(results: Results, test: str, metric: str, reference: str) -> Outcome:
    """Compare one metric; validation errors, which are known for each seed only, without a test."""
    if test:
        changes = differences(results, test, metric, reference)
        return Outcome(test, metric, reference, means(results, test, metric), changes)
    values = validation_errors(results, metric)
    changes = {}
    for variant, seeds in values.items():
        theirs = values.get(reference, {})
        common = [seed for seed in seeds if seed in theirs]
        if common and variant != reference:
            changes[variant] = paired_seeds(
                [seeds[seed] for seed in common], [theirs[seed] for seed in common]
            )
    intervals = {v: mean_interval(list(seeds.values())) for v, seeds in values.items()}
    return Outcome("", metric, reference, intervals, changes)
