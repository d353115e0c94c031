"""The result of a study for the terminal: the table first, the result at the end."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from muse_lr.ablate.aggregate import Results
from muse_lr.ablate.equality import measured_equality
from muse_lr.ablate.report.findings import findings
from muse_lr.ablate.report.sentences import result_blocks, result_notes, result_warnings
from muse_lr.ablate.report.tables import compact_table
from muse_lr.ablate.report.winner import disagreement, find_winner, next_commands
from muse_lr.reporting.html import Lead, text_lines, text_table

SIGNIFICANT = "* significant: the 95 % interval of the difference to the reference excludes zero"


def terminal_lines(results: Results, report: Path, subsets: Sequence[str] = ()) -> list[str]:
    """Everything that is printed after the runs.

    Parameters
    ----------
    results : Results
        With at least one finished run.
    report : Path
        The page.
    subsets : sequence of str
        Info keys by which the frames are divided; default: the usual ones that they have.
    """
    table = compact_table(results)
    lines = [*measured_equality(results).lines(short=True), text_table(table)]
    if any(cell.strong for row in table.rows for cell in row):
        lines.append(SIGNIFICANT)
    lines += result_notes(results)
    warnings = [*result_warnings(results), *findings(results)]
    lead = Lead(result_blocks(results, subsets), warnings=warnings)
    lines += [f"report: {report}", *text_lines(lead.cautions), *text_lines(lead.result)]
    found = find_winner(results)
    if found is not None:
        # Without marks of code, so that a line can be copied.
        lines += [found.sentence(), *disagreement(results, found), f"model: {found.model}"]
        commands = next_commands(results, found)
        lines += [f"next, {purpose}: {command}" for purpose, command in commands.items()]
    return lines
