"""``muse-lr train``: train a model."""

from __future__ import annotations

import argparse

HELP = "train a model; write a run directory with the model, learning curves and a report"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the verb to its parser."""
    parser.add_argument("config", help="configuration file (YAML)")
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="override a key, e.g. --set training.epochs=10; can be repeated",
    )
    parser.add_argument("--resume", action="store_true", help="continue an interrupted run")


def run(args: argparse.Namespace) -> int:
    """Train the model of a configuration file."""
    from muse_lr.config.overrides import parse_assignment, unique
    from muse_lr.train.config import load_config
    from muse_lr.train.loop import train

    overrides = unique(map(parse_assignment, args.set), "--set")
    config = load_config(args.config, overrides)
    train(config, resume=args.resume, report=lambda text: print(text, flush=True))
    return 0
