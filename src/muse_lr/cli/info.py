"""``muse-lr info``: describe the parts of a model."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from muse_lr.model.energy_model import EnergyModel

from muse_lr.cli.options import add_trust_argument

HELP = "print the parts, parameters, receptive field and solvers of a model or configuration"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the verb to its parser."""
    parser.add_argument("source", help="model file (.pt) or configuration (.yaml)")
    add_trust_argument(parser)


def run(args: argparse.Namespace) -> int:
    """Describe the model; report plugins that cannot be used on standard error."""
    from muse_lr.config.registry import broken_plugins
    from muse_lr.model.describe import describe
    from muse_lr.model.serialization import load_model

    if args.source.endswith((".yaml", ".yml")):
        model = _model_of(args.source)
    else:
        model = load_model(args.source, trust=args.trust)
    print("\n".join(describe(model)))
    for line in broken_plugins():
        print(f"muse-lr: {line}", file=sys.stderr)
    return 0


def _model_of(path: str) -> EnergyModel:
    """Build the untrained model of a configuration; read missing elements from the data."""
    from muse_lr.config.yaml import load_yaml
    from muse_lr.data.reading import elements_of, read_frames
    from muse_lr.model.build import build_model
    from muse_lr.model.config import without_data
    from muse_lr.train.config import load_config

    if "data" not in load_yaml(path):
        return build_model(path)
    config = load_config(path)
    section = config.model
    if section.elements is None and (
        section.backbone is None or section.backbone.weights_file is None
    ):
        elements = elements_of(read_frames(config.data.train, config.data.keys))
        section = section.model_copy(update={"elements": elements})
    return build_model(without_data(section))
