"""``muse-lr ablate``: train the variants of a study and compare them."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from muse_lr.ablate.study import Run

HELP = "train every variant of a study with every seed and report what each choice buys"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("study", type=Path, metavar="STUDY.yaml", help="the study file")
    parser.add_argument("--out", type=Path, help="directory of the study (runs/<study name>)")
    parser.add_argument("--jobs", type=_positive, default=1, help="runs at the same time (1)")
    parser.add_argument(
        "--only",
        nargs="+",
        metavar="RUN",
        help="train these alone (VARIANT or VARIANT/seed-N); the report has all that is finished",
    )
    parser.add_argument("--plan", action="store_true", help="print the runs and stop")


def run(args: argparse.Namespace) -> int:
    """0 when every run is finished, 1 if one failed, 130 when interrupted."""
    from muse_lr.ablate.execute import check_existing, execute
    from muse_lr.ablate.study import identical_variants, load_study, plan, select
    from muse_lr.config.schema import check_name

    study = load_study(args.study)
    name = check_name(args.study.stem, "study")
    out: Path = args.out or Path("runs", name)
    runs = plan(study, args.study, out)
    for first, second in identical_variants(runs):
        print(f"warning: variants {first} and {second} are the same", file=sys.stderr)
    chosen = select(runs, args.only) if args.only else runs
    if args.plan:
        _print_plan(chosen, check_existing(chosen))
        return 0
    check_existing(runs)  # the report shows those that are not chosen, too
    try:
        outcome = execute(chosen, args.jobs)
    except KeyboardInterrupt:
        print("interrupted; the same command goes on from here", file=sys.stderr)
        return 130
    return _report(args.study, study.reference, name, out, runs, outcome.failed)


def _report(
    study_file: Path, reference: str, name: str, out: Path, runs: list[Run], failed: list[Run]
) -> int:
    from muse_lr.ablate.aggregate import collect, write_results, write_runs
    from muse_lr.ablate.report import write_study_report
    from muse_lr.ablate.tables import compact_table
    from muse_lr.reporting.html import text_table

    results = collect(runs, reference, failed)
    write_results(results, out / "results.csv")
    write_runs(results, out / "runs.csv")
    if results.variants:
        text = study_file.read_text(encoding="utf-8")
        report = write_study_report(results, text, name, out)
        print(text_table(compact_table(results)))
        print("* differs from the reference: the 95 % interval of the difference excludes zero")
        print(f"report: {report}")
    if failed:
        names = ", ".join(run.name for run in failed)
        print(f"{len(failed)} runs failed ({names}); the same command retries", file=sys.stderr)
        return 1
    return 0


def _print_plan(runs: list[Run], finished: list[Run]) -> None:
    for item in runs:
        state = "finished" if item in finished else "to run"
        print(f"{item.name:40} {state:9} {item.directory}")
    print(f"{len(runs)} runs, {len(finished)} finished")


def _positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"at least 1 is needed, got {value}")
    return value
