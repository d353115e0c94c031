"""``muse-lr profile``: energies of models along a coordinate."""

from __future__ import annotations

import argparse
from pathlib import Path

from muse_lr.cli.options import add_trust_argument

#: Width of text in the terminal, characters.
WIDTH = 88
HELP = "energies of models along a coordinate, in total and by term, beside a reference"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the verb to its parser."""
    parser.add_argument("models", nargs="+", metavar="MODEL", help="model files (model.pt)")
    parser.add_argument(
        "file",
        metavar="FILE",
        help="frames along one path or several; file.xyz@scan=water selects frames",
    )
    parser.add_argument(
        "--coordinate",
        metavar="KEY",
        help="info key of the coordinate; `frame` for the index of the frame, or `path` for the "
        "length of the path in Å (default: the only info key whose number varies, else frame)",
    )
    parser.add_argument(
        "--by",
        nargs="+",
        action="extend",
        metavar="KEY",
        help="divide the frames into paths by the value of these info keys (default: scan, where "
        "the frames have it)",
    )
    parser.add_argument(
        "--zero",
        metavar="ZERO",
        help="frame whose energy is subtracted: first or last along the coordinate, min for the "
        "lowest of the reference, a value of the coordinate, or none (default: last, the separated "
        "end of a dissociation; none with --fragments)",
    )
    parser.add_argument(
        "--fragments",
        action="store_true",
        help="subtract the energies of the two fragments of each frame, of which the first one has "
        "info size_first atoms; the reference is then info REF_interaction_energy",
    )
    parser.add_argument(
        "--keys",
        action="append",
        default=[],
        metavar="LABEL=KEY",
        help="key of a label in the file, e.g. --keys energy=dft_energy; can be repeated",
    )
    parser.add_argument(
        "--out",
        metavar="DIR",
        help="output directory (default: profile-FILE beside the first model)",
    )
    parser.add_argument("--device", default="cpu", help="cpu, cuda, cuda:1, ... (default: cpu)")
    parser.add_argument(
        "--graphs",
        type=int,
        default=16,
        help="largest number of structures in a batch (default: 16)",
    )
    add_trust_argument(parser)


def run(args: argparse.Namespace) -> int:
    """Evaluate the models; write files and a page; print the table."""
    from textwrap import fill

    from muse_lr.analysis.profile.energies import profile
    from muse_lr.analysis.profile.paths import read_paths
    from muse_lr.analysis.profile.settings import ProfileOptions
    from muse_lr.cli.hessian import model_names
    from muse_lr.config.overrides import parse_assignment, unique
    from muse_lr.config.schema import validate
    from muse_lr.model.serialization import load_model
    from muse_lr.reporting.directories import directory_beside
    from muse_lr.reporting.html import text_table
    from muse_lr.reporting.profile.page import sentences, write_profiles
    from muse_lr.reporting.profile.tables import error_table
    from muse_lr.train.config import BatchConfig
    from muse_lr.utils.devices import find_device

    keys = {k: str(v) for k, v in unique(map(parse_assignment, args.keys), "--keys").items()}
    given = {name: getattr(args, name) for name in ("coordinate", "by", "zero", "fragments")}
    options = validate(ProfileOptions, {**given, "keys": keys}, "options")
    graphs = validate(BatchConfig, {"graphs": args.graphs}, "--graphs").graphs
    device, names = find_device(args.device), model_names(args.models)
    models = [load_model(path, device=device, trust=args.trust) for path in args.models]
    shared = [e for e in models[0].elements if all(e in model.elements for model in models)]
    paths = read_paths({Path(args.file).name: args.file}, options, shared)
    found = {
        name: profile(model, paths, options, graphs)
        for name, model in zip(names, models, strict=True)
    }
    out = directory_beside(Path(args.models[0]), "profile", [args.file])
    out = Path(args.out) if args.out else out
    about = {f"model {name}": path for name, path in zip(names, args.models, strict=True)}
    about |= {"file": args.file, "zero": str(options.chosen_zero), "device": str(device)}
    about |= {"fragments": "subtracted" if options.fragments else "not subtracted"}
    content = write_profiles(found, out, about)
    table = error_table(content)
    print(f"{text_table(table)}\n\n{fill(table.caption, WIDTH)}\n")
    for text in sentences(content):
        print(fill(text, WIDTH))
    frames = sum(len(path.frames) for path in paths)
    print(f"{len(paths)} paths, {frames:,} frames: {out / 'report.html'}")
    return 0
