"""Figures of the report of a study: changes, charges, curves, scans, distances, parity."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from muse_lr.ablate.aggregate import Record, Results
from muse_lr.ablate.report.breakdowns import predicted_charges
from muse_lr.ablate.report.outcome import other_errors, outcomes
from muse_lr.ablate.statistics import Difference
from muse_lr.reporting.comparison_plots import Change, charge_distributions, relative_changes
from muse_lr.reporting.figures import (
    distance_errors,
    interaction_panels,
    mean_curve,
    parity_panels,
    scan_curves,
)
from muse_lr.reporting.html import Block, Image, Section
from muse_lr.reporting.plots import (
    Curve,
    InteractionPanel,
    ParityPanel,
    error_against_distance,
    interaction_curves,
    learning_curves,
    parity,
)
from muse_lr.reporting.style import save
from muse_lr.reporting.wording import code, listed, metric_title, percent_interval

#: Largest number of test sets in the figure of the changes.
MOST_PANELS = 4


def change_image(results: Results, out: Path) -> Image | None:
    """Changes of the main errors of each variant; None without any comparison."""
    panels: dict[str, dict[str, dict[str, Change]]] = {}
    texts = []
    for found in [o for o in outcomes(results) if o.changes][:MOST_PANELS]:
        title = f"test set {found.test}" if found.test else "validation data"
        for outcome in (found, *other_errors(results, found)):
            name = metric_title(outcome.metric)
            changes = {
                variant: _change(x)
                for variant, x in outcome.changes.items()
                if np.isfinite(x.ratio)
            }
            if not changes:
                continue
            panels.setdefault(title, {})[name] = changes
            values = [
                f"{v} {percent_interval(*(b for b in (x.ratio, x.low, x.high) if np.isfinite(b)))}"
                for v, x in changes.items()
            ]
            texts.append(f"{title}, {name}: {', '.join(values)}")
    if not panels:
        return None
    seeds = {d.seeds for o in outcomes(results) for d in o.changes.values()}
    lines = "; lines: 95 % intervals" if seeds - {1} else ""
    caption = (
        f"Change of the error of each variant relative to {code(results.reference)}{lines}. "
        "Left of the line is better."
    )
    image = _image(out, "changes", relative_changes(panels), caption)
    return replace(image, alt=f"{caption} {'; '.join(texts)}.")


def _change(difference: Difference) -> Change:
    """Ratio with its interval; a single seed has none."""
    if difference.seeds == 1:
        return Change(difference.ratio, np.nan, np.nan)
    return Change(difference.ratio, difference.ratio_low, difference.ratio_high)


def charge_blocks(results: Results, out: Path) -> list[Block]:
    """Distributions of the predicted charges by element, one figure for each test set."""
    blocks: list[Block] = []
    for test in results.tests:
        predicted, reference = predicted_charges(results, test)
        if not predicted:
            continue
        names = listed([code(name) for name in predicted])
        caption = (
            f"Test set {test}: predicted charges of all atoms of an element, all seeds: {names}"
            f"{'; dotted: reference' if reference else ''}."
        )
        figure = charge_distributions(predicted, reference, results.variants)
        blocks.append(_image(out, f"charges-{test}", figure, caption))
    return blocks


def figure_sections(results: Results, out: Path) -> list[Section]:
    """Sections of all figures but that of the changes, without empty ones."""
    sections = [
        ("Predicted charges", charge_blocks(results, out)),
        ("Learning curves", _learning_blocks(results, out)),
        ("Interaction energy along the distance", _interaction_blocks(results, out)),
        ("Error against distance", _distance_blocks(results, out)),
        ("Parity", _parity_blocks(results, out)),
    ]
    return [Section(title, blocks) for title, blocks in sections if blocks]


def _learning_blocks(results: Results, out: Path) -> list[Block]:
    runs = {v: [r.curves for r in results.of(v) if r.curves] for v in results.variants}
    runs = {variant: curves for variant, curves in runs.items() if curves}
    if not runs:
        return []
    caption = "Validation loss and validation errors of all runs; one line per seed."
    return [_image(out, "learning-curves", learning_curves(runs), caption)]


def _interaction_blocks(results: Results, out: Path) -> list[Block]:
    curves = {variant: _variant_scans(results.of(variant)) for variant in results.variants}
    scans = list(dict.fromkeys(scan for found in curves.values() for scan in found))
    panels = []
    for scan in scans:
        lines = {v: found[scan]["energy"] for v, found in curves.items() if _has_total(found, scan)}
        panels.append(InteractionPanel(scan, _reference(curves, scan), lines))
    if not panels:
        return []
    caption = (
        "Interaction energy of the scans: reference and all variants (line: mean over seeds, band: "
        "range over seeds). The axis range follows the reference."
    )
    blocks: list[Block] = [_image(out, "interaction", interaction_curves(panels), caption)]
    for variant, found in curves.items():
        if not any(_parts(lines) > 1 for lines in found.values()):
            continue
        caption = f"{code(variant)}: total energy and energy terms (mean over seeds)."
        figure = interaction_curves(interaction_panels(found))
        blocks.append(_image(out, f"interaction-{variant}", figure, caption))
    return blocks


def _distance_blocks(results: Results, out: Path) -> list[Block]:
    series: dict[str, dict[str, tuple[np.ndarray, np.ndarray]]] = {}
    for test in results.tests:
        for variant in results.variants:
            predictions = [
                r.predictions[test] for r in results.of(variant) if test in r.predictions
            ]
            pairs = [pair for pair in map(distance_errors, predictions) if pair is not None]
            if pairs:
                distance, error = (np.concatenate(values) for values in zip(*pairs, strict=True))
                series.setdefault(test, {})[variant] = (distance, error)
    if not series:
        return []
    caption = "Absolute energy error of each frame, all seeds; lines: medians of bins."
    return [_image(out, "error-distance", error_against_distance(series), caption)]


def _parity_blocks(results: Results, out: Path) -> list[Block]:
    blocks: list[Block] = []
    for test in results.tests:
        panels: dict[str, list[ParityPanel]] = {}
        for variant in results.variants:
            for quantity, panel in _pooled_parity(results.of(variant), test, variant).items():
                panels.setdefault(quantity, []).append(panel)
        for quantity, same in panels.items():
            caption = f"Test set {test}, {quantity}: prediction against reference, all seeds."
            name = f"parity-{test}-{quantity.partition(' ')[0]}"
            blocks.append(_image(out, name, parity(same, columns=4), caption))
    return blocks


def _pooled_parity(records: list[Record], test: str, variant: str) -> dict[str, ParityPanel]:
    """Map each quantity to a parity panel with the points of all seeds of a variant."""
    pooled: dict[str, ParityPanel] = {}
    for record in records:
        if test not in record.predictions:
            continue
        for panel in parity_panels(record.predictions[test]):
            so_far = pooled.get(panel.title)
            if so_far is None:
                pooled[panel.title] = panel
                continue
            pooled[panel.title] = replace(
                panel,
                reference=np.concatenate([so_far.reference, panel.reference]),
                predicted=np.concatenate([so_far.predicted, panel.predicted]),
            )
    return {quantity: replace(panel, title=variant) for quantity, panel in pooled.items()}


def _variant_scans(records: list[Record]) -> dict[str, dict[str, Curve]]:
    """Map scan and name to the mean curve over the seeds of a variant."""
    seeds = [scan_curves(list(record.predictions.values())) for record in records]
    scans = list(dict.fromkeys(scan for found in seeds for scan in found))
    curves: dict[str, dict[str, Curve]] = {}
    for scan in scans:
        found = [seed[scan] for seed in seeds if scan in seed]
        names = list(dict.fromkeys(name for lines in found for name in lines))
        curves[scan] = {n: mean_curve([lines[n] for lines in found if n in lines]) for n in names}
    return curves


def _reference(curves: Mapping[str, Mapping[str, dict[str, Curve]]], scan: str) -> Curve | None:
    for found in curves.values():
        if "reference" in found.get(scan, {}):
            return found[scan]["reference"]
    return None


def _has_total(found: Mapping[str, dict[str, Curve]], scan: str) -> bool:
    return "energy" in found.get(scan, {})


def _parts(lines: Mapping[str, Curve]) -> int:
    return len(set(lines) - {"energy", "reference"})


def _image(out: Path, name: str, figure: Figure, caption: str) -> Image:
    return Image(save(figure, out / "plots" / f"{name}.png"), caption)
