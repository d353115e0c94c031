"""Draw energy and charge of NaCl along its dissociation, reference and models.

    python examples/nacl_dissociation/curves.py build/nacl/labels.csv runs/nacl \\
        docs/images/nacl_dissociation.png

Prints a table of errors, and the charge that is left at the largest distance.
"""

from __future__ import annotations

import argparse
import csv
from itertools import cycle
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
from ase import Atoms

from muse_lr import AtomsBatch, load_model

FINE = np.linspace(1.9, 15.0, 263)


def evaluate(file: Path, distances: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Energies (eV) and charges of Na (e) of a model."""
    model = load_model(file).double()
    frames = [Atoms("NaCl", [[0, 0, 0], [0, 0, distance]]) for distance in distances]
    out = model(AtomsBatch.from_ase(frames, cutoff=model.cutoff), compute=("charges",))
    return out.energy.detach().numpy(), out.charges.detach().numpy()[::2]


def reference(file: Path) -> dict[str, np.ndarray]:
    """(n, 3) distance, energy and charge of each state, and of the lower one."""
    with file.open() as lines:
        rows = [row for row in csv.DictReader(lines) if row["converged"] == "True"]
    states = {
        state: np.array(
            [
                [float(row[key]) for key in ("distance", "energy", "charge")]
                for row in rows
                if row["state"] == state
            ]
        )
        for state in ("ionic", "neutral")
    }
    both = np.concatenate(list(states.values()))
    both = both[np.lexsort((both[:, 1], both[:, 0]))]
    states["ground"] = both[np.unique(both[:, 0], return_index=True)[1]]
    return states


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("labels", type=Path)
    parser.add_argument("study", type=Path)
    parser.add_argument("image", type=Path)
    args = parser.parse_args()
    states = reference(args.labels)
    ground, zero = states["ground"], states["neutral"][-1, 1]
    figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.6))
    for state in ("ionic", "neutral"):
        left.plot(states[state][:, 0], states[state][:, 1] - zero, ":", color="0.6")
    left.plot(ground[:, 0], ground[:, 1] - zero, "k.", label="reference")
    right.plot(ground[:, 0], ground[:, 2], "k.", label="reference")
    styles = cycle(["-", "--", "-.", ":"])  # some curves lie on others
    print("| charges | energy MAE, meV | charge MAE, e | q(Na) at 15 A, e |")
    print("|:--|--:|--:|--:|")
    for file in sorted(args.study.glob("*/seed-*/model.pt")):
        name = file.parent.parent.name
        energy, charge = evaluate(file, ground[:, 0])
        errors = np.abs(energy - ground[:, 1]).mean() * 1e3, np.abs(charge - ground[:, 2]).mean()
        print(f"| {name} | {errors[0]:.0f} | {errors[1]:.3f} | {charge[-1]:+.3f} |")
        energy, charge = evaluate(file, FINE)
        style = {"label": name, "linewidth": 1, "linestyle": next(styles)}
        left.plot(FINE, energy - zero, **style)
        right.plot(FINE, charge, **style)
    left.set(xlabel="distance (Å)", ylabel="energy (eV)", ylim=(-5, 1.5))
    right.set(xlabel="distance (Å)", ylabel="charge of Na (e)")
    right.legend(fontsize=6, ncol=2)
    figure.tight_layout()
    figure.savefig(args.image, dpi=130)


if __name__ == "__main__":
    main()
