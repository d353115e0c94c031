"""Tables and sentences about the results of a physics exam."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from textwrap import fill

from muse_lr.reporting.html import MISSING, Cell, Table
from muse_lr.reporting.wording import listed, number
from muse_lr.testing.exam.check import STATUSES, Check, Result
from muse_lr.testing.exam.registry import check_class

#: How units of measurements are printed.
SYMBOLS = {"eV/A^2": "eV/Å²", "eV/A^3": "eV/Å³", "eV/A": "eV/Å", "e A": "e Å", "V/A": "V/Å"}


def printed(value: float | None, unit: str) -> str:
    """A value with its unit."""
    if value is None:
        return MISSING[0]
    return f"{number(value, 2)} {SYMBOLS.get(unit, unit)}".strip()


def result_table(results: Sequence[Result]) -> Table:
    """One row for each check: status, value, tolerance, what was measured."""
    rows = [
        [
            Cell(result.name),
            Cell(result.status, strong=result.status == "fail"),
            Cell(printed(result.value, result.unit)),
            Cell(printed(result.tolerance, result.unit)),
            Cell(check_class(result.name).title()),
        ]
        for result in results
    ]
    columns = ["check", "status", "value", "tolerance", "what must hold"]
    return Table(columns, rows, texts=("status", "what must hold"))


def failure_lines(
    results: Sequence[Result], saved: Mapping[str, Path], width: int
) -> Iterator[str]:
    """What failed, what it means and what to do; then what is known or was skipped."""
    for result in results:
        if result.status != "fail":
            continue
        check = check_class(result.name)
        texts = [f"{result.name}: {result.why}.", check.meaning, check.remedy]
        if result.name in saved:
            texts.append(f"Structure: {saved[result.name]}")
        yield fill(" ".join(texts), width, break_long_words=False) + "\n"
    for result in results:
        if result.status == "known":
            yield fill(f"{result.name} is known: {result.why}.", width, subsequent_indent="  ")
    for reason, names in skips(results).items():
        yield fill(f"skipped: {listed(names)}: {reason}.", width, subsequent_indent="  ")


def skips(results: Sequence[Result]) -> dict[str, list[str]]:
    """Reasons of skips, each with the names of its checks."""
    found: dict[str, list[str]] = {}
    for result in results:
        if result.status == "skipped":
            found.setdefault(result.why, []).append(result.name)
    return found


def summary(results: Sequence[Result]) -> str:
    """How many checks have which status."""
    counts = {status: [r.name for r in results if r.status == status] for status in STATUSES}
    parts = [f"{len(names)} {status}" for status, names in counts.items() if names]
    text = f"{len(results)} checks: {', '.join(parts)}"
    return f"{text}. Failed: {listed(counts['fail'])}." if counts["fail"] else f"{text}."


def list_lines(checks: Sequence[type[Check]], width: int) -> Iterator[str]:
    """Name, title, equation and tolerance of checks for the terminal."""
    for check in checks:
        yield f"{check.name}: {check.title()}"
        yield f"  {check.equation}"
        yield fill(
            f"tolerance {tolerance_text(check)}: {check.reason}",
            width,
            initial_indent="  ",
            subsequent_indent="  ",
        )


def tolerance_text(check: type[Check]) -> str:
    """The tolerance of a check with its unit."""
    return f"{check.tolerance:g} {check.unit}".replace("e-0", "e-").strip()
