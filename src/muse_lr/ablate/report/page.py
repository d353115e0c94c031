"""Report of a study as Markdown and HTML: tables, figures and shared settings."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from muse_lr import __version__
from muse_lr.ablate.aggregate import Results, inconsistencies
from muse_lr.ablate.compare import UNEQUAL
from muse_lr.ablate.equality import measured_equality
from muse_lr.ablate.execute import last_lines
from muse_lr.ablate.model_metrics import MODEL_METRICS
from muse_lr.ablate.report.breakdowns import breakdown_tables, unknown_keys
from muse_lr.ablate.report.figures import change_image, figure_sections
from muse_lr.ablate.report.findings import findings, label_notes
from muse_lr.ablate.report.sentences import result_blocks, result_notes, result_warnings
from muse_lr.ablate.report.tables import (
    accuracy_table,
    cost_table,
    difference_table,
    interval_notes,
    node_table,
    runs_table,
    validation_table,
)
from muse_lr.ablate.report.winner import disagreement, find_winner, next_commands
from muse_lr.ablate.shared import completed_runs, shared_lines
from muse_lr.ablate.shared import difference_table as configuration_table
from muse_lr.ablate.statistics import RESAMPLES
from muse_lr.config.yaml import format_yaml
from muse_lr.reporting.html import (
    Block,
    Details,
    Fold,
    Items,
    Lead,
    Paragraph,
    Report,
    Section,
    write_html,
)
from muse_lr.reporting.markdown import write_markdown
from muse_lr.reporting.run_report import versions
from muse_lr.reporting.runs import read_config
from muse_lr.reporting.wording import code, humanized

#: Names of study files that say nothing; the folder gives the title then.
PLAIN_NAMES = ("study", "ablation")


def study_title(path: Path, title: str | None = None) -> str:
    """Title of a report: the one given, or the name of the study file in words."""
    if title:
        return title
    folder = path.resolve().parent.name
    plain = path.stem in PLAIN_NAMES and folder
    return humanized(folder if plain else path.stem)


def write_study_report(
    results: Results,
    study_text: str,
    title: str,
    out: Path,
    description: str = "",
    subsets: Sequence[str] = (),
) -> Path:
    """Write ``plots/*.png``, ``report.md`` and ``report.html``; return the path of the latter.

    Parameters
    ----------
    results : Results
        Results with at least one finished run.
    study_text : str
        Content of the study file, which is included in the report.
    title : str
        Title of the study.
    out : Path
        Directory of the study.
    description : str
        Text below the result.
    subsets : sequence of str
        Info keys by which the frames are divided; default: the usual ones that they have.
    """
    runs = [record.run for record in results.records]
    finished = sum(record.finished for record in results.records)
    report = Report(
        title=title,
        subtitle=f"Ablation study: {finished} of {len(runs)} runs finished; reference variant "
        f"{code(results.reference)}; muse_lr {__version__}.",
        lead=_lead(results, out, subsets),
        description=description,
        sections=[
            Section("What was equal", [*_status_blocks(results), *_equality_blocks(results)]),
            Section("Accuracy", _accuracy_blocks(results)),
            *_breakdown_sections(results, subsets),
            *_metric_sections(results, out),
            Section("Cost beside accuracy", [cost_table(results)]),
            *_node_sections(results),
            *figure_sections(results, out),
            Section("Configurations", _shared_blocks(results)),
            Section("Runs", _run_blocks(results, study_text)),
        ],
    )
    write_markdown(report, out / "report.md")
    return write_html(report, out / "report.html")


def _lead(results: Results, out: Path, subsets: Sequence[str]) -> Lead:
    sentences = [*result_blocks(results, subsets), *_winner_sentences(results)]
    warnings = [*result_warnings(results), *findings(results)]
    if measured_equality(results).unequal:
        warnings.append("Not all settings were equal for all variants: see the next section.")
    return Lead(sentences, result_notes(results), change_image(results, out), warnings)


def _winner_sentences(results: Results) -> list[str]:
    found = find_winner(results)
    if found is None:
        return []
    commands = [
        f"Next, {purpose}: {code(command)}"
        for purpose, command in next_commands(results, found).items()
    ]
    model = f"Best model of {code(found.variant)}: {code(found.model)}"
    return [found.sentence(), *disagreement(results, found), model, *commands]


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
        blocks.append(Paragraph(equality.headline()))
    text = (
        "As the runs recorded it. What depends on the seed is compared seed by seed: steps, "
        "batches and learning rates by digests of the values of every step, data by digests of "
        "structures and labels, initial weights by digests of each part. What differs by design, "
        "such as parts and parameters, is listed under Configurations."
    )
    details: list[Block] = [Items(equality.equal)] if equality.equal else []
    return [*blocks, Fold("What was compared, and how", [*details, Paragraph(text)])]


def _accuracy_blocks(results: Results) -> list[Block]:
    blocks: list[Block] = []
    for test in results.tests:
        blocks.append(accuracy_table(results, test))
        table = difference_table(results, test)
        if table is not None:
            blocks.append(table)
        blocks += [Paragraph(note) for note in interval_notes(results, test)]
        partial = label_notes(results, test)
        blocks += [Items(partial)] if partial else []
    if not results.tests:
        blocks.append(validation_table(results))
    seeds = max(len(results.of(variant)) for variant in results.variants)
    text = "Intervals of means: Student's, over seeds. "
    if results.tests:
        text += (
            f"Intervals of differences contain a bootstrap with {RESAMPLES} resamples of both "
            "seeds and frames, paired by seed and frame, and Student's interval of the differences "
            "of the seeds. "
        )
    if seeds == 1:
        text += (
            "With one seed the spread over seeds is unknown: means have no interval, those of "
            "differences cover the frames only, and nothing is bold. "
        )
    notes = [str(note) for r in results.records for note in r.summary.get("notes", [])]
    text += "A dash means that the test set lacks the label or that the variant cannot predict it."
    unique = list(dict.fromkeys(notes))
    return [*blocks, Paragraph(text), *([Items(unique)] if unique else [])]


def _breakdown_sections(results: Results, subsets: Sequence[str]) -> list[Section]:
    """Errors by element and subset: open for the first test set, else collapsed."""
    blocks: list[Block] = []
    for key in unknown_keys(results, subsets):
        text = f"subsets: no test set can be divided by the info key {key}, which is left out."
        blocks.append(Paragraph(text, warning=True))
    for i, test in enumerate(results.tests):
        tables, others = breakdown_tables(results, test, subsets)
        if i == 0:
            blocks += tables
            tables = []
        if tables or others:
            blocks.append(
                Fold(f"Test set {test}{' by size and charge' * (i == 0)}", tables + others)
            )
    return [Section("Errors by element and subset", blocks)] if blocks else []


def _metric_sections(results: Results, out: Path) -> list[Section]:
    """Sections of the metrics that were measured for the models."""
    sections = []
    for name, metric in MODEL_METRICS.items():
        values = {
            variant: [r.metrics[name] for r in results.of(variant) if name in r.metrics]
            for variant in results.variants
        }
        values = {variant: found for variant, found in values.items() if found}
        if values:
            sections.append(Section(metric.title, metric.blocks(values, out)))
    return sections


def _node_sections(results: Results) -> list[Section]:
    table = node_table(results)
    return [] if table is None else [Section("Coarse nodes", [table])]


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
