"""What was equal for all variants of a study and what was not, from measurements of the runs."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from muse_lr.ablate.aggregate import Results
from muse_lr.ablate.check import CheckedRun
from muse_lr.ablate.compare import Equality, Facts, compare
from muse_lr.ablate.study import Run
from muse_lr.reporting.wording import code

#: What the summary of a run says about its steps -> name in plain words.
WORK = {
    "epochs": "epochs",
    "steps": "steps",
    "structures": "structures seen",
    "batches": "batches",
    "largest_rate": "largest learning rate",
    "rates": "learning rates of all steps",
}
#: Keys of the summary that do not depend on the seed -> name in plain words.
MACHINE = {
    "device": "device",
    "threads": "threads",
    "processes": "processes",
    "versions": "software versions",
}
#: Name in plain words -> keys of the configuration that must have equal values.
KEYS = {
    "planned epochs": ("epochs",),
    "learning-rate schedule": ("schedule", "learning_rate", "learning_rates"),
    "loss": ("loss",),
    "loss function": ("loss_function", "huber_delta"),
    "optimizer and average of the weights": ("weight_decay", "gradient_clip", "ema"),
    "batch": ("batch",),
    "early stopping": ("early_stopping",),
    "precision": ("dtype",),
}


def measured_equality(results: Results) -> Equality:
    """Compare the finished runs by what they recorded."""
    facts: list[Facts] = []
    notes: list[str] = []
    for record in (record for record in results.records if record.finished):
        run, summary = record.run, record.summary
        work = summary.get("work", {})
        measured = {name: work.get(key) for key, name in WORK.items()}
        measured |= summary.get("fingerprints", {})
        settings = {name: summary.get(key) for key, name in MACHINE.items()} | _configured(run)
        weights = _weights(run, summary.get("initial_weights", {}))
        facts.append(Facts(run.variant, run.seed, measured, settings, weights))
        planned = (run.config.get("training") or {}).get("epochs")
        if planned is not None and work.get("epochs", planned) < planned:
            notes.append(
                f"early stopping ended {code(run.name)} after {work['epochs']} of {planned} epochs"
            )
        notes += run.notes
    equality = compare(facts)
    equality.unequal += dict.fromkeys(notes)
    return equality


def planned_equality(checked: Sequence[CheckedRun]) -> Equality:
    """Compare the planned runs by the work, the data and the weights that the plan found."""
    facts: list[Facts] = []
    notes: list[str] = []
    dropping = [item.run.variant for item in checked if _drops_on_plateau(item.run)]
    for item in checked:
        run = item.run
        measured = {name: getattr(item.work, key) for key, name in WORK.items()}
        if dropping:
            measured.pop(WORK["rates"])  # the validation loss decides them
        settings = {"device": run.config["training"]["device"], **_configured(run)}
        weights = _weights(run, item.initial_weights)
        facts.append(Facts(run.variant, run.seed, measured | item.fingerprints, settings, weights))
        notes += run.notes
    equality = compare(facts)
    if dropping:
        names = ", ".join(code(name) for name in dict.fromkeys(dropping))
        notes.append(
            f"{WORK['rates']}: depend on the validation loss in {names} (schedule kind plateau)"
        )
    if any(item.run.config["training"].get("early_stopping") for item in checked):
        notes.append("early stopping may end variants after different numbers of epochs")
    equality.unequal += dict.fromkeys(notes)
    return equality


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


def _weights(run: Run, digests: Mapping[str, str]) -> dict[tuple[str, str], str]:
    """Digests of the initial weights by part and its settings in the study."""
    model = run.config.get("model") or {}
    found = {}
    for part, digest in digests.items():
        settings: Any = model
        for key in part.split(".", 1):  # heads.NAME, whose name may have dots
            settings = (settings or {}).get(key)
        found[part, json.dumps(settings, sort_keys=True)] = digest
    return found


def _drops_on_plateau(run: Run) -> bool:
    schedule = run.config["training"].get("schedule") or {}
    return bool(schedule.get("kind") == "plateau")
