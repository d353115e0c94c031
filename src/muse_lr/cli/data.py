"""``muse-lr data check FILE``: what is in a file, and what is wrong with it."""

from __future__ import annotations

import argparse

HELP = "check files of reference data"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command line."""
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    check = actions.add_parser(
        "check",
        help="print what is in a file and what is wrong with it",
        description="Print what is in a file and what is wrong with it. Exit code 0 if it can "
        "be trained on, 2 if it has errors; warnings do not count. Frames and atoms are counted "
        "from 0.",
    )
    check.add_argument("files", nargs="+", metavar="FILE", help="extended XYZ or what ASE reads")
    add_keys_argument(check)


def add_keys_argument(parser: argparse.ArgumentParser) -> None:
    """Declare ``--keys LABEL=KEY ...``."""
    parser.add_argument(
        "--keys",
        nargs="+",
        action="extend",
        default=[],
        metavar="LABEL=KEY",
        help="where a label is in the file, e.g. energy=dft_energy (default: the usual keys)",
    )


def parse_pairs(pairs: list[str], option: str) -> dict[str, str]:
    """``["a=b", ...]`` as a mapping; each name once."""
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
    """Check each file; 2 if one has errors."""
    from muse_lr.data.check import check_file
    from muse_lr.data.check_text import format_report

    keys = parse_pairs(args.keys, "--keys")
    reports = [check_file(path, keys) for path in args.files]
    print("\n\n".join(format_report(report) for report in reports))
    return 2 if any(report.errors for report in reports) else 0
