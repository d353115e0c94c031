"""``muse-lr coarse``: positions and contents of the coarse nodes of a model."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ase import Atoms

    from muse_lr.reporting.coarse_summary import LevelSummary

from muse_lr.cli.options import add_trust_argument

HELP = "write and plot the coarse nodes of a model for one structure"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the verb to its parser."""
    parser.add_argument("model", metavar="MODEL", help="model file (model.pt) with coarse nodes")
    parser.add_argument("file", metavar="FILE", help="structure file, e.g. extended XYZ")
    parser.add_argument(
        "--frame",
        type=int,
        default=0,
        metavar="N",
        help="index of the structure, among those selected (default: 0)",
    )
    parser.add_argument(
        "--out",
        type=Path,
        default=Path("coarse"),
        metavar="DIR",
        help="output directory (default: coarse)",
    )
    add_trust_argument(parser)


def run(args: argparse.Namespace) -> int:
    """Print one line per level; write atoms, nodes, shares and a figure."""
    from muse_lr.data.formats import place, read_indexed
    from muse_lr.errors import InputError
    from muse_lr.model.serialization import load_model
    from muse_lr.reporting.coarse_pictures import coarse_picture
    from muse_lr.reporting.coarse_summary import summarize
    from muse_lr.reporting.style import save

    model = load_model(args.model, trust=args.trust)
    file, structures = read_indexed(args.file)
    if not 0 <= args.frame < len(structures):
        last = len(structures) - 1
        raise InputError(f"--frame {args.frame}: {args.file} has frames 0 to {last}")
    index, atoms = structures[args.frame]
    source = place(file, index)
    try:
        levels = summarize(model, atoms)
    except InputError as error:
        raise InputError(f"{args.model} on {source}: {error}") from error
    _write(args.out, atoms, levels)
    title = place(Path(file).name, index)
    save(coarse_picture(atoms, levels, title), args.out / "coarse.png")
    for number, level in enumerate(levels, 1):
        print(_line(number, level))
    print(f"atoms.extxyz, nodes.extxyz, shares.csv and coarse.png: {args.out}")
    return 0


def _line(number: int, level: LevelSummary) -> str:
    """Summarize one level: fraction of nodes, their masses and the coverage."""
    parts = [f"level {number}, radius {level.radius:g} A: {level.census}"]
    if len(level.mass):
        parts.append(f"masses {level.mass.min():.2g} to {level.mass.max():.2g}")
    proven = "" if level.bound is None else f" (proven: {level.bound:.3f})"
    coverage = level.coverage
    parts.append(f"coverage at least {coverage.min():.3f}{proven}, mean {coverage.mean():.3f}")
    return "; ".join(parts)


def _write(out: Path, atoms: Atoms, levels: Sequence[LevelSummary]) -> None:
    import io

    from ase.io import write

    from muse_lr.reporting.coarse_summary import described_atoms, node_structures
    from muse_lr.utils.files import atomic_write

    files = {
        "atoms.extxyz": [described_atoms(atoms, levels)],
        "nodes.extxyz": node_structures(atoms, levels),
    }
    for name, structures in files.items():
        text = io.StringIO()
        write(text, structures, format="extxyz")
        with atomic_write(out / name) as handle:
            handle.write(text.getvalue())
    with atomic_write(out / "shares.csv") as handle:
        handle.write("level,atom,node,share\n")
        for number, level in enumerate(levels, 1):
            for (atom, node), share in zip(level.pairs, level.shares, strict=True):
                handle.write(f"{number},{atom},{node},{share:.9g}\n")
