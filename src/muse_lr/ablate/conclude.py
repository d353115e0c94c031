"""Collect the runs of a study, write the results and the report, and print what they say.

:mod:`muse_lr.cli.ablate` imports this module before the first run: an error of an import, or an
edit of the code during hours of training, does not reach the report.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass, replace
from pathlib import Path

from muse_lr.ablate.aggregate import collect, write_results, write_runs
from muse_lr.ablate.report.page import study_title, write_study_report
from muse_lr.ablate.report.terminal import terminal_lines
from muse_lr.ablate.study import Run, Study


@dataclass(frozen=True)
class StudyFile:
    """A study as it was read before the first run.

    Attributes
    ----------
    path : Path
    text : str
        Content of the file, with the changes of the command line.
    study : Study
    command : str
        Command that trains the study, without its output.
    """

    path: Path
    text: str
    study: Study
    command: str = ""


def conclude(file: StudyFile, out: Path, runs: list[Run], failed: list[Run]) -> int:
    """Write the results of all finished runs to ``out`` and print them.

    Returns
    -------
    int
        Exit code: 1 if runs failed.
    """
    study = file.study
    results = replace(collect(runs, study.reference, failed), command=file.command)
    write_results(results, out / "results.csv")
    write_runs(results, out / "runs.csv")
    if results.variants:
        title = study_title(file.path, study.title)
        report = write_study_report(
            results, file.text, title, out, study.description or "", study.subsets
        )
        for line in terminal_lines(results, report, study.subsets):
            print(line)
    if failed:
        names = ", ".join(run.name for run in failed)
        print(
            f"{len(failed)} runs failed ({names}); run the same command again to retry",
            file=sys.stderr,
        )
        return 1
    return 0
