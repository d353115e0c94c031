"""``muse-lr init DATA``: write a first configuration for a file of reference data."""

from __future__ import annotations

import argparse

from muse_lr.cli.data import add_keys_argument, parse_pairs

HELP = "write a commented configuration for a file of reference data"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the verb to its parser."""
    parser.add_argument("data", metavar="DATA", help="training data, e.g. extended XYZ")
    parser.add_argument(
        "--test", action="append", default=[], metavar="NAME=FILE", help="test set; can be repeated"
    )
    parser.add_argument(
        "-o", "--output", metavar="FILE", help="new file to write (default: standard output)"
    )
    add_keys_argument(parser)


def run(args: argparse.Namespace) -> int:
    """Print the configuration, or write it to a new file."""
    from pathlib import Path

    from muse_lr.config.schema import check_name
    from muse_lr.data.scaffold import make_configuration
    from muse_lr.errors import InputError
    from muse_lr.utils.files import atomic_write

    tests = parse_pairs(args.test, "--test")
    for name in tests:
        check_name(name, "test")
    keys = parse_pairs(args.keys, "--keys")
    if args.output is None:
        print(make_configuration(args.data, tests, keys), end="")
        return 0
    output = Path(args.output)
    if output.exists() or output.is_symlink():
        raise InputError(f"{args.output} exists: remove it or choose another file")
    text = make_configuration(args.data, tests, keys, base=output.parent)
    with atomic_write(output) as handle:
        handle.write(text)
    return 0
