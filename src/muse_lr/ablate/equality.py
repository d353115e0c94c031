"""What was equal for all variants of a study and what was not, from measurements of the runs."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from muse_lr.ablate.aggregate import Results
from muse_lr.ablate.check import CheckedRun
from muse_lr.ablate.study import Run
from muse_lr.reporting.wording import number

#: Longest value that is written out.
LONGEST = 40
#: A digest, which says nothing to a reader where all are equal.
DIGEST = re.compile(r"[0-9a-f]{16}")
#: What the summary of a run says about its steps -> name in plain words.
WORK = {
    "epochs": "epochs",
    "steps": "steps",
    "structures": "structures seen",
    "batches": "batches",
    "largest_rate": "largest learning rate",
    "rates": "learning rates of all steps",
}
#: Name in plain words -> keys of the configuration that must have equal values.
KEYS = {
    "learning-rate schedule": ("schedule", "learning_rate"),
    "loss": ("loss",),
    "loss function": ("loss_function", "huber_delta"),
    "optimizer and average of the weights": ("weight_decay", "gradient_clip", "ema"),
    "batch": ("batch",),
    "early stopping": ("early_stopping",),
    "precision": ("dtype",),
}


@dataclass(frozen=True)
class Facts:
    """Values of one run that should be equal for all variants."""

    variant: str
    seed: int
    values: dict[str, Any]


@dataclass(frozen=True)
class Equality:
    """What is equal for all variants, and what is not, as phrases.

    Attributes
    ----------
    equal, unequal : list of str
    variants : int
        Number of variants that were compared.
    """

    equal: list[str] = field(default_factory=list)
    unequal: list[str] = field(default_factory=list)
    variants: int = 0

    def lines(self) -> list[str]:
        """Sentences for a report or the terminal."""
        if self.variants < 2:
            return []
        found = []
        if self.unequal:
            found.append(f"Not equal for all variants: {'; '.join(self.unequal)}.")
        if self.equal:
            start = "Equal" if self.unequal else "All that was compared is equal"
            found.append(f"{start} for all variants: {', '.join(self.equal)}.")
        return found


def measured_equality(results: Results) -> Equality:
    """Compare the finished runs by what they recorded, seed by seed."""
    facts: list[Facts] = []
    extra: list[str] = []
    seeds: dict[str, list[int]] = {}
    for record in (record for record in results.records if record.finished):
        run, summary = record.run, record.summary
        work = summary.get("work", {})
        values = {name: work.get(key) for key, name in WORK.items()}
        values |= summary.get("fingerprints", {})
        values |= {"device": summary.get("device"), "threads": summary.get("threads")}
        values["software versions"] = summary.get("versions")
        facts.append(Facts(run.variant, run.seed, {**values, **_configured(run)}))
        seeds.setdefault(run.variant, []).append(run.seed)
        planned = (run.config.get("training") or {}).get("epochs")
        if planned is not None and work.get("epochs", planned) < planned:
            extra.append(
                f"early stopping ended {run.name} after {work['epochs']} of {planned} epochs"
            )
        extra += run.notes
    equality = compare(facts)
    finished = {variant: ", ".join(map(str, sorted(found))) for variant, found in seeds.items()}
    if len(set(finished.values())) > 1:
        extra.append(f"seeds ({_groups(finished)})")
    elif finished:
        equality.equal.append(f"seeds ({next(iter(finished.values()))})")
    return Equality(equality.equal, [*equality.unequal, *dict.fromkeys(extra)], equality.variants)


def planned_equality(checked: Sequence[CheckedRun]) -> Equality:
    """Compare the planned runs by the work and the data that the plan found."""
    facts: list[Facts] = []
    notes: list[str] = []
    for item in checked:
        run = item.run
        values = {name: getattr(item.work, key) for key, name in WORK.items()}
        if _drops_on_plateau(run):
            values.pop(WORK["rates"])  # they depend on the validation loss
        device = {"device": run.config["training"]["device"]}
        values |= item.fingerprints | device | _configured(run)
        facts.append(Facts(run.variant, run.seed, values))
        notes += run.notes
    equality = compare(facts)
    if any(map(_drops_on_plateau, (item.run for item in checked))):
        notes.append("learning rates may drop at different steps (schedule kind plateau)")
    if any(item.run.config["training"].get("early_stopping") for item in checked):
        notes.append("early stopping may end variants after different numbers of epochs")
    unequal = [*equality.unequal, *dict.fromkeys(notes)]
    return Equality(equality.equal, unequal, equality.variants)


def compare(facts: Sequence[Facts]) -> Equality:
    """Compare the values of runs with the same seed.

    A value that some runs did not record counts as different; one that none recorded is left out.
    """
    equal, unequal = [], []
    for name in dict.fromkeys(name for fact in facts for name in fact.values):
        found = {(f.seed, f.variant): f.values.get(name) for f in facts}
        if all(value is None for value in found.values()):
            continue
        different = _first_different(found)
        if different:
            unequal.append(f"{name} ({_groups(different)})")
            continue
        texts = {_text(value) for value in found.values()}
        shown = texts.pop() if len(texts) == 1 else ""
        shown = "" if DIGEST.fullmatch(shown) else shown
        equal.append(f"{name} ({shown})" if shown else name)
    return Equality(equal, unequal, len({fact.variant for fact in facts}))


def _first_different(found: Mapping[tuple[int, str], Any]) -> dict[str, Any]:
    """Values by variant for the first seed whose variants differ; empty if none do."""
    for seed in dict.fromkeys(seed for seed, _ in found):
        values = {variant: value for (other, variant), value in found.items() if other == seed}
        if len({_key(value) for value in values.values()}) > 1:
            return values
    return {}


def _groups(values: Mapping[str, Any]) -> str:
    """``"short_range, charges: 416; muse: 976"``; groups alone if the values are long."""
    groups: dict[str, list[str]] = {}
    for variant, value in values.items():
        groups.setdefault(_key(value), []).append(variant)
    texts = [_text(values[variants[0]]) for variants in groups.values()]
    if all(texts) and len(set(texts)) == len(texts):
        pairs = zip(groups.values(), texts, strict=True)
        return "; ".join(f"{', '.join(variants)}: {text}" for variants, text in pairs)
    return " differ from ".join(", ".join(variants) for variants in groups.values())


def _key(value: Any) -> str:
    return json.dumps(value, sort_keys=True, default=str)


def _text(value: Any) -> str:
    """A short value in words; empty for a long one."""
    if value is None:
        return "none"
    if isinstance(value, float):
        return number(value)
    if isinstance(value, dict):
        texts = {key: _text(item) for key, item in value.items()}
        text = (
            ", ".join(f"{key} {item}" for key, item in texts.items()) if all(texts.values()) else ""
        )
    else:
        text = str(value)
    return text if len(text) <= LONGEST else ""


def _configured(run: Run) -> dict[str, Any]:
    """Settings of a run that should be equal."""
    training = run.config.get("training") or {}
    values: dict[str, Any] = {}
    for name, keys in KEYS.items():
        found = {key: training[key] for key in keys if key in training}
        if len(found) == 1 and len(keys) == 1:
            value = next(iter(found.values()))
            values[name] = "none" if value is None else value
        elif found:
            values[name] = found
    return {**values, "data files and keys": run.config.get("data")}


def _drops_on_plateau(run: Run) -> bool:
    schedule = run.config["training"].get("schedule") or {}
    return bool(schedule.get("kind") == "plateau")
