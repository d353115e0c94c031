"""Each head against its component of SAPT: electrostatics, induction, dispersion, by class.

    python -m benchmarks.sapt_heads [--epochs 25] [--model FILE]

The charge model, `induced` with dipoles, learns E_elst and E_ind of dimers of side chains and
backbones of proteins (sapt10k_dimers, sets SSI500, SSI2880 and BBI) and is asked about the dimers
of all other sets; the dispersion heads are not fitted. A dimer is *charged* if one of its monomers
is, *polar* if both are neutral and one has a dipole of more than 0.1 e A (0.5 D) by GFN2-xTB, else
*apolar*. The data is found in $MUSE_LR_DATA; the table goes to benchmarks/results, the plot to
docs/images. Needs the extras dispersion and datasets.
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from pathlib import Path

import numpy as np
import torch
from ase import Atoms
from matplotlib.figure import Figure
from numpy.typing import NDArray

import muse_lr
from benchmarks.peers.machine import describe_machine
from benchmarks.sapt_dispersion import HEADS, MEV, gap, interaction
from benchmarks.sapt_model import fit, monomers, predict
from muse_lr.config.paths import reference_data
from muse_lr.data.reading import read_atoms
from muse_lr.reporting.style import REFERENCE, color, grid, legend_below, save, styled
from muse_lr.units import BOHR
from muse_lr.utils.files import atomic_write

HERE = Path(__file__).resolve().parent
RESULTS, IMAGES = HERE / "results", HERE.parent / "docs" / "images"
TRAINING_SETS = {"SSI500", "SSI2880", "BBI"}
#: Dimers of each of the other sets, evenly spaced in the file; of those further apart than FAR (A),
#: of which there are few, all.
MOST_OF_A_SET, FAR = 20, 4.0
#: Dimers whose charge clouds overlap are not learned from, closest distance in A.
NEAREST = 2.5
#: Dipole of a polar monomer, e A.
POLAR = 0.1
CLASSES = ("charged", "polar", "apolar")
#: Closest distances between the monomers from which on dimers are counted, A.
DISTANCES = (5.0, 4.0, 3.0, 0.0)
#: Of the plots, meV.
TICKS = (-1000, -100, -10, 0, 10, 100)
#: Title, SAPT, model, classes.
Panel = tuple[str, NDArray[np.float64], NDArray[np.float64], NDArray[np.str_]]


def load() -> tuple[list[Atoms], list[Atoms]]:
    """Dimers for training, and of other sets with the same elements for the test."""
    folder = reference_data() / "sapt10k_dimers"
    train, others = [], defaultdict(list)
    for name in ("train", "val", "test"):
        for dimer in read_atoms(folder / f"{name}.xyz.xz"):
            if dimer.info["folder"] not in TRAINING_SETS:
                others[dimer.info["folder"]].append(dimer)
            elif gap(dimer) > NEAREST:
                train.append(dimer)
    known = {symbol for dimer in train for symbol in dimer.symbols}
    test = []
    for dimers in others.values():
        fitting = [dimer for dimer in dimers if known.issuperset(dimer.symbols)]
        step = max(1, -(-len(fitting) // MOST_OF_A_SET))
        test += [d for i, d in enumerate(fitting) if i % step == 0 or gap(d) > FAR]
    return train, test


def class_of(dimer: Atoms) -> str:
    """Its class."""
    from tblite.interface import Calculator

    parts = monomers(dimer)
    if any(part.info["total_charge"] for part in parts):
        return "charged"
    for part in parts:
        calculator = Calculator("GFN2-xTB", part.numbers, part.positions / BOHR)
        calculator.set("verbosity", 0)
        if np.linalg.norm(calculator.singlepoint().get("dipole")) * BOHR > POLAR:
            return "polar"
    return "apolar"


def rows(
    name: str,
    found: NDArray[np.float64],
    target: NDArray[np.float64],
    chosen: NDArray[np.bool_],
    classes: NDArray[np.str_],
) -> list[str]:
    """A line of the table for each class."""
    lines = []
    for word in CLASSES:
        which = chosen & (classes == word)
        x, y = target[which], found[which]
        cells = ["", "", "", ""]
        if len(x) > 2:
            correlation = np.corrcoef(x, y)[0, 1]
            numbers = (np.abs(x).mean(), np.abs(x - y).mean(), (y - x).mean())
            cells = [*(f"{number:.1f}" for number in numbers), f"{correlation:.3f}"]
        if len(x):
            lines.append(f"| {name} | {word} | {len(x)} | " + " | ".join(cells) + " |")
    return lines


@styled
def draw(panels: list[Panel]) -> Figure:
    """Parity of each component, symmetric logarithmic axes in meV."""
    figure, all_axes = grid(len(panels), len(panels), 3.6, 3.4)
    for axes, (title, target, found, classes) in zip(all_axes, panels, strict=True):
        ends = [min(target.min(), found.min()), max(target.max(), found.max(), 1.0)]
        axes.plot(ends, ends, color=REFERENCE, linewidth=0.8)
        for i, word in enumerate(CLASSES):
            which = classes == word
            axes.scatter(
                target[which], found[which], s=8, alpha=0.6, color=color(i), linewidth=0, gid=word
            )
        axes.set(title=title, xlabel="SAPT (meV)", ylabel="model (meV)")
        axes.set_xscale("symlog", linthresh=10)
        axes.set_yscale("symlog", linthresh=10)
        shown = [tick for tick in TICKS if ends[0] <= tick <= ends[1]]
        axes.set_xticks(shown, map(str, shown))
        axes.set_yticks(shown, map(str, shown))
        axes.minorticks_off()
    legend_below(figure, all_axes)
    return figure


def model_of(train: list[Atoms], epochs: int, file: Path | None) -> muse_lr.EnergyModel:
    """From the file if it is there, else fitted and written there."""
    if file is not None and file.exists():
        return muse_lr.load_model(file).eval()
    model = fit(train, epochs)
    if file is not None:
        muse_lr.save_model(model, file)
    return model


def write(lines: list[str], train: int, test: int, epochs: int) -> None:
    """The page of results."""
    columns = "| component | dimers | class | number | mean size (meV) | MAE (meV) "
    columns += "| mean error (meV) | correlation |\n|:--|:--|:--|--:|--:|--:|--:|--:|\n"
    note = f"`python -m benchmarks.sapt_heads --epochs {epochs}`; {describe_machine()}. "
    note += f"{train} dimers for training ({', '.join(sorted(TRAINING_SETS))}), {test} of other "
    note += "sets for the test; one seed.\n"
    RESULTS.mkdir(exist_ok=True)
    with atomic_write(RESULTS / "sapt_heads.md") as handle:
        handle.write("# Heads and SAPT\n\n" + note + "\n" + columns + "\n".join(lines) + "\n")


def main() -> None:
    """Print and write the table, draw the plot."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--epochs", type=int, default=30)
    parser.add_argument("--model", type=Path, help="read it if it is there, else write it there")
    args = parser.parse_args()
    torch.set_num_threads(1)
    train, test = load()
    print(f"{len(train)} dimers for training, {len(test)} for the test", flush=True)
    model = model_of(train, args.epochs, args.model)
    classes = np.array([class_of(dimer) for dimer in test])
    gaps = np.array([gap(dimer) for dimer in test])
    ranges = {f"gap > {distance:g} A": gaps > distance for distance in DISTANCES}
    elst, ind, disp = (
        np.array([dimer.info[key] for dimer in test]) * MEV for key in ("E_elst", "E_ind", "E_disp")
    )
    found = predict(model, test)
    components = {"electrostatics": (elst, found[:, 0]), "induction": (ind, found[:, 1])}
    components |= {name: (disp, interaction(section, test)) for name, section in HEADS.items()}
    lines = []
    for name, (target, values) in components.items():
        for words, chosen in ranges.items():
            lines += rows(f"{name} | {words}", values, target, chosen, classes)
    print("\n".join(lines))
    write(lines, len(train), len(test), args.epochs)
    panels: list[Panel] = []
    shown = {
        "electrostatics": "gap > 3 A",
        "induction": "gap > 3 A",
        "c6": "gap > 3 A",
        "d3, PBE": "gap > 3 A",
    }
    for name, words in shown.items():
        target, values = components[name]
        chosen = ranges[words]
        panels.append((f"{name}, {words}", target[chosen], values[chosen], classes[chosen]))
    save(draw(panels), IMAGES / "sapt_heads.png")


if __name__ == "__main__":
    main()
