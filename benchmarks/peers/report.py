"""Tables of differences, on the screen and in benchmarks/results."""

from __future__ import annotations

import csv
import importlib
import sys
from collections.abc import Sequence
from dataclasses import asdict, astuple, dataclass, fields
from pathlib import Path
from types import ModuleType

import numpy as np

from benchmarks.peers.common import Answer
from benchmarks.peers.machine import describe_machine

RESULTS = Path(__file__).resolve().parents[1] / "results"
QUANTITIES = {"energy": "eV", "forces": "eV/A", "strain": "eV", "field": "eV/(e A^l)"}


@dataclass(frozen=True)
class Row:
    """One quantity of one case: the largest value and the largest difference.

    A row with a note shows a known defect of the peer and is not judged.
    """

    case: str
    quantity: str
    unit: str
    largest: float
    difference: float
    tolerance: float
    note: str = ""

    @property
    def passed(self) -> bool:
        """Whether the difference is within the tolerance; NaN is not."""
        return bool(self.note) or self.difference <= self.tolerance


class Report:
    """Collects rows; :meth:`finish` prints and writes them and gives the exit status.

    Parameters
    ----------
    name : str
        Stem of the files in benchmarks/results.
    packages : sequence of str
        Distributions whose versions belong into the table's head.
    """

    def __init__(self, name: str, *packages: str) -> None:
        self.name = name
        self.packages = packages
        self.rows: list[Row] = []

    def value(self, case: str, mine: float, theirs: float, tolerance: float) -> None:
        """Compare two numbers without a unit."""
        self.rows.append(Row(case, "value", "1", abs(mine), abs(mine - theirs), tolerance))

    def compare(
        self,
        case: str,
        mine: Answer,
        theirs: Answer,
        tolerance: float,
        quantities: Sequence[str] = tuple(QUANTITIES),
        note: str = "",
    ) -> None:
        """Compare what both answers have; where theirs is not a number it does not count."""
        for quantity in quantities:
            if getattr(mine, quantity) is None or getattr(theirs, quantity) is None:
                continue
            second = np.asarray(getattr(theirs, quantity))
            known = ~np.isnan(second)
            first, second = np.asarray(getattr(mine, quantity))[known], second[known]
            largest, difference = np.abs(first).max(), np.abs(first - second).max()
            unit = QUANTITIES[quantity]
            self.rows.append(
                Row(case, quantity, unit, float(largest), float(difference), tolerance, note)
            )

    def finish(self) -> int:
        """Print the table, write it, and return 1 if any row is beyond its tolerance."""
        text = "\n".join([self._head(), "", *self._table(), ""])
        print(text)
        RESULTS.mkdir(exist_ok=True)
        (RESULTS / f"{self.name}.md").write_text(f"# {self.name}\n\n{text}")
        with (RESULTS / f"{self.name}.csv").open("w", newline="") as stream:
            writer = csv.writer(stream)
            writer.writerow([field.name for field in fields(Row)])
            writer.writerows(astuple(row) for row in self.rows)
        failed = [row for row in self.rows if not row.passed]
        for row in failed:
            print(f"beyond the tolerance: {asdict(row)}", file=sys.stderr)
        return 1 if failed else 0

    def _head(self) -> str:
        command = f"python -m benchmarks.peers.{Path(sys.argv[0]).stem}"
        return f"`{command}`; {describe_machine(*self.packages)}"

    def _table(self) -> list[str]:
        lines = [
            "| case | quantity | unit | largest value | largest difference | tolerance | |",
            "|---|---|---|---|---|---|---|",
        ]
        for row in self.rows:
            limit = "" if row.note else f"{row.tolerance:.0e}"
            verdict = row.note or ("ok" if row.passed else "FAILED")
            numbers = f"{row.largest:.6g} | {row.difference:.1e} | {limit} | {verdict}"
            lines.append(f"| {row.case} | {row.quantity} | {row.unit} | {numbers} |")
        return lines


def require(name: str, package: str, extras: str = "peers,fast") -> ModuleType:
    """Import a peer of these extras, or end the script with a message and without an error."""
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is None or not name.startswith(error.name):
            raise
        print(f"skipped: {package} is not installed (pip install 'muse_lr[{extras}]')")
        raise SystemExit(0) from None
