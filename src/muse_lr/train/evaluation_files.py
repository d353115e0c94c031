"""The files of an evaluation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from muse_lr.data.selection import SIGN, parse_source
from muse_lr.errors import InputError
from muse_lr.reporting.breakdown.offset import relative_metrics
from muse_lr.reporting.breakdown.tables import write_errors, write_worst
from muse_lr.reporting.evaluation_report import Analysis, write_evaluation_report
from muse_lr.reporting.metric_units import units_of
from muse_lr.train.evaluate import Evaluation, write_predictions
from muse_lr.utils.files import write_json

#: Files of an evaluation. A directory that holds one of them is not written to.
FILES = (
    "metrics.json",
    "predictions.extxyz",
    "errors.csv",
    "worst_frames.csv",
    "parity.png",
    "report.html",
)


def data_name(data: Sequence[str]) -> str:
    """Names of data files, without their directories, with their selections: ``"a.xyz@:40"``."""
    sources = [parse_source(text) for text in data]
    return ", ".join(SIGN.join((Path(s.file).name, *s.selections)) for s in sources)


def refuse_used(directory: Path) -> None:
    """Raise an :class:`InputError` if a directory holds a file of an evaluation."""
    there = next((name for name in FILES if (directory / name).exists()), None)
    if there is not None:
        raise InputError(
            f"{directory} holds {there} already, and nothing is overwritten: choose another "
            "directory with --out, or remove this one"
        )


def claim(directory: Path) -> None:
    """Make the directory of an evaluation.

    Raises
    ------
    InputError
        If it holds a file of an evaluation, or cannot be made.
    """
    refuse_used(directory)
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(
            f"cannot make the directory {directory}: {error.strerror}; choose another with --out"
        ) from error


def write_evaluation(
    found: Evaluation,
    analysis: Analysis,
    directory: Path,
    about: Mapping[str, str],
    sources: Sequence[str],
    notes: Sequence[str] = (),
) -> None:
    """Write :data:`FILES`; without any label, metrics and predictions only.

    Parameters
    ----------
    found : Evaluation
    analysis : Analysis
        Of the frames of ``found``.
    directory : Path
    about : mapping
        See :func:`~muse_lr.reporting.evaluation_report.write_evaluation_report`.
    sources : sequence of str
        ``"file.xyz, frame 12"`` for every frame.
    notes : sequence of str
        What was skipped.
    """
    write_predictions(found.frames, directory / "predictions.extxyz")
    if analysis.total.errors:
        write_errors(analysis.total, analysis.breakdowns, directory / "errors.csv")
        worst = [frame for frames in analysis.worst for frame in frames]
        write_worst(worst, sources, directory / "worst_frames.csv")
        write_evaluation_report(analysis, directory, about, short_sources(sources), notes)
    shares = {f"node_share_level{n}": share for n, share in enumerate(found.node_share, 1)}
    errors = found.metrics | relative_metrics(analysis.predictions)
    metrics = {**errors, **shares, "units": units_of(errors)}
    write_json(directory / "metrics.json", metrics)


def short_sources(sources: Sequence[str]) -> list[str]:
    """Names of frames for tables: their indices, with the file name if there are several files."""
    parts = [source.rpartition(", frame ") for source in sources]
    files = {file for file, _, _ in parts}
    if len(files) == 1:
        return [index for _, _, index in parts]
    return [f"{Path(file).name}, {index}" for file, _, index in parts]
