"""Report of one training run, from the files in its directory."""

from __future__ import annotations

import json
import platform
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from importlib import metadata
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from muse_lr import __version__
from muse_lr.errors import InputError
from muse_lr.reporting.breakdown.cautions import cautions
from muse_lr.reporting.breakdown.errors import FRAME_PROPERTIES, overall
from muse_lr.reporting.breakdown.offset import relative_metrics
from muse_lr.reporting.breakdown.tables import breakdown_table, worst_table
from muse_lr.reporting.comparison_plots import charge_distributions
from muse_lr.reporting.evaluation_report import analyze, summary_sentence
from muse_lr.reporting.figures import (
    distance_errors,
    interaction_panels,
    parity_panels,
    reference_charges,
    scan_curves,
)
from muse_lr.reporting.html import (
    Block,
    Cell,
    Details,
    Fold,
    Image,
    Items,
    Lead,
    Paragraph,
    Report,
    Section,
    Table,
    write_html,
)
from muse_lr.reporting.plots import (
    error_against_distance,
    interaction_curves,
    learning_curves,
    parity,
)
from muse_lr.reporting.predictions import Predictions, prediction_files, read_predictions
from muse_lr.reporting.runs import (
    Curves,
    late_improvement,
    node_shares,
    read_config,
    read_curves,
    read_summary,
    validation_error,
)
from muse_lr.reporting.style import save
from muse_lr.reporting.wording import (
    COARSE_NODES,
    duration,
    humanized,
    metric_heading,
    metric_order,
    number,
    percent,
)

#: Directory of a run of a study.
SEED_DIRECTORY = re.compile(r"seed-(\d+)")
#: Labels of the sentences at the top; without them, the first label.
MAIN_LABELS = ("forces", "energy")
PACKAGES = ("torch", "torch-geometric", "torch-pme", "vesin", "mace-torch", "ase", "numpy")


def write_run_report(directory: Path) -> Path:
    """Write ``plots/*.png`` and ``report.html`` of a run; return the path of the report.

    Raises
    ------
    InputError
        If a file of the run cannot be read, or the directory is not a run directory.
    """
    directory = Path(directory)
    if not (directory / "config.yaml").is_file():
        raise InputError(f"{directory} contains no config.yaml: it is not a run directory")
    config = read_config(directory / "config.yaml")
    keys = (config.get("data") or {}).get("keys") or {}
    summary = read_summary(directory)
    files = prediction_files(directory)
    order = [name for name in (summary or {}).get("tests", {}) if name in files]
    order += [name for name in files if name not in order]
    tests = [read_predictions(files[name], keys) for name in order]
    report = Report(
        title=run_title(directory),
        subtitle=f"One training run, seed {(summary or {}).get('seed', '–')}; muse_lr "
        f"{__version__}.",
        lead=_lead(summary, tests, read_curves(directory)),
        sections=[
            Section("Errors on the test sets", _metric_blocks(summary, tests)),
            *_breakdown_sections(tests),
            *_node_sections(summary),
            Section("Learning curves", _learning_blocks(directory)),
            *_prediction_sections(directory, tests),
            Section("Cost", _cost_blocks(summary)),
            Section("Configuration", _configuration_blocks(directory, summary)),
        ],
    )
    return write_html(report, directory / "report.html")


def run_title(directory: Path) -> str:
    """Title of a run: the name of its directory in words, with the variant for a run of a study."""
    path = directory.resolve()
    seed = SEED_DIRECTORY.fullmatch(path.name)
    if seed and path.parent.name:
        return f"{humanized(path.parent.name)}, seed {seed[1]}"
    return humanized(path.name)


def metric_table(tests: Mapping[str, Mapping[str, float]]) -> Table:
    """Table with one row per test set and one column per metric; a dash for missing labels."""
    metrics = metric_order({metric for values in tests.values() for metric in values})
    rows = [
        [Cell(test), *(Cell(number(values.get(metric))) for metric in metrics)]
        for test, values in tests.items()
    ]
    return Table(["test set", *map(metric_heading, metrics)], rows)


def note_blocks(summary: Mapping[str, Any]) -> list[Block]:
    """Notes in the summary of a run, if any."""
    notes = [str(note) for note in summary.get("notes", [])]
    return [Items(notes)] if notes else []


def versions(summary: Mapping[str, Any] | None) -> list[str]:
    """Versions recorded by the run, or else those of this environment."""
    recorded = (summary or {}).get("versions")
    if isinstance(recorded, dict):
        return [f"{name} {version}" for name, version in recorded.items()]
    lines = [f"muse_lr {__version__}", f"Python {platform.python_version()}"]
    installed = {d.metadata["Name"]: d.version for d in metadata.distributions()}
    return lines + [f"{name} {installed[name]}" for name in PACKAGES if name in installed]


def _metric_blocks(summary: Mapping[str, Any] | None, tests: Sequence[Predictions]) -> list[Block]:
    if summary is None:
        return [Paragraph("The run is not finished: there are no test errors yet.", warning=True)]
    if not summary.get("tests"):
        return [Paragraph("The configuration has no test set (data.test).")]
    note = "A dash means that the test set lacks the label or that the model cannot predict it."
    errors = {name: dict(metrics) for name, metrics in summary["tests"].items()}
    for test in tests:
        errors.setdefault(test.name, {}).update(relative_metrics(test))
    return [metric_table(errors), Paragraph(note), *note_blocks(summary)]


def _lead(
    summary: Mapping[str, Any] | None, tests: Sequence[Predictions], curves: Curves
) -> Lead | None:
    """Main errors of each test set, and warnings; None for an unfinished run."""
    sentences, warnings = [], []
    valid = validation_error(summary or {}, curves, "energy_mae")
    for test in tests if summary is not None else ():
        total = overall(test)
        labels = [x for x in MAIN_LABELS if x in total.errors] or list(total.errors)[:1]
        if labels:
            texts = [summary_sentence(total.errors[label]).removesuffix(".") for label in labels]
            sentences.append(f"Test set {test.name}: {'; '.join(texts)}.")
        warnings += [f"Test set {test.name}: {text}" for text in cautions(test, total, valid)]
    fall = None if summary is None else late_improvement(summary, curves)
    if fall is not None:
        warnings.append(
            "The validation loss was lowest in the last epoch. It still fell by "
            f"{percent(fall)} % in the last fifth of the epochs: more epochs may lower the errors."
        )
    return Lead(sentences, warnings=warnings) if sentences or warnings else None


def _breakdown_sections(tests: Sequence[Predictions]) -> list[Section]:
    """Errors by element, subset, size and charge, and the worst frames of each test set."""
    blocks: list[Block] = []
    for i, test in enumerate(tests):
        analysis = analyze(test)
        tables = {x.by: _of_test(breakdown_table(x), test.name) for x in analysis.breakdowns}
        subsets = [table for by, table in tables.items() if by not in FRAME_PROPERTIES]
        others = [table for by, table in tables.items() if by in FRAME_PROPERTIES]
        title = f"Test set {test.name}"
        if i == 0:
            blocks += subsets
            title, subsets = f"{title} by size and charge", []
        if subsets or others:
            blocks.append(Fold(title, [*subsets, *others]))
        worst = [worst_table(frames) for frames in analysis.worst if frames]
        if worst:
            blocks.append(Fold(f"Worst frames of test set {test.name}", worst))
    return [Section("Errors by element and subset", blocks)] if blocks else []


def _of_test(table: Table, test: str) -> Table:
    return replace(table, caption=f"Test set {test}. {table.caption}")


def _node_sections(summary: Mapping[str, Any] | None) -> list[Section]:
    """Section on the fraction of coarse nodes, if there are any."""
    shares = node_shares(summary)
    if not shares:
        return []
    levels = sorted({level for _, level in shares})
    rows = [
        [Cell(test), *(Cell(percent(shares.get((test, level)))) for level in levels)]
        for test in dict.fromkeys(test for test, _ in shares)
    ]
    columns = ["test set", *(f"level {level} (%)" for level in levels)]
    note = f"Percentage of the atoms of a test set that carry a coarse node. {COARSE_NODES}"
    return [Section("Coarse nodes", [Table(columns, rows), Paragraph(note)])]


def _learning_blocks(directory: Path) -> list[Block]:
    curves = read_curves(directory)
    if not curves or not len(next(iter(curves.values()))):
        return [Paragraph("No epoch was completed.")]
    figure = learning_curves({directory.resolve().name: [curves]})
    caption = "Training loss, validation loss and validation errors of each epoch."
    return [_image(directory, "learning-curves", figure, caption)]


def _prediction_sections(directory: Path, tests: list[Predictions]) -> list[Section]:
    sections = []
    images: list[Block] = [
        _image(
            directory,
            f"parity-{test.name}",
            parity(parity_panels(test)),
            f"Test set {test.name}: prediction against reference, {test.num_frames} frames.",
        )
        for test in tests
        if test.quantities
    ]
    if images:
        sections.append(Section("Parity", images))
    charges: list[Block] = []
    for test in (test for test in tests if test.charges):
        reference = reference_charges(test)
        caption = f"Test set {test.name}: predicted charges of all atoms of an element"
        caption += "; dotted: reference." if reference else "."
        figure = charge_distributions({"model": test.charges}, reference)
        charges.append(_image(directory, f"charges-{test.name}", figure, caption))
    if charges:
        sections.append(Section("Predicted charges", charges))
    found = {test.name: distance_errors(test) for test in tests}
    distances = {name: {"model": pair} for name, pair in found.items() if pair is not None}
    if distances:
        caption = "Absolute energy error of each frame; line: medians of bins."
        figure = error_against_distance(distances)
        image = _image(directory, "error-distance", figure, caption)
        sections.append(Section("Error against distance", [image]))
    curves = scan_curves(tests)
    if curves:
        caption = "Interaction energy along the scans: total and energy terms."
        figure = interaction_curves(interaction_panels(curves))
        image = _image(directory, "interaction", figure, caption)
        sections.append(Section("Interaction energy", [image]))
    return sections


def _cost_blocks(summary: Mapping[str, Any] | None) -> list[Block]:
    if summary is None:
        return [Paragraph("Available after the run is finished.")]
    work = summary.get("work", {})
    rows = [
        ("parameters", f"{summary.get('parameters', 0):,}"),
        ("training time", duration(summary.get("seconds"))),
        ("epochs (best)", f"{summary.get('epochs', '–')} ({summary.get('best_epoch', '–')})"),
        ("steps", str(summary.get("steps", "–"))),
        ("structures seen", str(work.get("structures", "–"))),
        ("largest learning rate", number(work.get("largest_rate"))),
        ("peak memory (MB)", number(summary.get("peak_memory_mb"))),
        ("inference (µs/atom)", number(summary.get("inference_us_per_atom"))),
        ("seed", str(summary.get("seed", "–"))),
    ]
    return [Table(["", "value"], [[Cell(name), Cell(value)] for name, value in rows])]


def _configuration_blocks(directory: Path, summary: Mapping[str, Any] | None) -> list[Block]:
    text = (directory / "config.yaml").read_text(encoding="utf-8")
    blocks: list[Block] = [Items(versions(summary)), Details("config.yaml (resolved)", text)]
    if summary is not None:
        blocks.append(Details("summary.json", json.dumps(summary, indent=2, ensure_ascii=False)))
    return blocks


def _image(directory: Path, name: str, figure: Figure, caption: str) -> Image:
    return Image(save(figure, directory / "plots" / f"{name}.png"), caption)
