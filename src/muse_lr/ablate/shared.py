"""Settings that all variants of a study share, from the configurations and the runs."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from muse_lr.ablate.aggregate import Results
from muse_lr.ablate.study import Run, comparable
from muse_lr.reporting.html import Cell, Table
from muse_lr.reporting.runs import flatten

#: Topic of a fair comparison -> prefixes of its keys.
TOPICS = {
    "training, validation and test data": ("data",),
    "seeds (initial weights, split, data order)": ("training.seed",),
    "E0s and elements": ("model.e0", "model.elements"),
    "optimizer and schedule": (
        "training.learning_rate",
        "training.weight_decay",
        "training.schedule",
        "training.gradient_clip",
        "training.ema",
    ),
    "loss": ("training.loss", "training.loss_function", "training.huber_delta"),
    "budget": ("training.epochs", "training.batch", "training.early_stopping"),
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
#: Tolerance (eV per frame) for equal E0s, which are written with few digits.
E0_TOLERANCE = 1e-4
ABSENT = "absent"
#: Printed for the keys of a part that is absent from a variant.
NOTHING = "–"


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


def recorded_lines(results: Results) -> list[str]:
    """Compare data that the runs recorded, seed by seed.

    E0s are compared through the energies of isolated atoms in the predictions, all other data
    through the ``fingerprints`` in the summaries.
    """
    names = {name for r in results.records for name in r.summary.get("fingerprints", {})}
    lines = [
        _state(f"{name.replace('_', ' ')}, as recorded by the runs", _unequal(results, name))
        for name in sorted(names)
    ]
    parts = [_unequal_e0s(results, test) for test in results.tests]
    if any(found is not None for found in parts):
        seeds = sorted({seed for found in parts for seed in found or []})
        lines.append(_state("E0s, as found in the predictions", seeds))
    return lines


def _state(what: str, unequal: Sequence[int]) -> str:
    if unequal:
        return f"{what}: DIFFER between variants for seed {', '.join(map(str, unequal))}"
    return f"{what}: equal for all variants"


def _unequal(results: Results, name: str) -> list[int]:
    """Return the seeds with different fingerprints between variants."""
    by_seed: dict[int, set[str]] = {}
    for record in results.records:
        value = record.summary.get("fingerprints", {}).get(name)
        if value is not None:
            by_seed.setdefault(record.run.seed, set()).add(str(value))
    return sorted(seed for seed, values in by_seed.items() if len(values) > 1)


def _unequal_e0s(results: Results, test: str) -> list[int] | None:
    """Return the seeds with different atomic energies of the test frames; None without any."""
    by_seed: dict[int, list[np.ndarray]] = {}
    for record in results.records:
        predictions = record.predictions.get(test)
        if predictions is not None and "e0" in predictions.parts:
            by_seed.setdefault(record.run.seed, []).append(predictions.parts["e0"])
    if not by_seed:
        return None
    return [
        seed
        for seed, (first, *others) in by_seed.items()
        if any(e0.shape != first.shape or np.abs(e0 - first).max() > E0_TOLERANCE for e0 in others)
    ]


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
