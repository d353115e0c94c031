"""``muse-lr data check FILE``: summarize a file of reference data and report problems."""

from __future__ import annotations

import argparse
from pathlib import Path

HELP = "check files of reference data"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the verb to its parser."""
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    check = actions.add_parser(
        "check",
        help="summarize files and report errors and warnings",
        description="Summarize each file and report errors and warnings. The exit code is 0 if "
        "every file can be used for training and 2 if one has errors; warnings do not change it. "
        "Frames and atoms are counted from 0.",
    )
    check.add_argument(
        "files",
        nargs="+",
        metavar="FILE",
        help="extended XYZ, or any format that ASE reads; FILE@:40, FILE@KEY=VALUE and "
        "FILE@random=N select frames",
    )
    add_keys_argument(check)


def add_keys_argument(parser: argparse.ArgumentParser) -> None:
    """Add the option ``--keys LABEL=KEY ...`` to a parser."""
    parser.add_argument(
        "--keys",
        nargs="+",
        action="extend",
        default=[],
        metavar="LABEL=KEY",
        help="key of a label in the file, e.g. energy=dft_energy (default: the usual keys)",
    )


def parse_pairs(pairs: list[str], option: str) -> dict[str, str]:
    """Convert ``["a=b", ...]`` to a mapping; a repeated name is an error."""
    from muse_lr.errors import InputError

    result: dict[str, str] = {}
    for pair in pairs:
        name, separator, value = pair.partition("=")
        if not separator or not name or not value:
            raise InputError(f"{option} {pair!r}: NAME=VALUE is needed")
        if name in result:
            raise InputError(f"{option}: {name!r} is given twice")
        result[name] = value
    return result


def run(args: argparse.Namespace) -> int:
    """Check each file; exit code 2 if one has errors."""
    from muse_lr.data.check import check_file
    from muse_lr.data.check_text import format_report

    keys = parse_pairs(args.keys, "--keys")
    reports = [check_file(path, keys) for path in args.files]
    print("\n\n".join(format_report(report) for report in reports))
    return 2 if any(report.errors for report in reports) else 0


def parse_tests(given: list[str]) -> dict[str, str]:
    """Name of each test set -> its file, from --test [NAME=]FILE; a file is named after itself."""
    from muse_lr.config.schema import check_name
    from muse_lr.data.scaffold.text import stem_of
    from muse_lr.errors import InputError

    found: dict[str, str] = {}
    for text in given:
        name, separator, file = text.partition("=")
        if not separator or Path(text).exists() or "/" in name or "@" in name:
            name, file = stem_of(text) or "test", text
        check_name(name, "test")
        if not file:
            raise InputError(f"--test {text!r}: FILE or NAME=FILE is needed")
        if name in found:
            raise InputError(f"--test: two test sets are named {name!r}: give NAME=FILE")
        found[name] = file
    return found
