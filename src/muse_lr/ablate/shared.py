"""Settings that all variants of a study share, from their configurations."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from muse_lr.ablate.aggregate import Results
from muse_lr.ablate.study import Run, comparable
from muse_lr.reporting.html import Cell, Table
from muse_lr.reporting.runs import flatten, read_config

#: Topic of a fair comparison -> prefixes of its keys.
TOPICS = {
    "training, validation and test data": ("data",),
    "seeds (initial weights, split, data order)": ("training.seed",),
    "E0s and elements": ("model.e0", "model.elements"),
    "optimizer and schedule": (
        "training.learning_rate",
        "training.learning_rates",
        "training.weight_decay",
        "training.schedule",
        "training.gradient_clip",
        "training.ema",
    ),
    "loss": ("training.loss", "training.loss_function", "training.huber_delta"),
    "epochs, batches and early stopping": (
        "training.epochs",
        "training.batch",
        "training.early_stopping",
    ),
    "precision and device": ("training.dtype", "training.device"),
    "backbone": ("model.backbone",),
    "multiscale": ("model.multiscale",),
    "charges": ("model.charges",),
    "heads": ("model.heads",),
}
#: Meaning of null for a key.
DEFAULT_MEANINGS = {
    "model.e0": "E0s by least squares over the training data",
    "model.elements": "elements of the training data",
}
ABSENT = "absent"
#: Printed for the keys of a part that is absent from a variant.
NOTHING = "–"


def completed_runs(results: Results) -> tuple[list[Run], bool]:
    """Runs with the configurations that training completed from the data.

    The E0s depend on the seed, so that all runs of a variant get the configuration of one seed that
    is finished for all variants with a finished run.

    Returns
    -------
    runs : list of Run
        Runs of these variants; all planned runs if there is no such seed.
    completed : bool
        Whether there is such a seed.
    """
    finished = {v: {r.run.seed: r.run for r in results.of(v)} for v in results.variants}
    planned = [record.run for record in results.records]
    seeds = [s for s in next(iter(finished.values()), {}) if all(s in f for f in finished.values())]
    configs = {}
    for variant, found in finished.items():
        configs[variant] = read_config(found[seeds[0]].directory / "config.yaml") if seeds else {}
    if not seeds or not all(configs.values()):
        return planned, False
    return [replace(r, config=configs[r.variant]) for r in planned if r.variant in configs], True


def differing_keys(runs: Sequence[Run]) -> dict[str, dict[str, str]]:
    """Map each dotted key that differs between variants to its value in each variant.

    A part that is absent from some variants is one key, whose value is the kind of the part. Keys
    of this part follow if they differ between the variants that have it. Only the first run of
    each variant is compared, since all variants have the same seeds.
    """
    configs: dict[str, Any] = {}
    for run in runs:
        configs.setdefault(run.variant, comparable(run.config))
    return _differences(configs, "")


def shared_lines(runs: Sequence[Run]) -> list[str]:
    """Write one line per topic: the shared values, or the keys that differ."""
    different = differing_keys(runs)
    config = flatten(comparable(runs[0].config))
    lines = []
    for topic, prefixes in TOPICS.items():
        keys = [key for key in different if _under(key, prefixes)]
        if keys:
            lines.append(f"{topic}: NOT the same for all variants ({', '.join(keys)})")
            continue
        if topic.startswith("seeds"):
            values = ", ".join(str(seed) for seed in dict.fromkeys(run.seed for run in runs))
        else:
            values = _short({k: v for k, v in config.items() if _under(k, prefixes)})
        lines.append(f"{topic}: the same for all variants ({values or 'defaults'})")
    return lines


def difference_table(runs: Sequence[Run]) -> Table | None:
    """Table with one row per differing key and one column per variant; None without any."""
    different = differing_keys(runs)
    if not different:
        return None
    variants = list(dict.fromkeys(run.variant for run in runs))
    rows = [
        [Cell(key), *(Cell(values.get(variant, NOTHING)) for variant in variants)]
        for key, values in different.items()
    ]
    return Table(["key", *variants], rows, "All keys that differ between the variants.")


def _under(key: str, prefixes: Sequence[str]) -> bool:
    return any(key == prefix or key.startswith(f"{prefix}.") for prefix in prefixes)


def _differences(values: Mapping[str, Any], key: str) -> dict[str, dict[str, str]]:
    if all(value == next(iter(values.values())) for value in values.values()):
        return {}
    sections = {variant: value for variant, value in values.items() if isinstance(value, dict)}
    found = {}
    if len(sections) < len(values):
        found[key] = {variant: _describe(value) for variant, value in values.items()}
    names = dict.fromkeys(name for section in sections.values() for name in section)
    for name in names:
        inner = {variant: section.get(name, ABSENT) for variant, section in sections.items()}
        found |= _differences(inner, f"{key}.{name}" if key else name)
    return found


def _describe(value: Any) -> str:
    if isinstance(value, dict):
        return str(value.get("kind", "on"))
    if isinstance(value, float):
        return f"{value:.6g}"
    return ABSENT if value is ABSENT else json.dumps(value, ensure_ascii=False)


def _short(values: Mapping[str, Any]) -> str:
    shown = []
    for key, value in values.items():
        if key in DEFAULT_MEANINGS and value is None:
            shown.append(DEFAULT_MEANINGS[key])
        elif value not in ([], {}):
            shown.append(f"{key.partition('.')[2]} {_value(value)}")
    return ", ".join(shown)


def _value(value: Any) -> str:
    if isinstance(value, str):
        return value.rpartition("/")[2]
    if isinstance(value, list):
        return " ".join(_value(item) for item in value)
    return json.dumps(value)
