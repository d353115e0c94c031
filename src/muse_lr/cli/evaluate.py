"""``muse-lr evaluate``: errors and predictions of a model for labeled structures."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from muse_lr.cli.options import add_trust_argument

if TYPE_CHECKING:
    from muse_lr.data.reading import Frame
    from muse_lr.model.energy_model import EnergyModel
    from muse_lr.reporting.evaluation_report import Analysis

#: Width of text in the terminal, characters.
WIDTH = 88
HELP = "compute errors and predictions of a model for labeled structures"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the verb to its parser."""
    parser.add_argument("model", metavar="MODEL", help="model file (model.pt)")
    parser.add_argument(
        "data",
        nargs="+",
        metavar="DATA",
        help="files of structures; file.xyz@:40 or file.xyz@KEY=VALUE selects frames",
    )
    parser.add_argument(
        "--out",
        metavar="DIR",
        help="output directory (default: evaluation-DATA beside the model); nothing in it is "
        "overwritten",
    )
    parser.add_argument(
        "--by",
        nargs="+",
        action="extend",
        default=[],
        metavar="KEY",
        help="errors by the value of these info keys, e.g. --by subset salt (default: subset, "
        "config_type and the like, where the frames have them)",
    )
    parser.add_argument(
        "--keys",
        nargs="+",
        action="extend",
        default=[],
        metavar="LABEL=KEY",
        help="key of a label in the files, e.g. --keys energy=dft_energy (default: the usual keys)",
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
    """Evaluate the model; write metrics, predictions, tables and a page; print the tables."""
    from pathlib import Path

    from muse_lr.config.overrides import parse_assignment, unique
    from muse_lr.config.schema import validate
    from muse_lr.data.dataset import Dataset
    from muse_lr.data.labels import LABELS
    from muse_lr.data.reading import read_frames
    from muse_lr.model.serialization import load_model
    from muse_lr.reporting.breakdown.errors import by_info
    from muse_lr.reporting.directories import directory_beside
    from muse_lr.reporting.evaluation_report import analyze
    from muse_lr.reporting.predictions import collect
    from muse_lr.train.config import BatchConfig, MicroBatchConfig
    from muse_lr.train.evaluate import evaluate
    from muse_lr.train.evaluation_files import claim, data_name, write_evaluation
    from muse_lr.utils.devices import find_device

    keys = {k: str(v) for k, v in unique(map(parse_assignment, args.keys), "--keys").items()}
    batch = validate(BatchConfig, {"graphs": args.graphs}, "--graphs")
    limits = validate(MicroBatchConfig, {"edges": args.edges}, "--edges")
    model = load_model(args.model, device=find_device(args.device), trust=args.trust)
    frames = read_frames(args.data, keys, partial=tuple(LABELS), elements=model.elements)
    _check(frames, keys)
    dataset = Dataset.from_frames(frames, model.cutoff)
    name = data_name(args.data)
    structures = collect([frame.atoms for frame in frames], name, keys)
    for key in args.by:
        by_info(structures, key)  # refuses a key that cannot be used
    beside = directory_beside(Path(args.model), "evaluation", args.data)
    out = Path(args.out) if args.out else beside
    claim(out)
    found = evaluate(model, dataset, batch, limits)
    analysis = analyze(collect(found.frames, name, keys), args.by, found.frames)
    notes = list(_notes(model, frames))
    about = _about(args, name, frames)
    sources = [frame.source for frame in frames]
    write_evaluation(found, analysis, out, about, sources, notes)
    _print(analysis, sources)
    _print_remarks(analysis, found.node_share, about["keys"], notes)
    page = out / "report.html" if analysis.total.errors else out / "predictions.extxyz"
    print(f"{len(frames):,} structures: {page}")
    return 0


def _check(frames: Sequence[Frame], keys: Mapping[str, str]) -> None:
    """Raise an error for a key that no structure has, and for a structure that is given twice."""
    from collections import Counter

    from muse_lr.data.labels import has_key
    from muse_lr.data.reading import missing_key
    from muse_lr.errors import InputError

    for label, key in keys.items():
        if not any(has_key(frame.atoms, key) for frame in frames):
            text = missing_key(frames[0].atoms, label, [key])
            raise InputError(f"{frames[0].source}: {text}; correct --keys {label}=KEY")
    source, count = Counter(frame.source for frame in frames).most_common(1)[0]
    if count > 1:
        raise InputError(f"{source} is given twice: give each structure once")


def _notes(model: EnergyModel, frames: Sequence[Frame]) -> Iterator[str]:
    """Describe what has no errors, and the labels that only part of the structures have."""
    from muse_lr.data.labels import LABELS, available_keys
    from muse_lr.data.reading import LISTED, label_notes
    from muse_lr.train.possible import impossible_labels

    impossible = impossible_labels(model, frames)
    counts = {label: sum(label in frame.labels for frame in frames) for label in LABELS}
    for label, count in counts.items():
        if count and label in impossible:
            yield f"no errors of {label}: the label {impossible[label]}"
        elif 0 < count < len(frames):
            yield f"{label}: {count:,} of {len(frames):,} structures have this label"
    yield from label_notes(frames)
    if not any(counts.values()):
        there = ", ".join(available_keys(frames[0].atoms)[:LISTED]) or "none"
        yield (
            "no structure has a label, so that there are predictions but no errors; keys of the "
            f"first one: {there}; give the key of a label as --keys energy=KEY"
        )


def _about(args: argparse.Namespace, name: str, frames: Sequence[Frame]) -> dict[str, str]:
    """Names and values for the last table of the page; the name of the run is in its title."""
    from pathlib import Path

    from muse_lr import __version__
    from muse_lr.data.labels import LABELS
    from muse_lr.reporting.run_report import run_title

    path = Path(args.model)
    is_run = path.name == "model.pt" and (path.parent / "config.yaml").is_file()
    used = {label: {f.keys[label] for f in frames if label in f.keys} for label in LABELS}
    return {
        **({"run": run_title(path.parent)} if is_run else {}),
        "model": str(Path(path.absolute().parent.name, path.name)),
        "data": name,
        "keys": ", ".join(
            f"{label} from {' and '.join(sorted(keys))}" for label, keys in used.items() if keys
        ),
        "device": args.device,
        "muse_lr": __version__,
    }


def _print(analysis: Analysis, sources: Sequence[str]) -> None:
    """Print the errors with their scale, the breakdowns and the worst frames."""
    from textwrap import fill

    from muse_lr.reporting.breakdown.tables import (
        SCALE_CAPTION,
        breakdown_table,
        scale_table,
        worst_table,
    )
    from muse_lr.reporting.html import text_table
    from muse_lr.reporting.metric_units import RELATIVE_ENERGY
    from muse_lr.train.evaluation_files import short_sources

    if not analysis.total.errors:
        return
    print(f"{text_table(scale_table(analysis.total))}\n\n{fill(SCALE_CAPTION, WIDTH)}")
    # Lines of a terminal are short.
    labels = [label for label in analysis.total.errors if label != RELATIVE_ENERGY]
    tables = [breakdown_table(found, ("mae",), labels) for found in analysis.breakdowns]
    tables += [worst_table(worst, short_sources(sources)) for worst in analysis.worst]
    for table in tables:
        print(f"\n{table.caption}\n{text_table(table)}")
    print()


def _print_remarks(
    analysis: Analysis, node_share: Sequence[float], keys: str, notes: Sequence[str]
) -> None:
    """Print the share of coarse nodes, the keys, what was skipped and what to beware of."""
    from textwrap import fill

    from muse_lr.reporting.breakdown.cautions import cautions
    from muse_lr.reporting.wording import COARSE_NODES

    for level, share in enumerate(node_share, 1):
        print(f"level {level}: {100 * share:.3g} % of the atoms carry a coarse node")
    if node_share:
        print(fill(COARSE_NODES, WIDTH))
    if keys:
        print(f"keys: {keys}")
    for note in notes:
        print(f"note: {note}")
    for caution in cautions(analysis.predictions, analysis.total):
        print(fill(f"warning: {caution}", WIDTH))
