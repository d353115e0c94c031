"""``muse-lr init DATA``: write a first configuration for a file of reference data."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING

from muse_lr.cli.data import add_keys_argument, parse_pairs, parse_tests

if TYPE_CHECKING:
    from muse_lr.data.scaffold.survey import Survey

HELP = "write a commented configuration for a file of reference data"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the verb to its parser."""
    parser.add_argument(
        "data", metavar="DATA", help="training data, e.g. extended XYZ, or DATA@random=500"
    )
    parser.add_argument(
        "--test", action="append", default=[], metavar="[NAME=]FILE", help="test set; repeatable"
    )
    parser.add_argument(
        "-o", "--output", metavar="FILE", help="new file to write (default: standard output)"
    )
    parser.add_argument(
        "--no-estimate",
        action="store_true",
        help="do not measure what the training costs, which takes seconds",
    )
    add_keys_argument(parser)


def run(args: argparse.Namespace) -> int:
    """Print the configuration, or write it to a new file."""
    from pathlib import Path

    from muse_lr.data.scaffold.configuration import write_configuration
    from muse_lr.data.scaffold.survey import survey
    from muse_lr.errors import InputError
    from muse_lr.utils.files import atomic_write

    tests = parse_tests(args.test)
    output = None if args.output is None else Path(args.output)
    if output is not None and (output.exists() or output.is_symlink()):
        raise InputError(f"{args.output} exists: remove it or choose another file")
    found = survey(args.data, tests, parse_pairs(args.keys, "--keys"))
    for text in found.all_warnings:
        print(f"warning: {text}", file=sys.stderr)
    notes = [] if args.no_estimate else _cost(found)
    text = write_configuration(found, "." if output is None else output.parent, notes=notes)
    if output is None:
        print(text, end="")
        return 0
    with atomic_write(output) as handle:
        handle.write(text)
    return 0


def _cost(found: Survey) -> list[str]:
    """What the training costs on this machine; also printed to standard error."""
    from dataclasses import replace

    from muse_lr.ablate.proposal.measure import measure_alone
    from muse_lr.ablate.proposal.propose import resolved
    from muse_lr.data.scaffold.choices import Choices
    from muse_lr.errors import InputError
    from muse_lr.reporting.wording import duration
    from muse_lr.train.costs import Amount

    def progress(text: str) -> None:
        print(text, file=sys.stderr, flush=True)

    choices = Choices()
    progress("measuring a few steps for the time of the training; --no-estimate skips this")
    try:
        costs = measure_alone(resolved(found, choices), lambda text: None)
    except InputError as error:
        note = f"The cost could not be measured: {error}"
        progress(note)
        return [note]
    epochs, (trained, valid) = choices.planned_epochs(found), found.count_trained()
    steps = epochs * choices.limits(found).steps(trained)
    tested = sum(map(len, found.test_structures.values()))
    costs = replace(costs, step=costs.fastest_step)  # a machine may stall during the measurement
    seconds = costs.seconds(Amount(epochs, steps, trained, valid, tested))
    note = (
        f"Cost on this machine: about {duration(seconds)} for {epochs} epochs ({steps} steps of "
        f"{1000 * costs.step:.0f} ms), with {costs.parameters:,} parameters and "
        f"{costs.peak_memory_mb / 1000:.1f} GB of memory. muse-lr study plans for a given time."
    )
    progress(note)
    return [note]
