"""Report of a study as Markdown and HTML: tables, figures and shared settings."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from muse_lr import __version__
from muse_lr.ablate.aggregate import Record, Results, inconsistencies
from muse_lr.ablate.compare import UNEQUAL
from muse_lr.ablate.equality import measured_equality
from muse_lr.ablate.execute import last_lines
from muse_lr.ablate.shared import completed_runs, shared_lines
from muse_lr.ablate.shared import difference_table as configuration_table
from muse_lr.ablate.statistics import RESAMPLES
from muse_lr.ablate.tables import (
    accuracy_table,
    cost_table,
    difference_table,
    node_table,
    runs_table,
)
from muse_lr.config.yaml import format_yaml
from muse_lr.reporting.figures import (
    distance_errors,
    interaction_panels,
    mean_curve,
    parity_panels,
    scan_curves,
)
from muse_lr.reporting.html import (
    Block,
    Details,
    Image,
    Items,
    Paragraph,
    Report,
    Section,
    write_html,
    write_markdown,
)
from muse_lr.reporting.plots import (
    Curve,
    InteractionPanel,
    ParityPanel,
    error_against_distance,
    interaction_curves,
    learning_curves,
    parity,
)
from muse_lr.reporting.run_report import versions
from muse_lr.reporting.runs import read_config
from muse_lr.reporting.style import save


def write_study_report(results: Results, study_text: str, name: str, out: Path) -> Path:
    """Write ``plots/*.png``, ``report.md`` and ``report.html``; return the path of the latter.

    Parameters
    ----------
    results : Results
        Results with at least one finished run.
    study_text : str
        Content of the study file, which is included in the report.
    name : str
        Name of the study, for the title.
    out : Path
        Directory of the study.
    """
    runs = [record.run for record in results.records]
    finished = sum(record.finished for record in results.records)
    report = Report(
        title=f"Ablation study {name}",
        subtitle=f"{finished} of {len(runs)} runs finished; reference variant "
        f"{results.reference}; muse_lr {__version__}",
        sections=[
            Section("What was equal", [*_status_blocks(results), *_equality_blocks(results)]),
            Section("Accuracy", _accuracy_blocks(results)),
            Section("Cost beside accuracy", [cost_table(results)]),
            *_node_sections(results),
            *_figure_sections(results, out),
            Section("Configurations", _shared_blocks(results)),
            Section("Runs", _run_blocks(results, study_text)),
        ],
    )
    write_markdown(report, out / "report.md")
    return write_html(report, out / "report.html")


def _status_blocks(results: Results) -> list[Block]:
    blocks: list[Block] = []
    for record in results.records:
        if record.status == "failed":
            end = " | ".join(last_lines(record.run.log_path, 3))
            text = f"{record.run.name} failed and is left out of the results. Its log ends: {end}"
            blocks.append(Paragraph(text, warning=True))
    waiting = [r.run.name for r in results.records if r.status == "not run"]
    if waiting:
        blocks.append(Paragraph(f"Not run yet: {', '.join(waiting)}.", warning=True))
    blocks += [Paragraph(line, warning=True) for line in inconsistencies(results)]
    return blocks


def _equality_blocks(results: Results) -> list[Block]:
    """What was equal for all variants and, highlighted, what was not."""
    equality = measured_equality(results)
    if equality.variants < 2:
        return [Paragraph("One variant alone is finished: there is nothing to compare it with.")]
    blocks: list[Block] = []
    if equality.unequal:
        blocks += [Paragraph(UNEQUAL, warning=True), Items(equality.unequal)]
    if equality.uncompared:
        blocks.append(Paragraph(equality.gap(), warning=True))
    if equality.equal:
        blocks.append(Paragraph(equality.agreement()))
    text = (
        "As the runs recorded it. What depends on the seed is compared seed by seed: steps, "
        "batches and learning rates by digests of the values of every step, data by digests of "
        "structures and labels, initial weights by digests of each part. What differs by design, "
        "such as parts and parameters, is listed under Configurations."
    )
    return [*blocks, Paragraph(text)]


def _accuracy_blocks(results: Results) -> list[Block]:
    blocks: list[Block] = []
    for test in results.tests:
        blocks.append(accuracy_table(results, test))
        table = difference_table(results, test)
        if table is not None:
            blocks.append(table)
    seeds = max(len(results.of(variant)) for variant in results.variants)
    text = (
        f"Intervals of differences: bootstrap with {RESAMPLES} resamples of both seeds and frames, "
        "paired by seed and frame. "
    )
    if seeds == 1:
        text += "With one seed the spread over seeds is unknown, and only frames are resampled."
    elif seeds < 5:
        text += f"With {seeds} seeds the spread over seeds is only a rough estimate."
    notes = [str(note) for r in results.records for note in r.summary.get("notes", [])]
    text += " A dash means that the test set lacks the label or that the variant cannot predict it."
    unique = list(dict.fromkeys(notes))
    return [*blocks, Paragraph(text), *([Items(unique)] if unique else [])]


def _node_sections(results: Results) -> list[Section]:
    table = node_table(results)
    return [] if table is None else [Section("Coarse nodes", [table])]


def _figure_sections(results: Results, out: Path) -> list[Section]:
    sections = [
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
    caption = "Validation errors of all runs; one line per seed."
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
        caption = f"{variant}: total energy and energy terms (mean over seeds)."
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


def _shared_blocks(results: Results) -> list[Block]:
    runs, completed = completed_runs(results)
    text = "Settings as planned: no seed is finished for all variants."
    if completed:
        text = "Settings of the finished runs, with the values that training took from the data."
    blocks: list[Block] = [Paragraph(text), Items(shared_lines(runs))]
    table = configuration_table(runs)
    if table is None:
        text = "All variants have the same configuration: there is nothing to compare."
        return [*blocks, Paragraph(text, warning=True)]
    return [*blocks, table]


def _run_blocks(results: Results, study_text: str) -> list[Block]:
    first = next(record for record in results.records if record.finished)
    config = read_config(first.run.directory / "config.yaml") or first.run.config
    return [
        runs_table(results),
        Items(versions(first.summary)),
        Details("The study file", study_text),
        Details(f"Resolved configuration of {first.run.name}", format_yaml(config)),
    ]


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
