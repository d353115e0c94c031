"""What a proton at one end of a chain does to the charges at the other, reference and models.

    python examples/carbon_chains/charges.py runs/carbon_chains/charges \\
        --image docs/images/carbon_chains.png

prints a table of the mean absolute error of the charges (me) of all atoms, that of the CH group at
the far end of the protonated chains, and by how much the charge of that group differs from the same
group of the neutral chains, on average; draws this difference for every carbon atom with its
hydrogens, along the chain. Errors are means over the folds and half of Student's 95 % interval;
differences are over all frames.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass, field
from itertools import cycle
from pathlib import Path

import numpy as np
from ase import Atoms
from ase.io import read
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from muse_lr.ablate.statistics import mean_interval
from muse_lr.reporting.wording import number
from muse_lr.utils.files import atomic_write


def groups_along(atoms: Atoms) -> list[np.ndarray]:
    """Indices of each carbon atom with its hydrogens, along the chain; CH2 first in ions."""
    carbons, hydrogens = (np.flatnonzero(atoms.numbers == number) for number in (6, 1))
    centered = atoms.positions[carbons] - atoms.positions[carbons].mean(axis=0)
    axis = np.linalg.svd(centered)[2][0]
    carbons = carbons[np.argsort(centered @ axis)]
    distances = atoms.get_all_distances()[np.ix_(hydrogens, carbons)]
    owners = carbons[distances.argmin(axis=1)]
    groups = [np.append(hydrogens[owners == carbon], carbon) for carbon in carbons]
    return groups[::-1] if len(groups[-1]) > len(groups[0]) else groups


@dataclass
class Found:
    """What a variant says: errors fold by fold (e), charges of the groups frame by frame (e)."""

    errors: list[float] = field(default_factory=list)
    far_errors: list[float] = field(default_factory=list)
    profiles: dict[tuple[bool, str], list[list[float]]] = field(default_factory=dict)

    def add_fold(self, frames: list[Atoms]) -> None:
        """The frames of one fold's test set."""
        errors, far_errors = [], []
        for atoms in frames:
            charges = {
                "reference": atoms.arrays["REF_charges"],
                "model": atoms.arrays["muse_charges"],
            }
            error = np.abs(charges["model"] - charges["reference"])
            errors.append(error)
            ion, groups = bool(atoms.info["total_charge"]), groups_along(atoms)
            if ion:
                far_errors.append(error[groups[-1]])
            for whose, values in charges.items():
                profile = [float(values[group].sum()) for group in groups]
                both = [profile] if ion else [profile, profile[::-1]]  # neutral ends are alike
                self.profiles.setdefault((ion, whose), []).extend(both)
        self.errors.append(float(np.concatenate(errors).mean()))
        self.far_errors.append(float(np.concatenate(far_errors).mean()))

    def shift(self, whose: str) -> np.ndarray:
        """Mean charge (e) of each group in the ions less that in the neutral chains."""
        ion, neutral = (np.mean(self.profiles[state, whose], axis=0) for state in (True, False))
        return np.asarray(ion - neutral)


def collect(study: Path) -> dict[str, Found]:
    """Every variant of a study whose predictions have charges."""
    found: dict[str, Found] = {}
    for path in sorted(study.glob("fold-*/*/seed-*/predictions-unseen.extxyz")):
        frames = read(path, ":")
        if "muse_charges" in frames[0].arrays:
            found.setdefault(path.parents[1].name, Found()).add_fold(frames)
    return dict(sorted(found.items(), key=lambda item: np.mean(item[1].errors)))


def with_interval(errors: list[float]) -> str:
    """Mean over folds in me, and half of the interval where there are several."""
    mean = mean_interval([1000 * error for error in errors])
    width = "" if mean.half_width is None else f" ± {number(mean.half_width, 2)}"
    return number(mean.value) + width


def table(found: dict[str, Found]) -> str:
    """The Markdown table."""
    lines = [
        "| charges | folds | all atoms: MAE (me) | far group of the ions: MAE (me) "
        "| far group, ion less neutral (me) |",
        "|:--|--:|--:|--:|--:|",
    ]
    reference = next(iter(found.values())).shift("reference")[-1]
    lines.append(f"| reference | – | – | – | {number(1000 * reference, sign=True)} |")
    for variant, values in found.items():
        shift = number(1000 * values.shift("model")[-1], sign=True)
        errors = f"{with_interval(values.errors)} | {with_interval(values.far_errors)}"
        lines.append(f"| {variant} | {len(values.errors)} | {errors} | {shift} |")
    return "\n".join(lines)


def draw(found: dict[str, Found], path: Path) -> None:
    """The differences along the chain."""
    figure = Figure(figsize=(8, 4), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    reference = 1000 * next(iter(found.values())).shift("reference")
    place = np.arange(1, len(reference) + 1)
    for style, (variant, values) in zip(cycle(("-", "--", ":")), found.items(), strict=False):
        axes.plot(place, 1000 * values.shift("model"), style, label=variant)
    axes.plot(place, reference, "ko", label="reference")
    axes.set_xticks(place)
    axes.set_xlabel("carbon atom from the protonated end, with its hydrogens")
    axes.set_ylabel("charge, ion less neutral (me)")
    figure.legend(loc="outside right upper", fontsize=8)
    with atomic_write(path, "wb") as handle:
        figure.savefig(handle, format="png", dpi=130)


def main() -> None:
    """Print the table, draw the picture."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("study", type=Path, help="output of cross_validation.py run")
    parser.add_argument("--image", type=Path)
    args = parser.parse_args()
    found = collect(args.study)
    print(table(found))
    if args.image:
        draw(found, args.image)


if __name__ == "__main__":
    main()
