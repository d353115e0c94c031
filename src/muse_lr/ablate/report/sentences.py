"""The result of a study in words: one line for each variant under a heading for each test set."""

from __future__ import annotations

import math
from collections.abc import Sequence

from muse_lr.ablate.aggregate import Results
from muse_lr.ablate.report.findings import preliminary
from muse_lr.ablate.report.outcome import Outcome, against, other_errors, outcomes
from muse_lr.ablate.report.subsets import largest_change
from muse_lr.ablate.statistics import Difference
from muse_lr.data.formats import printable
from muse_lr.reporting.html import Items
from muse_lr.reporting.wording import (
    code,
    label_title,
    listed,
    metric_unit,
    number,
    percent_change,
    percent_interval,
)

#: From this ratio on, an error is "3.1 times as large" rather than "210 % higher".
TIMES = 2.0
#: A variant that is also compared with one of its parts, the first one that the study has.
WHOLE, PARTS = "both", ("charges", "muse")
#: Largest number of runs that are named as left out.
MOST_NAMED = 4


def result_blocks(results: Results, subsets: Sequence[str] = ()) -> list[str | Items]:
    """Say what the study found: for each test set a heading and a line for each variant.

    Sentences above say that the result is preliminary, and that test sets disagree. The last line
    names the subset with the largest change. Without any comparison, the errors are listed.

    Parameters
    ----------
    results : Results
    subsets : sequence of str
        Info keys by which the frames are divided; default: the usual ones that they have.
    """
    found = outcomes(results)
    obstacle = _obstacle(results, found)
    if obstacle:
        return [obstacle, *(_values(outcome) for outcome in found)]
    blocks: list[str | Items] = [*preliminary(results), *_disagreement(found)]
    for outcome in (o for o in found if o.changes):
        compared = [outcome, *other_errors(results, outcome)]
        blocks.append(_heading(compared))
        lines = [*_lines(results, compared), *_largest(results, outcome, subsets)]
        blocks.append(Items(lines))
    return blocks


def result_warnings(results: Results) -> list[str]:
    """Say that one seed gives no interval, and which runs are left out."""
    changes = [change for outcome in outcomes(results) for change in outcome.changes.values()]
    sentences = []
    if changes and all(change.seeds == 1 for change in changes):
        sentences.append(
            "One seed gives no interval: how much two trainings of one variant differ is not "
            "known. Write `seeds: [0, 1, 2]` in the study file and repeat the command: finished "
            "runs are kept."
        )
    total = len(results.records)
    for status, reason in (("failed", "failed"), ("not run", "not finished")):
        names = [record.run.name for record in results.records if record.status == status]
        if names:
            shown = [code(name) for name in names[:MOST_NAMED]]
            more = [f"{len(names) - MOST_NAMED} more"] if len(names) > MOST_NAMED else []
            sentences.append(
                f"Left out, because {reason}: {listed([*shown, *more])} ({len(names)} of {total} "
                "runs)."
            )
    return sentences


def result_notes(results: Results) -> list[str]:
    """Explain the intervals of :func:`result_blocks`; empty without any interval."""
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


def phrase(change: Difference, metric: str) -> str:
    """``"9 % lower [5, 12]"``, ``"not significantly different (−2 % [−6, +3])"``."""
    direction = _direction(change)
    if direction == "same":
        return "exactly the same"
    bounds = () if change.seeds == 1 else (change.ratio_low, change.ratio_high)
    if not all(map(math.isfinite, (change.ratio, *bounds))):  # the reference has no errors
        shown = [number(v, 2, sign=True) for v in (change.value, change.low, change.high)]
        interval = f" [{shown[1]}, {shown[2]}]" if bounds else ""
        return f"different by {shown[0]} {metric_unit(metric)}{interval}"
    if not direction:
        return f"not significantly different ({percent_interval(change.ratio, *bounds)})"
    if change.ratio >= TIMES:
        interval = f" [{number(bounds[0], 2)}, {number(bounds[1], 2)}]" if bounds else ""
        return f"{number(change.ratio, 2)} times as large{interval}"
    value, *sides = percent_change(change.ratio, *bounds)
    return f"{value} % {direction}" + (f" [{', '.join(sides)}]" if sides else "")


def _obstacle(results: Results, found: Sequence[Outcome]) -> str:
    """Why nothing is compared; empty if something is."""
    variants, reference = results.variants, code(results.reference)
    if variants and results.reference not in variants:
        return f"No variant is compared: the reference {reference} has no finished run."
    if len(variants) < 2:
        name = code(next(iter(variants), results.reference))
        return f"No variant is compared: {name} is the only one with a finished run."
    if not any(outcome.changes for outcome in found):
        return f"No variant is compared: none has a seed and an error in common with {reference}."
    return ""


def _heading(compared: Sequence[Outcome]) -> str:
    """``"On the test set `far`, compared with `a` (MAE: forces 47.0 ± 2.8 meV/Å, energy ...):"``"""
    first, texts, last = compared[0], [], ""
    for outcome in compared:
        if first.reference in outcome.values:
            label, _, kind = outcome.metric.rpartition("_")
            start = f"{kind.upper()}: " if kind != last else ""
            texts.append(f"{start}{label_title(label)} {outcome.value(first.reference)}")
            last = kind
    return f"{first.start}, compared with {code(first.reference)} ({', '.join(texts)}):"


def _lines(results: Results, compared: Sequence[Outcome]) -> list[str]:
    """One line for each variant, the best change first, then :data:`WHOLE` against its part."""
    single = all(d.seeds == 1 for outcome in compared for d in outcome.changes.values())
    order = sorted(compared[0].changes, key=lambda name: compared[0].changes[name].value)
    names = dict.fromkeys([*order, *(name for outcome in compared for name in outcome.changes)])
    lines = [f"{code(name)}: {_changes(name, compared, single)}" for name in names]
    part = next((name for name in PARTS if name in results.variants), results.reference)
    if part != results.reference:
        found = [against(results, outcome, part) for outcome in compared]
        text = _changes(WHOLE, found, single)
        lines += [f"{code(WHOLE)} compared with {code(part)}: {text}"] if text else []
    return lines


def _largest(results: Results, outcome: Outcome, subsets: Sequence[str]) -> list[str]:
    """The largest significant change on one subset, with the number from which it was chosen."""
    found = largest_change(results, outcome, subsets)
    if found is None:
        return []
    change = f"{outcome.noun} {phrase(found.change, outcome.metric)}"
    where = f"{found.key} {code(printable(found.name))} ({found.frames:,} frames)"
    return [
        f"Largest of {found.count} significant changes on subsets: {code(found.variant)} on "
        f"{where}, {change}"
        if found.count > 1
        else f"The only significant change on a subset: {code(found.variant)} on {where}, {change}"
    ]


def _changes(variant: str, compared: Sequence[Outcome], single: bool) -> str:
    """Changes of all errors of a variant; a variant with one seed among others is marked."""
    parts = []
    for outcome in compared:
        change = outcome.changes.get(variant)
        if change is not None:
            parts.append(f"{outcome.noun} {phrase(change, outcome.metric)}")
            if change.seeds == 1 and not single and _direction(change) != "same":
                parts[-1] += " (one seed, no interval)"
    return ", ".join(parts)


def _direction(change: Difference) -> str:
    """``"lower"``, ``"higher"``, ``"same"``, or empty for a difference that is not resolved."""
    if change.value == 0 and (change.seeds == 1 or change.low == change.high == 0):
        return "same"
    if change.excludes_zero or change.seeds == 1:
        return "lower" if change.value < 0 else "higher"
    return ""


def _values(outcome: Outcome) -> str:
    values = [f"{outcome.value(variant)} with {code(variant)}" for variant in outcome.values]
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
            lower, higher = (listed([code(x) for x in names]) for names in places.values())
            parts.append(
                f"with {code(variant)} the error is lower on {lower} and higher on {higher}"
            )
    return [f"The result depends on the test set: {'; '.join(parts)}."] if parts else []
