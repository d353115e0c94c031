"""Print the errors of each class of dimers, and draw the forces' ones.

    python examples/charged_dimers/classes.py show runs/charged_dimers_classes [--image FILE.png]

reads the predictions on the far frames that the runs of study_classes.yaml left, or those of
study_per_class.yaml, which is run once for each class, into a directory of its own:

    python examples/charged_dimers/classes.py split --out build/charged_dimers
    for name in CC CP CA PP PA AA; do
      MUSE_LR_DIMERS=$name muse-lr ablate examples/charged_dimers/study_per_class.yaml \\
          --out runs/charged_dimers_per_class/$name
    done

``gather RUNS --into FILE.csv`` keeps their numbers beside those that are in the file already, and
``show FILE.csv`` takes them from there.
"""

from __future__ import annotations

import argparse
import csv
from pathlib import Path

import numpy as np
from ase import Atoms
from ase.io import read, write
from matplotlib.figure import Figure

from muse_lr.ablate.statistics import mean_interval
from muse_lr.config.paths import expand_path
from muse_lr.data.reading import read_atoms
from muse_lr.reporting.style import REFERENCE, color, grid, legend_below, marker, save, styled
from muse_lr.reporting.wording import number
from muse_lr.utils.files import atomic_write

CLASSES = ("CC", "CP", "CA", "PP", "PA", "AA")
SOURCE = "${{MUSE_LR_DATA}}/charged_dimers_bfdb/six_classes_{}.xyz.xz"
#: In the order of the study.
VARIANTS = (
    "short_range",
    "charges",
    "dipoles",
    "quadrupoles",
    "field",
    "charges_dispersion",
    "charges_muse",
)
#: Variant -> class -> one number for each seed.
Errors = dict[str, dict[str, list[float]]]
COLUMNS = ("class", "variant", "seed", "metric", "value")
#: (class, variant, seed, metric) -> value.
Numbers = dict[tuple[str, str, str, str], float]


def forces_error(frames: list[Atoms]) -> float:
    """Root mean square over components, meV/A."""
    errors = [atoms.arrays["muse_forces"] - atoms.arrays["REF_forces"] for atoms in frames]
    return 1e3 * float(np.sqrt(np.mean(np.concatenate(errors) ** 2)))


def energy_error(frames: list[Atoms]) -> float:
    """Root mean square, meV/atom."""
    errors = [(a.info["muse_energy"] - a.info["REF_energy"]) / len(a) for a in frames]
    return 1e3 * float(np.sqrt(np.mean(np.square(errors))))


def numbers(source: Path) -> Numbers:
    """The errors of all runs below a directory, or in a file."""
    found: Numbers = {}
    if source.is_file():
        with source.open(encoding="utf-8", newline="") as handle:
            for row in csv.DictReader(handle):
                key = (row["class"], row["variant"], row["seed"], row["metric"])
                found[key] = float(row["value"])
        return found
    for file in sorted(source.glob("**/seed-*/predictions-far.extxyz")):
        variant, seed = file.parent.parent.name, file.parent.name.removeprefix("seed-")
        for name, frames in by_class(read(file, ":")).items():
            found[name, variant, seed, "energy_rmse"] = energy_error(frames)
            found[name, variant, seed, "forces_rmse"] = forces_error(frames)
    return found


def gather(source: Path, into: Path) -> None:
    """Write the numbers of runs to a file, in the place of those of the same runs."""
    found = numbers(source)
    runs = {key[:3] for key in found}
    if into.exists():
        found |= {key: value for key, value in numbers(into).items() if key[:3] not in runs}
    with atomic_write(into) as handle:
        writer = csv.writer(handle, lineterminator="\n")
        writer.writerow(COLUMNS)
        writer.writerows((*key, value) for key, value in sorted(found.items()))


def collect(found: Numbers, metric: str) -> Errors:
    """One kind of error, variants and classes in the order of the tables."""
    errors: Errors = {}
    for variant in VARIANTS:
        for name in CLASSES:
            values = [
                v
                for key, v in sorted(found.items())
                if key[:2] == (name, variant) and key[3] == metric
            ]
            if values:
                errors.setdefault(variant, {})[name] = values
    return errors


def count(classes: dict[str, list[float]]) -> str:
    """How many seeds there are, and the least where that differs between classes."""
    counts = {len(values) for values in classes.values()}
    return "–".join(str(number) for number in sorted({min(counts), max(counts)}))


def by_class(frames: list[Atoms]) -> dict[str, list[Atoms]]:
    """The frames of each class that is there."""
    found: dict[str, list[Atoms]] = {}
    for atoms in frames:
        found.setdefault(atoms.info["label"], []).append(atoms)
    return found


def split(out: Path) -> None:
    """Write the published training and test frames of each class."""
    out.mkdir(parents=True, exist_ok=True)
    for part in ("train", "test"):
        for name, frames in by_class(read_atoms(expand_path(SOURCE.format(part), Path()))).items():
            write(out / f"{name}_{part}.xyz", frames, format="extxyz")
            print(f"{name} {part}: {len(frames)} frames")


def zero() -> dict[str, float]:
    """The forces' root mean square of each class, meV/A: the error of predicting none."""
    sizes: dict[str, float] = {}
    for name, frames in by_class(read_atoms(expand_path(SOURCE.format("test"), Path()))).items():
        forces = np.concatenate([atoms.arrays["REF_forces"] for atoms in frames])
        sizes[name] = 1e3 * float(np.sqrt(np.mean(forces**2)))
    return sizes


def table(errors: Errors) -> str:
    """Markdown; mean over the seeds and half of Student's 95 % interval."""
    lines = ["| variant | seeds | " + " | ".join(CLASSES) + " |", "|:--|--:|" + "--:|" * 6]
    for variant, classes in errors.items():
        cells = [variant, count(classes)]
        for name in CLASSES:
            if name not in classes:
                cells.append("–")
                continue
            mean = mean_interval(classes[name])
            half = "" if mean.half_width is None else f" ± {number(mean.half_width, 2)}"
            cells.append(number(mean.value) + half)
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


@styled
def draw(errors: Errors, sizes: dict[str, float]) -> Figure:
    """A point for each seed, classes along x, on a logarithmic axis."""
    figure, (axes,) = grid(1, 1, 8.0, 3.6)
    for i, name in enumerate(CLASSES):
        level = [sizes.get(name, np.nan)] * 2
        axes.plot([i - 0.4, i + 0.4], level, color=REFERENCE, gid="forces themselves")
    for row, (variant, classes) in enumerate(errors.items()):
        shift = 0.1 * (row - (len(errors) - 1) / 2)
        for i, name in enumerate(CLASSES):
            values = classes.get(name, [])
            axes.scatter(
                [i + shift] * len(values),
                values,
                s=16,
                color=color(row),
                marker=marker(row),
                gid=variant,
            )
    axes.set_yscale("log")
    axes.set_yticks([1, 3, 10, 30], ["1", "3", "10", "30"])
    axes.minorticks_off()
    axes.set_xticks(range(len(CLASSES)), CLASSES)
    axes.set(title="forces beyond the training", ylabel="root mean square error (meV/Å)")
    legend_below(figure, [axes])
    return figure


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(dest="command", required=True)
    splitting = commands.add_parser("split")
    splitting.add_argument("--out", type=Path, default=Path("build/charged_dimers"))
    gathering = commands.add_parser("gather")
    gathering.add_argument("study", type=Path)
    gathering.add_argument("--into", type=Path, required=True, metavar="FILE.csv")
    showing = commands.add_parser("show")
    showing.add_argument("study", type=Path, help="directory of runs, or a file of numbers")
    showing.add_argument("--image", type=Path)
    args = parser.parse_args()
    if args.command == "split":
        split(args.out)
        return
    if args.command == "gather":
        gather(args.study, args.into)
        return
    found = numbers(args.study)
    forces, sizes = collect(found, "forces_rmse"), zero()
    print("forces, meV/Å\n")
    print(table(forces))
    print(
        "| the forces themselves | | "
        + " | ".join(number(sizes[n]) if n in sizes else "–" for n in CLASSES)
        + " |"
    )
    print("\nenergy, meV/atom\n")
    print(table(collect(found, "energy_rmse")))
    if args.image is not None:
        save(draw(forces, sizes), args.image)


if __name__ == "__main__":
    main()
