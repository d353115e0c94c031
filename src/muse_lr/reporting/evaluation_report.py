"""The page of an evaluation: errors with their scale, parity plots, breakdowns, worst frames."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from ase import Atoms

from muse_lr.reporting.breakdown.cautions import cautions
from muse_lr.reporting.breakdown.errors import Breakdown, Errors, Group, breakdowns, overall
from muse_lr.reporting.breakdown.mean_predictor import SCALES
from muse_lr.reporting.breakdown.tables import (
    breakdown_table,
    mean_predictor_table,
    scale_table,
    share,
    worst_table,
)
from muse_lr.reporting.breakdown.worst_frames import WorstFrame, worst_frames
from muse_lr.reporting.figures import parity_panels
from muse_lr.reporting.html import (
    Block,
    Cell,
    Fold,
    Image,
    Items,
    Lead,
    Report,
    Section,
    Table,
    write_html,
)
from muse_lr.reporting.plots import parity
from muse_lr.reporting.predictions import Predictions
from muse_lr.reporting.style import save
from muse_lr.reporting.wording import label_title, number

#: Labels whose worst frames are listed, where they have errors.
MAIN_LABELS = ("energy", "forces")


@dataclass(frozen=True)
class Analysis:
    """Everything that is reported about the errors of a set.

    Attributes
    ----------
    predictions : Predictions
    total : Group
        Errors of all frames.
    breakdowns : list of Breakdown
    worst : list of list of WorstFrame
        For energies and forces, or else for the first label.
    """

    predictions: Predictions
    total: Group
    breakdowns: list[Breakdown]
    worst: list[list[WorstFrame]]


def analyze(
    predictions: Predictions, by: Sequence[str] = (), structures: Sequence[Atoms] | None = None
) -> Analysis:
    """Compute errors, breakdowns and worst frames.

    Parameters
    ----------
    predictions : Predictions
    by : sequence of str
        Info keys of subsets; default: the usual ones that the frames have.
    structures : sequence of ase.Atoms, optional
        All frames; with them, the worst frames are compared by their distances too.

    Raises
    ------
    InputError
        If a key of ``by`` cannot be used.
    """
    labels = [label for label in MAIN_LABELS if label in predictions.quantities]
    labels = labels or list(predictions.quantities)[:1]
    worst = [worst_frames(predictions, label, structures=structures) for label in labels]
    return Analysis(predictions, overall(predictions), breakdowns(predictions, by), worst)


def summary_sentence(found: Errors) -> str:
    """``"forces: MAE 22, RMSE 31 meV/Å; the RMSE is 3 % of the scale, the RMS of ..."``"""
    title = label_title(found.label)
    text = f"{title}: MAE {number(found.mae)}, RMSE {number(found.rmse)} {found.unit}".rstrip()
    if not np.isfinite(found.relative_rmse):
        return f"{text}."
    percent = share(found.relative_rmse)
    return f"{text}; the RMSE is {percent} % of the scale, {SCALES[found.label]}."


def write_evaluation_report(
    analysis: Analysis,
    directory: Path,
    about: Mapping[str, str],
    sources: Sequence[str] = (),
    notes: Sequence[str] = (),
) -> Path:
    """Write ``parity.png`` and ``report.html``, which stands alone; return the path of the page.

    Parameters
    ----------
    analysis : Analysis
        With at least one label.
    directory : Path
    about : mapping
        Names and values for the last table: model, data, versions, ...; ``model``, or ``run`` if it
        is there, and ``data`` make the title.
    sources : sequence of str
        Name of every frame for the tables of the worst frames; default: its index.
    notes : sequence of str
        What was skipped.
    """
    predictions = analysis.predictions
    image = save(parity(parity_panels(predictions)), directory / "parity.png")
    structures = f"{predictions.num_frames:,} structures"
    keys = f"; {about['keys']}" if about.get("keys") else ""
    rows = [[Cell(name), Cell(value)] for name, value in about.items()]
    report = Report(
        title=f"Evaluation of {about.get('run') or about['model']} on {about['data']}",
        subtitle=f"{structures}, {int(predictions.num_atoms.sum()):,} atoms{keys}",
        lead=Lead(
            [Items([summary_sentence(found) for found in analysis.total.errors.values()])],
            warnings=cautions(predictions, analysis.total),
        ),
        sections=[
            Section("Errors", _error_blocks(analysis.total, notes)),
            Section("Parity", [Image(image, f"Prediction against reference, {structures}.")]),
            *[
                Section(f"Errors by {found.by}", [breakdown_table(found)])
                for found in analysis.breakdowns
            ],
            Section("Worst frames", [worst_table(worst, sources) for worst in analysis.worst]),
            Section("About", [Table(["", "value"], rows)]),
        ],
    )
    return write_html(report, directory / "report.html")


def _error_blocks(total: Group, notes: Sequence[str]) -> list[Block]:
    blocks: list[Block] = [scale_table(total)]
    explained = mean_predictor_table(total)
    blocks += [Fold("What the mean predictor is", [explained])] if explained.rows else []
    return blocks + ([Items(notes)] if notes else [])
