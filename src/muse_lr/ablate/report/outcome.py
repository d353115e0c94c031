"""The result of a study in sentences: changes of the main error against the reference variant."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from muse_lr.ablate.aggregate import Record, Results, differences, means
from muse_lr.ablate.statistics import Difference, Mean, mean_interval, paired_seeds
from muse_lr.reporting.wording import (
    listed,
    metric_unit,
    number,
    percent_change,
    percent_interval,
)

#: Metrics by which variants are compared in the sentences, the first one that a test set has.
MAIN_METRICS = ("forces_mae", "energy_mae")
#: From this ratio on, an error is "3.1 times as large" rather than "210 % higher".
TIMES = 2.0
#: Largest number of runs that are named as left out.
MOST_NAMED = 4


@dataclass(frozen=True, eq=False)
class Outcome:
    """Changes of one error on one test set, or on the validation data.

    Attributes
    ----------
    test : str
        Name of the test set; empty for the validation data.
    metric : str
        Such as ``forces_mae``.
    values : dict of str to Mean
        Variant -> mean of the metric over its seeds.
    changes : dict of str to Difference
        Variant -> paired difference to the reference.
    """

    test: str
    metric: str
    values: dict[str, Mean]
    changes: dict[str, Difference]

    @property
    def start(self) -> str:
        """The data, as the start of a sentence: ``"On the test set far"``."""
        return f"On the test set {self.test}" if self.test else "On the validation data"

    @property
    def error(self) -> str:
        """The metric in words: ``"force error (MAE)"``."""
        label, _, kind = self.metric.rpartition("_")
        return f"{'force' if label == 'forces' else label.replace('_', ' ')} error ({kind.upper()})"

    def value(self, variant: str) -> str:
        """Mean, interval and unit of a variant: ``"47.0 ± 2.8 meV/Å"``."""
        mean = self.values[variant]
        half = "" if mean.half_width is None else f" ± {number(mean.half_width, 2)}"
        return f"{number(mean.value)}{half} {metric_unit(self.metric)}".rstrip()


def outcomes(results: Results, metrics: Sequence[str] = MAIN_METRICS) -> list[Outcome]:
    """Compare the variants by the first of ``metrics`` that each test set has.

    Test sets with none of them are compared by their first MAE. Without any test set, the errors of
    the best epoch on the validation data are compared.

    Raises
    ------
    InputError
        If two runs were tested on different frames.
    """
    if not results.tests:
        return _on_validation(results, metrics)
    found = []
    for test in results.tests:
        known = results.metrics(test)
        candidates = [m for m in metrics if m in known]
        candidates += [m for m in known if m.endswith("_mae") and m not in candidates]
        compared = [m for m in candidates if differences(results, test, m)]
        for metric in (compared or candidates)[:1]:
            values, changes = means(results, test, metric), differences(results, test, metric)
            found.append(Outcome(test, metric, values, changes))
    return found


def other_errors(results: Results, outcome: Outcome) -> list[Outcome]:
    """The same comparison for the other main errors of a test set."""
    others = []
    for metric in MAIN_METRICS:
        if metric == outcome.metric:
            continue
        if not outcome.test:
            others += [o for o in _on_validation(results, (metric,)) if o.changes]
        elif changes := differences(results, outcome.test, metric):
            values = means(results, outcome.test, metric)
            others.append(Outcome(outcome.test, metric, values, changes))
    return others


def result_sentences(results: Results) -> list[str]:
    """Say what the study found, in one line for each test set.

    A second sentence of the line follows where the energies say something else than the forces.

    Further lines say that test sets disagree, that one seed gives no interval, and which runs
    are left out.
    """
    found = outcomes(results)
    variants, reference = results.variants, results.reference
    if variants and reference not in variants:
        start = f"No variant is compared: the reference {reference} has no finished run."
        sentences = [start, *(_values(outcome) for outcome in found)]
    elif len(variants) < 2:
        name = next(iter(variants), reference)
        start = f"No variant is compared: {name} is the only one with a finished run."
        sentences = [start, *(_values(outcome) for outcome in found)]
    elif not any(outcome.changes for outcome in found):
        start = f"No variant is compared: none has a seed and an error in common with {reference}."
        sentences = [start, *(_values(outcome) for outcome in found)]
    else:
        sentences = _disagreement(found)
        for outcome in (o for o in found if o.changes):
            start = f"{outcome.start}, compared with {reference} ({outcome.value(reference)}), the"
            parts = [f"{start} {_verdict(outcome)}."]
            # A test set in which energies and forces say the same needs one sentence.
            for other in other_errors(results, outcome):
                if _directions(other) != _directions(outcome):
                    parts.append(f"The {_verdict(other)}.")
            sentences.append(" ".join(parts))
        if all(d.seeds == 1 for o in found for d in o.changes.values()):
            sentences.append(
                "One seed gives no interval: how much two trainings of one variant differ is not "
                "known."
            )
    return [*sentences, *_left_out(results)]


def result_notes(results: Results) -> list[str]:
    """Explain the intervals of :func:`result_sentences`; empty without any interval."""
    found = [o for o in outcomes(results) if o.changes]
    seeds = {d.seeds for o in found for d in o.changes.values()}
    notes = []
    if seeds - {1}:
        low, high = min(seeds), max(seeds)
        count = f"{low} to {high}" if high > low else f"{high}"
        where = "seeds and of the test frames" if results.tests else "seeds"
        notes.append(
            "In brackets: 95 % intervals of the change, paired by seed"
            f"{' and frame' if results.tests else ''}. They cover the spread of {count} {where}."
        )
    if found and not results.tests:
        notes.append(
            "There is no test set. The validation data choose the best epoch, so that their errors "
            "are lower than those on new data: give data.test."
        )
    return notes


def _on_validation(results: Results, metrics: Sequence[str]) -> list[Outcome]:
    """Compare the validation errors of the best epochs, which are known for each seed only."""
    for metric in metrics:
        values = {
            variant: {
                record.run.seed: value
                for record in results.of(variant)
                if (value := _validation_error(record, metric)) is not None
            }
            for variant in results.variants
        }
        values = {variant: seeds for variant, seeds in values.items() if seeds}
        if not values:
            continue
        reference = values.get(results.reference, {})
        changes = {}
        for variant, seeds in values.items():
            common = [seed for seed in seeds if seed in reference]
            if common and variant != results.reference:
                ours, theirs = ([v[seed] for seed in common] for v in (seeds, reference))
                changes[variant] = paired_seeds(ours, theirs)
        intervals = {v: mean_interval(list(seeds.values())) for v, seeds in values.items()}
        return [Outcome("", metric, intervals, changes)]
    return []


def _validation_error(record: Record, metric: str) -> float | None:
    """Validation error of a run at its best epoch; None if it was not recorded."""
    column, epochs = record.curves.get(f"valid_{metric}"), record.curves.get("epoch")
    best = record.summary.get("best_epoch")
    if column is None or epochs is None or best is None:
        return None
    found = column[epochs == best]
    return float(found[-1]) if len(found) and math.isfinite(found[-1]) else None


def _verdict(outcome: Outcome) -> str:
    """``"force error (MAE) is 9 % lower with b [5, 12]; exactly the same with c"``."""
    groups: dict[str, list[tuple[float, str]]] = {"lower": [], "higher": [], "": [], "same": []}
    single = {d.seeds for d in outcome.changes.values()} == {1}
    for variant, change in outcome.changes.items():
        direction = _direction(change)
        text = _change(variant, change, direction, outcome.metric)
        if change.seeds == 1 and not single and direction != "same":
            text += " (one seed, no interval)"
        groups[direction].append((change.value, text))
    parts = []
    for direction, changes in groups.items():
        ordered = sorted(changes, reverse=direction == "higher") if direction else changes
        text = ", ".join(text for _, text in ordered)
        start = {"": "not significantly different ", "same": "exactly the same "}.get(direction, "")
        parts += [f"{start}{text}"] if text else []
    return f"{outcome.error} is {'; '.join(parts)}"


def _directions(outcome: Outcome) -> dict[str, str]:
    return {variant: _direction(change) for variant, change in outcome.changes.items()}


def _direction(change: Difference) -> str:
    """``"lower"``, ``"higher"``, ``"same"``, or empty for a difference that is not resolved."""
    if change.value == 0 and (change.seeds == 1 or change.low == change.high == 0):
        return "same"
    if change.excludes_zero or change.seeds == 1:
        return "lower" if change.value < 0 else "higher"
    return ""


def _change(variant: str, change: Difference, direction: str, metric: str) -> str:
    """One variant: ``"9 % lower with b [5, 12]"`` or ``"with c (−2 % [−6, +3])"``."""
    if direction == "same":
        return f"with {variant}"
    bounds = () if change.seeds == 1 else (change.ratio_low, change.ratio_high)
    if not all(map(math.isfinite, (change.ratio, *bounds))):  # the reference has no errors
        shown = [number(v, 2, sign=True) for v in (change.value, change.low, change.high)]
        interval = f" [{shown[1]}, {shown[2]}]" if bounds else ""
        return f"with {variant} ({shown[0]} {metric_unit(metric)}{interval})"
    if not direction:
        return f"with {variant} ({percent_interval(change.ratio, *bounds)})"
    if change.ratio >= TIMES:
        interval = f" [{number(bounds[0], 2)}, {number(bounds[1], 2)}]" if bounds else ""
        return f"{number(change.ratio, 2)} times as large with {variant}{interval}"
    value, *sides = percent_change(change.ratio, *bounds)
    return f"{value} % {direction} with {variant}" + (f" [{', '.join(sides)}]" if sides else "")


def _values(outcome: Outcome) -> str:
    values = [f"{outcome.value(variant)} with {variant}" for variant in outcome.values]
    return f"{outcome.start}, the {outcome.error} is {listed(values)}."


def _disagreement(found: Sequence[Outcome]) -> list[str]:
    """A sentence on variants that are better on one test set and worse on another one."""
    parts = []
    for variant in dict.fromkeys(v for outcome in found for v in outcome.changes):
        places: dict[str, list[str]] = {"lower": [], "higher": []}
        for outcome in found:
            change = outcome.changes.get(variant)
            if change is not None and change.significant:
                places[_direction(change)].append(outcome.test)
        if all(places.values()):
            lower, higher = (listed(names) for names in places.values())
            parts.append(f"with {variant} the error is lower on {lower} and higher on {higher}")
    return [f"The result depends on the test set: {'; '.join(parts)}."] if parts else []


def _left_out(results: Results) -> list[str]:
    sentences = []
    total = len(results.records)
    for status, reason in (("failed", "failed"), ("not run", "not finished")):
        names = [record.run.name for record in results.records if record.status == status]
        if names:
            shown = names[:MOST_NAMED]
            more = [f"{len(names) - MOST_NAMED} more"] if len(names) > MOST_NAMED else []
            sentences.append(
                f"Left out, because {reason}: {listed([*shown, *more])} ({len(names)} of {total} "
                "runs)."
            )
    return sentences
