"""Draw the energy of turning one end of each chain, reference and models.

    python examples/cumulenes/torsion.py build/cumulenes/long_scan.xyz.xz \\
        docs/images/cumulenes.png \\
        PaiNN=runs/cumulenes/long/short_range/seed-0/model.pt \\
        "PaiNN + muse=runs/cumulenes/long/muse/seed-0/model.pt" \\
        "SO3krates + muse=runs/cumulenes/backbones/so3krates_l2_muse/seed-0/model.pt" \\
        "MACE + muse=runs/cumulenes/backbones/mace_l2_muse/seed-0/model.pt"
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from itertools import cycle
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
from ase import Atoms

from muse_lr import AtomsBatch, load_model
from muse_lr.data.reading import read_atoms


def energies(file: str, frames: list[Atoms]) -> np.ndarray:
    """Energies (eV) that the model in a file gives, shape (n_frames,)."""
    model = load_model(file)
    return model(AtomsBatch.from_ase(frames, cutoff=model.cutoff)).energy.detach().numpy()


def draw(scans: dict[int, list[Atoms]], models: dict[str, str], image: Path) -> None:
    """One panel a length; energies relative to the first frame of its scan."""
    figure, panels = plt.subplots(
        *(1, len(scans)),
        sharex=True,
        sharey=True,
        figsize=(2.1 * len(scans), 2.5),
        squeeze=False,
        layout="constrained",
    )
    for panel, (length, frames) in zip(panels[0], scans.items(), strict=True):
        torsions = [atoms.info["torsion"] for atoms in frames]
        reference = np.array([atoms.info["REF_energy"] for atoms in frames])
        panel.plot(torsions, reference - reference[0], "k.", label="GFN2-xTB")
        for style, (name, file) in zip(cycle(("-", "-", "--")), models.items(), strict=False):
            found = energies(file, frames)
            panel.plot(torsions, found - found[0], style, label=name)
        panel.set_title(f"n = {length}", fontsize=9)
    panels[0, 0].set_ylabel("energy (eV)")
    names = panels[0, 0].get_legend_handles_labels()
    figure.legend(*names, loc="outside upper center", ncols=len(names[0]), fontsize=9)
    figure.supxlabel("torsion from the minimum (degrees)", fontsize=9)
    figure.savefig(image, dpi=130)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("scan", type=Path)
    parser.add_argument("image", type=Path)
    parser.add_argument("models", nargs="+", metavar="NAME=MODEL")
    args = parser.parse_args()
    scans: dict[int, list[Atoms]] = defaultdict(list)
    for atoms in read_atoms(args.scan):
        scans[atoms.info["length"]].append(atoms)
    draw(scans, dict(text.split("=", 1) for text in args.models), args.image)


if __name__ == "__main__":
    main()
