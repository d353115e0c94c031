"""``muse-lr data check FILE``: summarize a file of reference data and report problems."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from muse_lr.data.findings import CheckReport, Finding

HELP = "check files of reference data"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the verb to its parser."""
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    check = actions.add_parser(
        "check",
        help="summarize files and report errors and warnings",
        description="Summarize each file and report errors and warnings. The exit code is 0 if "
        "every file can be used for training and 2 if one has errors; warnings do not change it. "
        "Frames and atoms are counted from 0. With --test, each test set is checked too, alone and "
        "against the other files.",
    )
    check.add_argument(
        "files",
        nargs="+",
        metavar="FILE",
        help="extended XYZ, or any format that ASE reads; FILE@:40, FILE@KEY=VALUE and "
        "FILE@random=N select frames",
    )
    check.add_argument(
        "--test",
        action="append",
        default=[],
        metavar="[NAME=]FILE",
        help="test set of a model that is trained on the other files; can be repeated",
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
    from muse_lr.data.check_text import format_findings, format_report

    keys, tests = parse_pairs(args.keys, "--keys"), parse_tests(args.test)
    reports = [check_file(path, keys, not tests) for path in [*args.files, *tests.values()]]
    print("\n\n".join(format_report(report) for report in reports))
    readable = not any(f.kind == "unreadable" for report in reports for f in report.errors)
    findings = _check_tests(args.files, tests, reports) if tests and readable else []
    if tests and readable:
        text = format_findings(findings) or "  The training data lack nothing of them."
        print(f"\nTest sets against the training data\n{text}")
    errors = [finding for report in reports for finding in report.errors]
    return 2 if any(finding.severity == "error" for finding in [*errors, *findings]) else 0


def _check_tests(
    files: Sequence[str], tests: Mapping[str, str], reports: Sequence[CheckReport]
) -> list[Finding]:
    """Check test sets against the training files, to which the first reports belong."""
    from muse_lr.data.formats import read_atoms
    from muse_lr.data.together import check_keys, check_tests, read_sourced

    train = [atoms for file in files for atoms in read_atoms(file)]
    sourced = {name: read_sourced(file) for name, file in tests.items()}
    fitted = all(report.fits_e0 for report in reports[: len(files)])
    checked = dict(zip(tests, reports[len(files) :], strict=True))
    keys = check_keys(reports[: len(files)], checked)
    return [*keys, *check_tests(train, sourced, fitted)]


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
