"""``muse-lr train``: fit a model to data."""

from __future__ import annotations

import argparse

HELP = "fit a model to data; writes a run directory with model, curves and a report"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("config", help="configuration file (YAML)")
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="override a key, e.g. --set training.epochs=10; may be repeated",
    )
    parser.add_argument("--resume", action="store_true", help="continue the run where it stopped")


def run(args: argparse.Namespace) -> int:
    """Run the verb."""
    from muse_lr.config.overrides import parse_assignment, unique
    from muse_lr.train.config import load_config
    from muse_lr.train.loop import train

    overrides = unique(map(parse_assignment, args.set), "--set")
    config = load_config(args.config, overrides)
    train(config, resume=args.resume, report=lambda text: print(text, flush=True))
    return 0
