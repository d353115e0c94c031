"""The physics exam of this package's models and of potentials from other packages.

    python -m benchmarks.exam --out runs/exam [--only ours peers NAME ...] [--quick]

Our twelve models are trained by ``muse-lr ablate benchmarks/exam/study.yaml`` on data that ship
with the package. Each potential sits ``muse-lr audit`` in a process of its own. The records are
kept in --out, so that an interrupted run continues, and packages that cannot be installed together
are examined one after another from different environments with the same --out. The table is
written to benchmarks/results/exam.md, and from there into docs/audit.md; it has the whole exam of a
potential where it was run, and the quick one otherwise. Rows of potentials without a record in
--out stay as they are.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from benchmarks.exam.execute import Limits, examine, train
from benchmarks.exam.roster import chosen
from benchmarks.exam.table import write_report
from docs.tables import insert

ROOT = Path(__file__).resolve().parents[2]
RESULTS = ROOT / "benchmarks" / "results" / "exam.md"
PAGE, MARKER = ROOT / "docs" / "audit.md", "exam-table"


def main() -> None:
    """Entry point."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", maxsplit=1)[0])
    parser.add_argument("--out", type=Path, default=Path("runs/exam"))
    parser.add_argument(
        "--only", nargs="+", default=[], metavar="NAME", help="ours, peers or names of potentials"
    )
    parser.add_argument("--quick", action="store_true", help="fewer and smaller structures")
    parser.add_argument("--table", action="store_true", help="write the table only")
    parser.add_argument("--limit", type=float, default=600.0, help="longest check (s)")
    parser.add_argument("--memory", type=float, default=8.0, help="memory of a potential (GB)")
    args = parser.parse_args()
    out = args.out.resolve()
    limits = Limits(args.limit, args.memory)
    wanted = [] if args.table else chosen(args.only)
    for entry in wanted:
        if missing := entry.missing():
            print(f"{entry.name}: not installed: {missing}", flush=True)
    present = [entry for entry in wanted if not entry.missing()]
    train([entry.name for entry in present if entry.ours], out)
    for entry in present:
        examine(entry, out, args.quick, limits)
    insert(PAGE, MARKER, write_report(chosen(), out, RESULTS))


if __name__ == "__main__":
    main()
