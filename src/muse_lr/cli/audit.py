"""``muse-lr audit``: the physics exam of a potential."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from muse_lr.cli.options import add_trust_argument

if TYPE_CHECKING:
    from muse_lr.testing.exam import Progress, Result, Structures
    from muse_lr.testing.exam.subject import Maker
    from muse_lr.testing.potentials import Potential

#: Width of text in the terminal, characters.
WIDTH = 96
HELP = "physics exam of a model or of any ASE calculator: symmetries, extensivity, long range, ..."


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the verb to its parser."""
    parser.add_argument("model", nargs="?", metavar="MODEL", help="model file (model.pt)")
    parser.add_argument(
        "--calculator",
        metavar="MODULE:FACTORY",
        help="function that returns an ASE calculator; the module may be a file of the working "
        "directory, and its code is run",
    )
    parser.add_argument(
        "--elements",
        metavar="H,O",
        help="elements of the structures (default: those of the model or of the file)",
    )
    parser.add_argument(
        "--structures",
        metavar="FILE",
        help="frames to start from, slightly distorted; file.xyz@:3 selects frames",
    )
    parser.add_argument(
        "--trajectory",
        metavar="FILE",
        help="frames of dynamics of this potential, for statistics of its charges; "
        "file.extxyz@100: leaves out the equilibration",
    )
    parser.add_argument(
        "--temperature", type=float, metavar="T", help="temperature of the trajectory (K)"
    )
    parser.add_argument(
        "--optical",
        type=float,
        metavar="EPS",
        help="dielectric constant at fixed atoms, of charges that respond to a field (default: 1)",
    )
    parser.add_argument(
        "--dielectric",
        type=float,
        metavar="EPS",
        help="known dielectric constant, the reference of the statistics (default: estimated from "
        "the dipoles of the trajectory)",
    )
    parser.add_argument(
        "--pair",
        metavar="A,B",
        help="indices of two ions, from 0, for the tail of their mean force",
    )
    parser.add_argument("--quick", action="store_true", help="fewer and smaller structures")
    parser.add_argument(
        "--only",
        nargs="+",
        action="extend",
        default=[],
        metavar="NAME",
        help="run these checks only",
    )
    parser.add_argument("--list", action="store_true", help="print all checks, and end")
    parser.add_argument("--json", metavar="FILE", help="write the results")
    parser.add_argument("--html", metavar="FILE", help="write a page with a plot for each check")
    add_trust_argument(parser)


def run(args: argparse.Namespace) -> int:
    """Run the exam; print the table and write files; 1 if a check failed."""
    from muse_lr.cli.audit_trajectory import read_trajectory, statistics_of, verdict_record
    from muse_lr.reporting.audit.page import write_page
    from muse_lr.reporting.audit.tables import failure_lines, list_lines, result_table, summary
    from muse_lr.reporting.charge_statistics import verdict_lines, verdict_table
    from muse_lr.reporting.html import text_table
    from muse_lr.testing.exam import chosen_checks, examine
    from muse_lr.utils.files import write_json

    checks = chosen_checks(args.only)
    if args.list:
        print("\n".join(list_lines(checks, WIDTH)))
        return 0
    potential, single, elements, name = _subject(args)
    structures = _structures(args, elements)
    trajectory = read_trajectory(args)
    results = examine(
        potential, structures, only=args.only, quick=args.quick, single=single, report=_report
    )
    verdicts = statistics_of(potential, trajectory)
    saved = _save_structures(results, args)
    print(f"\n{text_table(result_table(results))}\n")
    for line in failure_lines(results, saved, WIDTH):
        print(line)
    print(summary(results))
    if verdicts:
        print(f"\n{text_table(verdict_table(verdicts))}\n")
        for line in verdict_lines(verdicts, WIDTH):
            print(line)
    if args.json:
        records = [_record(result, saved) for result in results]
        write_json(args.json, records + [verdict_record(verdict) for verdict in verdicts])
        print(args.json)
    if args.html:
        about = {"potential": name, "elements": ", ".join(structures.elements)}
        about |= {"structures": args.structures or "made of the elements"}
        about |= {"extent": "quick" if args.quick else "whole"}
        write_page(results, Path(args.html), about, saved, verdicts)
        print(args.html)
    statuses = [each.status for each in results] + [each.status for each in verdicts]
    return int("fail" in statuses)


def _subject(
    args: argparse.Namespace,
) -> tuple[Potential, Maker | None, tuple[str, ...], str]:
    """Potential, its float32 version, elements and name."""
    from muse_lr.errors import InputError
    from muse_lr.testing.exam.subject import elements_of, from_factory, from_model_file

    if (args.model is None) == (args.calculator is None):
        raise InputError("audit: give either a MODEL or --calculator module:factory")
    if args.model is not None:
        potential, single, elements = from_model_file(args.model, args.trust)
        return potential, single, elements, str(args.model)
    potential, maker = from_factory(args.calculator)
    return potential, maker, elements_of(potential), str(args.calculator)


def _structures(args: argparse.Namespace, known: Sequence[str]) -> Structures:
    """Structures of the exam, of the given elements or frames."""
    from muse_lr.data.formats import read_indexed
    from muse_lr.errors import InputError
    from muse_lr.testing.exam import from_elements, from_frames

    if args.elements and args.structures:
        raise InputError("audit: --structures FILE has its own elements: leave out --elements")
    elements = [word for word in (args.elements or "").split(",") if word] or list(known)
    if args.structures:
        frames = [atoms for _, atoms in read_indexed(args.structures)[1]]
        made = from_frames(frames, args.quick)
    elif elements:
        made = from_elements(elements, args.quick)
    else:
        raise InputError(
            "--elements is needed, e.g. --elements H,O: the calculator has no list `elements`"
        )
    unknown = [symbol for symbol in made.elements if known and symbol not in known]
    if unknown:
        where = "--structures" if args.structures else "--elements"
        raise InputError(f"{where}: the potential has no {unknown[0]}: it has {', '.join(known)}")
    return made


def _report(result: Result, progress: Progress) -> None:
    """Print a line of progress."""
    from muse_lr.reporting.wording import duration

    left = "" if progress.done == progress.total else f", {duration(progress.seconds_left)} to go"
    line = f"{progress.done} of {progress.total}: {result.name} {result.status}{left}"
    print(line, file=sys.stderr, flush=True)


def _save_structures(results: Sequence[Result], args: argparse.Namespace) -> dict[str, Path]:
    """Write the structures of failed checks as extended XYZ, beside the other files."""
    from io import StringIO

    from ase.io import write

    from muse_lr.utils.files import atomic_write

    beside = Path(args.html or args.json or "audit").parent
    saved = {}
    for result in results:
        if result.status == "fail" and result.structure is not None:
            text, path = StringIO(), beside / "audit-structures" / f"{result.name}.extxyz"
            write(text, result.structure, format="extxyz")
            with atomic_write(path) as handle:
                handle.write(text.getvalue())
            saved[result.name] = path
    return saved


def _record(result: Result, saved: dict[str, Path]) -> dict[str, object]:
    """A result in the JSON file; numbers that are not finite become null."""
    from math import isfinite

    def number(value: float | None) -> float | None:
        return value if value is not None and isfinite(value) else None

    where = f"; structure: {saved[result.name]}" if result.name in saved else ""
    return {
        "name": result.name,
        "status": result.status,
        "value": number(result.value),
        "tolerance": number(result.tolerance),
        "unit": result.unit,
        "why": f"{result.why}{where}",
    }
