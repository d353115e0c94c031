"""Does gold wet the oxide, and does aluminium far below change its mind?

    python examples/wetting/endpoints.py STUDY ENDPOINTS.xyz.xz

E(wetting) - E(non-wetting) of the reference's relaxed structures, at fixed atoms, and the mean
charge of the two gold atoms of the first, for every model of a study.
"""

from __future__ import annotations

import argparse
import lzma
from pathlib import Path

import ase.io
import numpy as np
from ase import Atoms
from numpy.typing import NDArray

import muse_lr


def read(file: Path) -> dict[tuple[bool, str], Atoms]:
    """The structures by whether they are doped, and by their state."""
    with lzma.open(file, "rt") as lines:
        frames = ase.io.read(lines, ":", format="extxyz")
    return {(frame.info["n_Al"] > 0, frame.info["state"]): frame for frame in frames}


def gold_charge(atoms: Atoms, charges: NDArray[np.float64]) -> str:
    """Mean charge of the gold atoms, e."""
    return f"{charges[atoms.symbols == 'Au'].mean():+.3f}"


def row(name: str, energies: dict[tuple[bool, str], float], gold: dict[bool, str]) -> str:
    """A line of the table."""
    differences = [energies[doped, "wetting"] - energies[doped, "non-wetting"] for doped in gold]
    return (
        f"| {name} | "
        + " | ".join(
            f"{difference:+.3f} | {charge}"
            for difference, charge in zip(differences, gold.values(), strict=True)
        )
        + " |"
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("study", type=Path)
    parser.add_argument("endpoints", type=Path)
    args = parser.parse_args()
    structures = read(args.endpoints)
    print("| model | undoped, eV | q(Au), e | doped, eV | q(Au), e |")
    print("|:--|--:|--:|--:|--:|")
    energies = {key: float(atoms.info["REF_energy"]) for key, atoms in structures.items()}
    gold = {
        doped: gold_charge(atoms, atoms.arrays["REF_charges"])
        for (doped, state), atoms in sorted(structures.items())
        if state == "wetting"
    }
    print(row("reference", energies, gold))
    for file in sorted(args.study.glob("*/seed-*/model.pt")):
        calculator = muse_lr.Calculator(file)
        energies, gold = {}, {}
        for (doped, state), atoms in structures.items():
            calculator.calculate(atoms)
            energies[doped, state] = calculator.results["energy"]
            if state == "wetting":
                charges = calculator.results.get("charges")
                gold[doped] = "" if charges is None else gold_charge(atoms, charges)
        print(row(file.parent.parent.name, energies, dict(sorted(gold.items()))), flush=True)


if __name__ == "__main__":
    main()
