"""Write some frames of each ion, evenly spaced along its trajectory, for a study of minutes.

    python examples/water_ions/subset.py --train 40 --valid 4 --test 15 --out build/water_ions

The whole sets are in ``$MUSE_LR_DATA/water_ions_scan``. Training and validation mix both ions; each
has a test file of its own.
"""

from __future__ import annotations

import argparse
import lzma
from pathlib import Path

import ase.io
import numpy as np
from ase import Atoms

from muse_lr.config.paths import reference_data

IONS = ("h3o_plus", "oh_minus")
FILES = {"train": "train", "valid": "val", "test": "test"}


def spaced(file: Path, count: int) -> list[Atoms]:
    """``count`` frames of a file, from the first to the last."""
    with lzma.open(file, "rt") as lines:
        frames: list[Atoms] = ase.io.read(lines, ":", format="extxyz")
    return [frames[i] for i in np.linspace(0, len(frames) - 1, count).round().astype(int)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name, default in (("train", 40), ("valid", 4), ("test", 15)):
        parser.add_argument(f"--{name}", type=int, default=default, help="Frames of each ion.")
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    folder = reference_data() / "water_ions_scan"
    args.out.mkdir(parents=True, exist_ok=True)
    for part, stored in FILES.items():
        count = getattr(args, part)
        frames = {ion: spaced(folder / f"{ion}_{stored}.xyz.xz", count) for ion in IONS}
        if part == "test":
            for ion in IONS:
                ase.io.write(args.out / f"{ion}.xyz", frames[ion], format="extxyz")
        else:
            both = [*frames[IONS[0]], *frames[IONS[1]]]
            ase.io.write(args.out / f"{part}.xyz", both, format="extxyz")


if __name__ == "__main__":
    main()
