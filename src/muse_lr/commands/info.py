"""``muse-lr info``: what a model is made of."""

from __future__ import annotations

import argparse

HELP = "parts, parameters, receptive field and solvers of a model or a configuration"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("source", help="model file (.pt) or configuration (.yaml)")


def run(args: argparse.Namespace) -> int:
    """Run the verb."""
    from muse_lr.config import build_model, load_yaml
    from muse_lr.describe import describe
    from muse_lr.errors import InputError
    from muse_lr.serialization import load_model

    if args.source.endswith((".yaml", ".yml")):
        section = load_yaml(args.source).get("model", {})
        if isinstance(section, dict) and section.get("elements") is None:
            raise InputError(
                f"{args.source}: model.elements is left to the data; name them to see the model"
            )
        model = build_model(args.source)
    else:
        model = load_model(args.source)
    print("\n".join(describe(model)))
    return 0
