"""``muse-lr study DATA``: plan a comparison of long-range models for a file and a time."""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

from muse_lr.cli.data import add_keys_argument, parse_pairs, parse_tests

HELP = "write a study of long-range parts for a file of reference data, planned for a given time"
FILES = ("config.yaml", "study.yaml")
#: The measurement alone takes a good part of this time.
FEWEST_MINUTES = 1


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the verb to its parser."""
    parser.add_argument(
        "data", metavar="DATA", help="training data, e.g. extended XYZ, or DATA@random=500"
    )
    parser.add_argument(
        "--test",
        action="append",
        default=[],
        metavar="[NAME=]FILE",
        help="test set; can be repeated (default: a tenth of the frames is held out)",
    )
    parser.add_argument(
        "--variants",
        default=None,
        metavar="A,B,...",
        help="short_range, charges, muse, both (these are the default), both_local_charges, "
        "ewald_mp, virtual_nodes, cutoff_10, layers_4, dispersion; the reference is short_range, "
        "or the first",
    )
    parser.add_argument(
        "--minutes",
        type=_minutes,
        default=30.0,
        help="time of the planning and of all runs of the study on this machine (default: 30)",
    )
    parser.add_argument(
        "--by",
        nargs="+",
        action="extend",
        default=[],
        metavar="KEY",
        help="info keys by whose values the report divides the errors (default: keys with few "
        "values)",
    )
    parser.add_argument(
        "--out", type=Path, metavar="DIR", help="directory of the files (default: named after DATA)"
    )
    parser.add_argument(
        "--force",
        action="store_true",
        help="overwrite config.yaml and study.yaml of an earlier plan without runs",
    )
    add_keys_argument(parser)


def explain_rest(args: argparse.Namespace, rest: list[str]) -> str:
    """Message for names of variants between blanks; empty for other arguments that are left."""
    if not args.variants or any(word.startswith("-") for word in rest):
        return ""
    return f"--variants takes names with commas: --variants {','.join([args.variants, *rest])}"


def run(args: argparse.Namespace) -> int:
    """Plan the study and write its files; exit code 2 if it cannot be trained in this time."""
    begun = time.monotonic()
    from muse_lr.ablate.proposal.hold_out import hold_out
    from muse_lr.ablate.proposal.propose import propose
    from muse_lr.ablate.proposal.subsets import choose_subsets
    from muse_lr.ablate.proposal.text import (
        configuration_text,
        next_command,
        study_text,
        summary,
    )
    from muse_lr.ablate.proposal.variants import DEFAULT, choose_variants
    from muse_lr.ablate.study import StudyError
    from muse_lr.data.scaffold.survey import survey
    from muse_lr.data.scaffold.text import stem_of
    from muse_lr.utils.files import atomic_write

    _refuse_short(args.minutes)
    names = choose_variants(args.variants.split(",") if args.variants else DEFAULT)
    directory = args.out or Path(stem_of(args.data) or "study")
    _refuse_existing(directory, args.force)
    tests = parse_tests(args.test)
    _progress(f"checking {args.data}")
    found = hold_out(survey(args.data, tests, parse_pairs(args.keys, "--keys")))
    subsets = choose_subsets(found, args.by)
    for text in found.all_warnings:
        _progress(f"warning: {text}")
    try:
        proposal = propose(found, names, 60 * args.minutes, _progress, begun)
    except StudyError as error:
        for problem in error.problems:
            print(f"muse-lr: {problem}", file=sys.stderr)
        return 2
    command = next_command(directory, proposal.task.jobs)
    texts = configuration_text(proposal, directory), study_text(proposal, command, subsets)
    for file, text in zip(FILES, texts, strict=True):
        with atomic_write(directory / file) as handle:
            handle.write(text)
    for line in summary(proposal):
        print(line)
    print(f"written: {' and '.join(str(directory / file) for file in FILES)}")
    print(f"next: {command}")
    return 0


def _refuse_short(minutes: float) -> None:
    from muse_lr.errors import InputError

    if minutes < FEWEST_MINUTES:
        raise InputError(
            f"--minutes {minutes:g}: planning and training need at least {FEWEST_MINUTES} minute"
        )


def _refuse_existing(directory: Path, force: bool) -> None:
    from muse_lr.errors import InputError

    existing = [directory / f for f in FILES if (directory / f).exists()]
    existing += [directory / f for f in FILES if (directory / f).is_symlink()]
    runs = directory / "runs"
    if existing and runs.is_dir() and any(runs.iterdir()):
        raise InputError(
            f"{existing[0]} exists, and {runs} holds runs of it: choose another directory with "
            "--out"
        )
    if existing and not force:
        raise InputError(
            f"{existing[0]} exists: overwrite it with --force, or choose another directory with "
            "--out"
        )


def _progress(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _minutes(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"a number of minutes is needed, such as 30, not {text!r}")
    return value
