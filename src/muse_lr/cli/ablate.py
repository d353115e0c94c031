"""``muse-lr ablate``: train all variants of an ablation study and compare them."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from muse_lr.ablate.study import Run

HELP = "train every variant of an ablation study with every seed and compare the errors"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the verb to its parser."""
    parser.add_argument("study", type=Path, metavar="STUDY.yaml", help="study file")
    parser.add_argument("--out", type=Path, help="output directory (default: runs/NAME)")
    parser.add_argument(
        "--jobs", type=_positive, default=1, help="number of parallel runs (default: 1)"
    )
    parser.add_argument(
        "--only",
        nargs="+",
        metavar="RUN",
        help="train only these runs (VARIANT or VARIANT/seed-N); the report still covers every "
        "finished run",
    )
    parser.add_argument("--plan", action="store_true", help="list the runs without training")


def run(args: argparse.Namespace) -> int:
    """Run the study; exit code 0 on success, 1 if a run failed, 130 if interrupted."""
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
    check_existing(runs)  # the report also covers the runs that are not selected
    try:
        outcome = execute(chosen, args.jobs)
    except KeyboardInterrupt:
        print("interrupted; run the same command again to continue", file=sys.stderr)
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
        print("* significant: the 95 % interval of the difference to the reference excludes zero")
        print(f"report: {report}")
    if failed:
        names = ", ".join(run.name for run in failed)
        print(
            f"{len(failed)} runs failed ({names}); run the same command again to retry",
            file=sys.stderr,
        )
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
        raise argparse.ArgumentTypeError(f"must be at least 1, got {value}")
    return value
