"""``muse-lr ablate``: train all variants of an ablation study and compare them."""

from __future__ import annotations

import argparse
import shlex
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from muse_lr.ablate.check import CheckedRun
    from muse_lr.ablate.study import Run, Study

HELP = "train every variant of an ablation study with every seed and compare the errors"
#: Start of a change that a longer study replaces.
EPOCHS = "training.epochs="


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the verb to its parser."""
    parser.add_argument("study", type=Path, metavar="STUDY.yaml", help="study file")
    parser.add_argument(
        "--out",
        type=Path,
        metavar="DIR",
        help="output directory (default: runs beside study.yaml, and runs_NAME beside NAME.yaml)",
    )
    parser.add_argument(
        "--jobs", type=_count, default=1, help="number of parallel runs (default: 1)"
    )
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="override a key of the base for all variants, e.g. --set training.epochs=10; can be "
        "repeated; a key that a variant sets too is refused",
    )
    parser.add_argument(
        "--only",
        nargs="+",
        metavar="RUN",
        help="train only these runs (VARIANT or VARIANT/seed-N); the report still covers every "
        "finished run",
    )
    parser.add_argument(
        "--plan",
        action="store_true",
        help="check every run and list steps, batches and parameters, without training",
    )
    parser.add_argument(
        "--estimate",
        action="store_true",
        help="like --plan, with time and memory from a few steps of each variant",
    )


def run(args: argparse.Namespace) -> int:
    """Run the study; exit code 0 on success, 1 if a run failed, 130 if interrupted."""
    begun = time.monotonic()
    from muse_lr.ablate.execute import check_existing
    from muse_lr.ablate.study import StudyError, identical_variants, load_study, select

    study = load_study(args.study)
    out: Path = args.out or _default_directory(args.study)
    try:
        runs, checked = _planned(study, args, out)
    except StudyError as error:
        for problem in error.problems:
            print(f"muse-lr: {problem}", file=sys.stderr)
        return 2
    for first, second in identical_variants(runs):
        print(f"warning: variants {first} and {second} are the same", file=sys.stderr)
    chosen = select(runs, args.only) if args.only else runs
    if args.plan or args.estimate:
        done = check_existing(chosen)
        _print_plan([item for item in checked if item.run in chosen], done, out, args.set)
        return _estimate(checked, [r for r in chosen if r not in done], args)
    check_existing(runs)  # the report also covers the runs that are not selected
    return _train(args, study, out, runs, chosen, begun)


def _train(
    args: argparse.Namespace,
    study: Study,
    out: Path,
    runs: list[Run],
    chosen: list[Run],
    begun: float,
) -> int:
    """Train the chosen runs and report on all; ``begun`` is the start of the command."""
    from muse_lr.ablate.conclude import StudyFile, conclude
    from muse_lr.ablate.execute import execute
    from muse_lr.ablate.planned import time_taken

    # The report shows the study that was run: its file, with the changes of the command line.
    changes = "".join(f"# --set {' '.join(change.split())}\n" for change in args.set)
    text = changes + args.study.read_text("utf-8")
    file = StudyFile(args.study, text, study, _command(args))
    print(f"writing to {out}", flush=True)
    try:
        outcome = execute(chosen, args.jobs)
    except KeyboardInterrupt:
        print("interrupted; run the same command again to continue", file=sys.stderr)
        return 130
    code = conclude(file, out, runs, outcome.failed)
    done = len(outcome.finished) + len(outcome.failed)
    if done:
        planned = None if args.set else study.planned
        print(time_taken(time.monotonic() - begun, args.jobs, done, len(runs), planned))
    return code


def _command(args: argparse.Namespace) -> str:
    """This command without its output and without the number of epochs."""
    words = ["muse-lr", "ablate", str(args.study), *(["--jobs", str(args.jobs)] * (args.jobs > 1))]
    for change in args.set:
        if not change.startswith(EPOCHS):
            words += ["--set", change]
    return shlex.join(words)


def _default_directory(study: Path) -> Path:
    """Directory beside the study file, which no other study shares."""
    from muse_lr.config.schema import check_name

    name = check_name(study.stem, "study")
    return study.parent / ("runs" if name == "study" else f"runs_{name}")


def _planned(
    study: Study, args: argparse.Namespace, out: Path
) -> tuple[list[Run], list[CheckedRun]]:
    """Plan the runs and, unless all of them are finished, check them as training would.

    Raises
    ------
    StudyError
        With one line for each variant that cannot be trained.
    """
    from muse_lr.ablate.check import check_runs
    from muse_lr.ablate.execute import is_finished
    from muse_lr.ablate.study import StudyError, resolve_runs
    from muse_lr.config.overrides import parse_assignment, unique
    from muse_lr.train.record import silent

    changes = unique(map(parse_assignment, args.set), "--set")
    runs, problems = resolve_runs(study, args.study, out, changes)
    asked = args.plan or args.estimate or study.drop_impossible_losses
    if not asked and not problems and all(map(is_finished, runs)):
        return runs, []
    # Seconds: only a terminal shows them, so that a refusal is one line.
    report = _progress if sys.stderr.isatty() else silent
    checked, more = check_runs(runs, study, args.study, report)
    if problems or more:
        raise StudyError(problems + more)
    return [item.run for item in checked], checked


def _print_plan(
    checked: Sequence[CheckedRun], finished: Sequence[Run], out: Path, changes: Sequence[str]
) -> None:
    from muse_lr.ablate.check import plan_notes, plan_table
    from muse_lr.ablate.equality import planned_equality
    from muse_lr.reporting.html import text_table

    print(text_table(plan_table(checked, finished)))
    for line in [*planned_equality(checked).lines(), *plan_notes(checked)]:
        print(line)
    if changes:
        print(f"set for all variants: {', '.join(changes)}")
    print(f"{len(checked)} runs, {len(finished)} finished; directory: {out}")


def _estimate(checked: Sequence[CheckedRun], runs: Sequence[Run], args: argparse.Namespace) -> int:
    """Print time and memory of the variants; exit code 2 if the steps of one failed."""
    from muse_lr.ablate.estimate import estimate_table, estimate_variants, total_seconds
    from muse_lr.reporting.html import text_table
    from muse_lr.reporting.wording import duration

    if not args.estimate or not runs:
        return 0
    found, problems = estimate_variants(runs, args.jobs, _progress)
    if found:
        print(text_table(estimate_table(checked, found)))
        known = [found[run.variant].seconds for run in runs if run.variant in found]
        total = total_seconds(known, args.jobs)
        print(f"{len(known)} runs to do with --jobs {args.jobs}: about {duration(total)}")
        print("not counted: checkpoints, early stopping, and the plan and report of the study")
    for problem in problems:
        print(f"muse-lr: {args.study}: {problem}", file=sys.stderr)
    return 2 if problems else 0


def _progress(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _count(text: str) -> int:
    if not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"a whole number from 1 on is needed, not {text!r}")
    return int(text)
