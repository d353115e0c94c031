"""``muse-lr hessian``: second derivatives of models beside reference Hessians."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from muse_lr.cli.options import add_trust_argument

#: Width of text in the terminal, characters.
WIDTH = 88
HELP = "compare the Hessians of models with a reference: blocks by distance, frequencies"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the verb to its parser."""
    parser.add_argument("models", nargs="+", metavar="MODEL", help="model files (model.pt)")
    parser.add_argument(
        "--reference",
        nargs="+",
        required=True,
        metavar="FILE",
        help="extended XYZ with Hessians in FILE_hessians.npz beside it; file.xyz@:40 selects "
        "frames",
    )
    parser.add_argument(
        "--out",
        metavar="DIR",
        help="output directory (default: hessian-FILE beside the first model); Hessians of the "
        "same model that it holds are not computed again",
    )
    parser.add_argument(
        "--by",
        nargs="+",
        action="extend",
        default=[],
        metavar="KEY",
        help="divide the frames by the value of these info keys, e.g. --by family",
    )
    parser.add_argument(
        "--bins",
        nargs="+",
        type=float,
        metavar="A",
        help="bounds of the ranges of distance in Å (default: 0 2 4 6 8 10 12 15 20 30); the "
        "reach of each backbone is added",
    )
    parser.add_argument(
        "--max-frames",
        type=int,
        metavar="N",
        help="largest number of frames of a file, spread evenly over it (default: all)",
    )
    parser.add_argument(
        "--memory",
        type=float,
        metavar="GB",
        help="bound of the memory of the tensors in GB (default: 4); more computes more rows at "
        "once",
    )
    parser.add_argument("--device", default="cpu", help="cpu, cuda, cuda:1, ... (default: cpu)")
    add_trust_argument(parser)


def run(args: argparse.Namespace) -> int:
    """Compare the models; write files and a page; print the tables."""
    from muse_lr.analysis.hessian.blocks import distance_edges
    from muse_lr.analysis.hessian.comparison import compare
    from muse_lr.analysis.hessian.references import check_elements, read_references
    from muse_lr.analysis.hessian.settings import CompareConfig
    from muse_lr.config.schema import validate
    from muse_lr.model.serialization import load_model
    from muse_lr.reporting.directories import directory_beside
    from muse_lr.reporting.hessian.page import write_comparison
    from muse_lr.utils.devices import find_device

    given = {"bins": args.bins, "max_frames": args.max_frames, "memory": args.memory}
    config = validate(
        CompareConfig, {key: value for key, value in given.items() if value is not None}, "options"
    )
    names = model_names(args.models)
    references = read_references(source_names(args.reference), config.max_frames, args.by)
    device = find_device(args.device)
    models = [load_model(path, device=device, trust=args.trust) for path in args.models]
    for model, path in zip(models, args.models, strict=True):
        check_elements(references, model.elements, path)
    beside = directory_beside(Path(args.models[0]), "hessian", args.reference)
    out = Path(args.out) if args.out else beside
    found = [
        compare(model, references.frames, name, out / "hessians" / name, config.memory, print)
        for name, model in zip(names, models, strict=True)
    ]
    edges = distance_edges(found[0].pairs, config.bins, [comparison.reach for comparison in found])
    about = {
        **{f"model {name}": path for name, path in zip(names, args.models, strict=True)},
        "references": ", ".join(args.reference),
        "device": str(device),
    }
    summary = write_comparison(found, references, edges, out, about)
    _print(summary)
    print(f"{len(references.frames)} Hessians: {out / 'report.html'}")
    return 0


def model_names(paths: Sequence[str]) -> list[str]:
    """Names of models: those of their directories, of as many as are needed to tell them apart.

    Raises
    ------
    InputError
        If a file is given twice.
    """
    import os

    from muse_lr.errors import InputError
    from muse_lr.reporting.run_report import SEED_DIRECTORY

    whole = [Path(os.path.abspath(path)).with_suffix("").parts[1:] for path in paths]
    for index, parts in enumerate(whole):
        if parts in whole[:index]:
            raise InputError(f"{paths[index]} is given twice: give each model once")
    bare = [parts[:-1] if parts[-1] == "model" and len(parts) > 1 else parts for parts in whole]
    depth = 2 if any(SEED_DIRECTORY.fullmatch(parts[-1]) for parts in bare) else 1
    while len({parts[-depth:] for parts in bare}) < len(bare):
        depth += 1
    return ["/".join(parts[-depth:]) for parts in bare]


def source_names(sources: Sequence[str]) -> dict[str, str]:
    """Names of the sets of frames: those of their files, or all that was given if they repeat."""
    from muse_lr.data.scaffold.text import stem_of

    names = [stem_of(source) for source in sources]
    return dict(zip(sources if len(set(names)) < len(names) else names, sources, strict=True))


def _print(summary: Mapping[str, Any]) -> None:
    """Print blocks by distance, the overview, the result and what to beware of."""
    from textwrap import fill

    from muse_lr.analysis.hessian.references import ALL
    from muse_lr.reporting.hessian.page import cautions, noise_sentence, sentences
    from muse_lr.reporting.hessian.tables import REACH, distance_table, overview_table, reach_table
    from muse_lr.reporting.html import text_table

    by_distance, overview = distance_table(summary, ALL), overview_table(summary)
    print(f"\n{text_table(by_distance)}\n\n{fill(by_distance.caption, WIDTH)}\n")
    print(f"{text_table(overview)}\n")
    print(f"{text_table(reach_table(summary))}\n")
    for text in (REACH, noise_sentence(summary), *sentences(summary)):
        print(fill(text, WIDTH))
    for caution in cautions(summary):
        print(fill(f"warning: {caution}", WIDTH))
