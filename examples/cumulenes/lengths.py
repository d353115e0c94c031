"""Errors of models chain length by chain length, those in training and longer ones.

    python examples/cumulenes/lengths.py docs/images/cumulenes_lengths.png \\
        PaiNN=runs/cumulenes/hops/short_range \\
        "PaiNN + muse=runs/cumulenes/hops/muse" \\
        "PaiNN + muse, hops=runs/cumulenes/hops/hops"

Prints a table, mean over the seeds that are there, and draws it with their range. A chain beyond
the training is right only if the model knows whether its number of carbon atoms is even: the
errors of the energies less their mean over each length, ``turning``, have the torsion in them.
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
from ase import Atoms

from muse_lr import AtomsBatch, load_model
from muse_lr.data.reading import read_atoms

#: Frames evaluated at once.
BATCH = 60
#: What is measured, and its unit.
QUANTITIES = {"forces": "forces MAE (meV/Å)", "turning": "energy within a length, MAE (meV)"}


def errors(model_file: Path, frames: list[Atoms]) -> dict[str, float]:
    """Mean absolute errors of forces, meV/A, and of energies less their mean, meV."""
    model = load_model(model_file)
    force_errors, energy_errors = [], []
    for start in range(0, len(frames), BATCH):
        chosen = frames[start : start + BATCH]
        output = model(AtomsBatch.from_ase(chosen, cutoff=model.cutoff), ("forces",))
        assert output.forces is not None
        expected = np.concatenate([atoms.arrays["REF_forces"] for atoms in chosen])
        force_errors.append(output.forces.detach().numpy() - expected)
        reference = np.array([atoms.info["REF_energy"] for atoms in chosen])
        energy_errors.append(output.energy.detach().numpy() - reference)
    energy = np.concatenate(energy_errors)
    return {
        "forces": 1000 * float(np.abs(np.concatenate(force_errors)).mean()),
        "turning": 1000 * float(np.abs(energy - energy.mean()).mean()),
    }


def by_length(files: list[Path]) -> dict[int, list[Atoms]]:
    """The frames of all files, shortest chains first."""
    found: dict[int, list[Atoms]] = defaultdict(list)
    for file in files:
        for atoms in read_atoms(file):
            found[atoms.info["length"]].append(atoms)
    return dict(sorted(found.items()))


def measure(runs: Path, frames: dict[int, list[Atoms]]) -> dict[str, np.ndarray]:
    """(seeds, lengths) errors of every seed of a variant."""
    models = sorted(runs.glob("seed-*/model.pt"))
    if not models:
        raise SystemExit(f"no seed-*/model.pt in {runs}: train the study first")
    rows = [[errors(model, chosen) for chosen in frames.values()] for model in models]
    return {name: np.array([[e[name] for e in row] for row in rows]) for name in QUANTITIES}


def draw(measured: dict[str, dict[str, np.ndarray]], lengths: list[int], image: Path) -> None:
    """One panel a quantity: mean over seeds and their range."""
    figure, panels = plt.subplots(1, 2, figsize=(9.0, 3.4), layout="constrained")
    for panel, (name, title) in zip(panels, QUANTITIES.items(), strict=True):
        for variant, values in measured.items():
            (line,) = panel.plot(lengths, values[name].mean(0), "o-", ms=4, label=variant)
            low, high = values[name].min(0), values[name].max(0)
            panel.fill_between(lengths, low, high, color=line.get_color(), alpha=0.2, lw=0)
        panel.set(xlabel="carbon atoms", ylabel=title, yscale="log", xticks=lengths)
    panels[0].legend(fontsize=8)
    figure.savefig(image, dpi=130)


def main() -> None:
    """Measure, print and draw."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("image", type=Path)
    parser.add_argument("variants", nargs="+", metavar="NAME=RUNS")
    parser.add_argument("--data", type=Path, default=Path("build/cumulenes"))
    args = parser.parse_args()
    frames = by_length([args.data / f"long_{part}.xyz.xz" for part in ("test", "length", "longer")])
    measured = {}
    for text in args.variants:
        name, runs = text.split("=", 1)
        measured[name] = measure(Path(runs), frames)
    print("| variant | seeds | quantity | " + " | ".join(f"n = {n}" for n in frames) + " |")
    print("|:--|--:|:--|" + "--:|" * len(frames))
    for variant, values in measured.items():
        for name, title in QUANTITIES.items():
            cells = " | ".join(f"{value:.3g}" for value in values[name].mean(0))
            print(f"| {variant} | {len(values[name])} | {title} | {cells} |")
    draw(measured, list(frames), args.image)


if __name__ == "__main__":
    main()
