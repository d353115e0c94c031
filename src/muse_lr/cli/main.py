"""Entry point of the command ``muse-lr VERB``; each verb is a module of :mod:`muse_lr.cli`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from importlib import import_module

from muse_lr import __version__
from muse_lr.errors import InputError
from muse_lr.utils.malloc import tune_malloc

VERBS = (
    *("init", "data", "train", "evaluate", "study", "ablate", "md", "hessian", "profile"),
    *("audit", "info", "coarse", "ipi", "cache", "doctor"),
)


def build_parser() -> argparse.ArgumentParser:
    """Build the parser of all verbs without importing torch or ase."""
    parser = argparse.ArgumentParser(
        prog="muse-lr",
        description="Train, evaluate and compare machine-learned force fields with long-range "
        "physics.",
    )
    parser.add_argument("--version", action="version", version=f"muse_lr {__version__}")
    parser.add_argument("--debug", action="store_true", help="show the full traceback of an error")
    verbs = parser.add_subparsers(dest="verb", metavar="VERB", required=True)
    for name in VERBS:
        module = import_module(f"muse_lr.cli.{name}")
        verb = verbs.add_parser(name, help=module.HELP, description=module.HELP)
        module.add_arguments(verb)
        verb.add_argument(
            "--debug", action="store_true", default=argparse.SUPPRESS, help=argparse.SUPPRESS
        )
        verb.set_defaults(run=module.run)
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a verb and return its exit code.

    Parameters
    ----------
    arguments : sequence of str, optional
        Command-line arguments; default: ``sys.argv[1:]``.

    Returns
    -------
    int
        0: success, 1: a run failed, 2: invalid input, 130: interrupted.
    """
    parser = build_parser()
    args, rest = parser.parse_known_args(arguments)
    if rest:
        explain = getattr(import_module(f"muse_lr.cli.{args.verb}"), "explain_rest", None)
        parser.error(
            (explain(args, rest) if explain else "") or f"unrecognized arguments: {' '.join(rest)}"
        )
    tune_malloc()
    try:
        return int(args.run(args))
    except InputError as error:
        if args.debug:
            raise
        print(f"muse-lr: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("muse-lr: interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:
        return 1
    except OSError as error:
        if args.debug:
            raise
        print(f"muse-lr: {error.filename or 'a file'}: {error.strerror}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
