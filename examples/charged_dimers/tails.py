"""Print by how much each dimer's energy rises beyond its training, reference and models.

    MUSE_LR_DATA=... python examples/charged_dimers/tails.py runs/charged_dimers/*/seed-0/model.pt

From the last separation in training to the last of the test: what a model must know of the tail.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from ase import Atoms

from muse_lr import AtomsBatch, load_model
from muse_lr.config.paths import reference_data
from muse_lr.data.reading import read_atoms

CLASSES = ("CC", "CP", "CA", "PP", "PA", "AA")


def last_frames(part: str) -> dict[str, Atoms]:
    """The frame of the largest separation of each class, of the part train or test."""
    folder = reference_data() / "charged_dimers_bfdb"
    frames = read_atoms(folder / f"six_classes_{part}.xyz.xz")
    ordered = sorted(frames, key=lambda atoms: atoms.info["distance"])
    return {atoms.info["label"]: atoms for atoms in ordered}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("models", nargs="+")
    args = parser.parse_args()
    near, far = last_frames("train"), last_frames("test")
    frames = [part[name] for part in (near, far) for name in CLASSES]
    columns = {"reference": [atoms.info["REF_energy"] for atoms in frames]}
    for file in args.models:
        model = load_model(file).eval()
        batch = AtomsBatch.from_ase(frames, cutoff=model.cutoff)
        columns[Path(file).parent.parent.name] = model(batch).energy.tolist()
    print("| dimer | from (Å) | to (Å) | " + " | ".join(f"{name} (meV)" for name in columns) + " |")
    print("|:--|" + "--:|" * (2 + len(columns)))
    for row, name in enumerate(CLASSES):
        rises = [1e3 * (values[row + len(CLASSES)] - values[row]) for values in columns.values()]
        ends = [f"{part[name].info['distance']:.1f}" for part in (near, far)]
        print("| " + " | ".join([name, *ends, *(str(round(rise)) for rise in rises)]) + " |")


if __name__ == "__main__":
    main()
