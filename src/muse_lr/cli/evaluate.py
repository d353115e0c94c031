"""``muse-lr evaluate``: errors and predictions of a model for labeled structures."""

from __future__ import annotations

import argparse

from muse_lr.cli.trust import add_trust_argument

HELP = "compute errors and predictions of a model for labeled structures"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the verb to its parser."""
    parser.add_argument("model", help="model file (model.pt)")
    parser.add_argument("data", nargs="+", help="files of labeled structures")
    parser.add_argument(
        "--out", default="evaluation", metavar="DIR", help="output directory (default: evaluation)"
    )
    parser.add_argument(
        "--keys",
        action="append",
        default=[],
        metavar="LABEL=KEY",
        help="key of a label in the files, e.g. --keys energy=REF_energy; can be repeated",
    )
    parser.add_argument("--device", default="cpu", help="cpu, cuda, cuda:1, ... (default: cpu)")
    parser.add_argument(
        "--graphs",
        type=int,
        default=16,
        help="largest number of structures in a batch (default: 16)",
    )
    parser.add_argument(
        "--edges",
        type=int,
        help="largest number of edges computed at once, to save memory (default: no limit)",
    )
    add_trust_argument(parser)


def run(args: argparse.Namespace) -> int:
    """Evaluate the model; write metrics, predictions and parity plots."""
    from pathlib import Path

    from muse_lr.config.overrides import parse_assignment, unique
    from muse_lr.config.schema import validate
    from muse_lr.data.dataset import Dataset
    from muse_lr.data.labels import LABELS
    from muse_lr.data.reading import read_frames
    from muse_lr.model.serialization import load_model
    from muse_lr.reporting.figures import parity_panels
    from muse_lr.reporting.plots import parity
    from muse_lr.reporting.predictions import read_predictions
    from muse_lr.reporting.style import save
    from muse_lr.train.config import BatchConfig, MicroBatchConfig
    from muse_lr.train.evaluate import evaluate, write_predictions
    from muse_lr.train.possible import impossible_labels
    from muse_lr.utils.devices import find_device
    from muse_lr.utils.files import write_json

    out = Path(args.out)
    keys = {k: str(v) for k, v in unique(map(parse_assignment, args.keys), "--keys").items()}
    model = load_model(args.model, device=find_device(args.device), trust=args.trust)
    frames = read_frames(args.data, keys, partial=tuple(LABELS), elements=model.elements)
    dataset = Dataset.from_frames(frames, model.cutoff)
    batch = validate(BatchConfig, {"graphs": args.graphs}, "--graphs")
    limits = validate(MicroBatchConfig, {"edges": args.edges}, "--edges")
    found = evaluate(model, dataset, batch, limits)
    shares = {f"node_share_level{n}": share for n, share in enumerate(found.node_share, 1)}
    metrics = found.metrics | shares
    write_json(out / "metrics.json", metrics)
    predictions = out / "predictions.extxyz"
    write_predictions(found.frames, predictions)
    panels = parity_panels(read_predictions(predictions, keys))
    if panels:
        save(parity(panels), out / "parity.png")
    width = max(14, *map(len, metrics))
    for name, value in metrics.items():
        print(f"{name:>{width}}  {value:.5g}")
    carried = {label for frame in frames for label in frame.labels}
    for label, reason in impossible_labels(model, frames).items():
        if label in carried:
            print(f"note: no errors of {label}: the label {reason}")
    print(f"{len(frames)} structures; predictions and plots: {out}")
    return 0
