"""Dipoles of the molecules around an ion: learned charges against Wannier centers.

    python examples/water_ions/dipoles.py STUDY --fit VALID.xyz --test H3O.xyz OH.xyz

A periodic cell with a net charge has no dipole, but its molecules have: each hydrogen belongs to
its nearest oxygen, about which the dipole of each molecule, the ion's too, is taken. The reference
has charges +6 and +1 on the nuclei and -8 on the centroid of the four Wannier centers of each
oxygen. What is compared is the sum over the cell and the dipole of each molecule, scaled by one
factor that is fitted to the molecules of the first file, as charges learned from energies and
forces are screened (P. Zhong et al., arXiv:2504.05169). The first line has one charge for all
hydrogens: what the shapes of the molecules alone say.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import ase.io
import numpy as np
from ase import Atoms
from ase.geometry import find_mic
from numpy.typing import NDArray

import muse_lr

Array = NDArray[np.float64]
HYDROGEN, ELECTRONS = 1.0, 8.0


def bonds(atoms: Atoms) -> tuple[Array, Array]:
    """Index of the molecule of each hydrogen, and its vector from the oxygen there, A."""
    oxygen, hydrogen = (atoms.positions[atoms.symbols == symbol] for symbol in "OH")
    vectors, lengths = find_mic((hydrogen[:, None] - oxygen).reshape(-1, 3), atoms.cell, atoms.pbc)
    nearest = lengths.reshape(len(hydrogen), -1).argmin(1)
    return nearest, vectors.reshape(len(hydrogen), -1, 3)[np.arange(len(hydrogen)), nearest]


def molecules(atoms: Atoms, charges: Array | float, extra: Array) -> Array:
    """(n_molecules, 3) dipoles about the oxygens, e A.

    ``charges`` are those of the hydrogens, ``extra`` (n_molecules, 3) what is on the oxygens.
    """
    index, vectors = bonds(atoms)
    total = extra.copy()
    np.add.at(total, index, np.reshape(charges, (-1, 1)) * vectors)
    return total


def reference(frames: list[Atoms]) -> Array:
    """(n_frames, n_molecules, 3) by Wannier centers."""
    found = []
    for atoms in frames:
        displaced = atoms.arrays["wannier_disp"][atoms.symbols == "O"]
        found.append(molecules(atoms, HYDROGEN, -ELECTRONS * displaced))
    return np.stack(found)


def predicted(calculator: muse_lr.Calculator | None, frames: list[Atoms]) -> Array:
    """(n_frames, n_molecules, 3) by the charges of a model; None: the same for all hydrogens."""
    found = []
    for atoms in frames:
        charges: Array | float = HYDROGEN
        if calculator is not None:
            charges = calculator.get_property("charges", atoms)[atoms.symbols == "H"]
        found.append(molecules(atoms, charges, np.zeros((int((atoms.symbols == "O").sum()), 3))))
    return np.stack(found)


def errors(expected: Array, found: Array) -> list[float]:
    """Root mean square error and Pearson's r of molecules and of cells."""
    numbers = []
    for first, second in ((expected, found), (expected.sum(1), found.sum(1))):
        numbers.append(float(np.sqrt(np.mean((first - second) ** 2))))
        numbers.append(float(np.corrcoef(first.ravel(), second.ravel())[0, 1]))
    return numbers


def over_seeds(values: Array, digits: int) -> str:
    """Mean, and the smallest and the largest of several."""
    mean = f"{values.mean():.{digits}f}"
    if len(values) == 1:
        return mean
    return f"{mean} ({values.min():.{digits}f}–{values.max():.{digits}f})"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("study", type=Path)
    parser.add_argument("--fit", type=Path, required=True, help="Structures for the factor.")
    parser.add_argument("--test", type=Path, nargs="+", required=True)
    args = parser.parse_args()
    fit = ase.io.read(args.fit, ":")
    tests = {path.stem: ase.io.read(path, ":") for path in args.test}
    expected = reference(fit)
    targets = {name: reference(frames) for name, frames in tests.items()}
    print("| charges | test | factor | molecules: RMSE, e A | r | cells: RMSE, e A | r |")
    print("|:--|:--|--:|--:|--:|--:|--:|")
    models: dict[str, list[muse_lr.Calculator | None]] = {"(one for all H)": [None]}
    for file in sorted(args.study.glob("*/seed-*/model.pt")):
        calculator = muse_lr.Calculator(file)
        if calculator.model.charges is not None:
            models.setdefault(file.parent.parent.name, []).append(calculator)
    for kind, seeds in models.items():
        scales = []
        for model in seeds:
            found = predicted(model, fit)
            scales.append(float((expected * found).sum() / (found * found).sum()))
        for name, frames in tests.items():
            rows = [
                [scale, *errors(targets[name], scale * predicted(model, frames))]
                for scale, model in zip(scales, seeds, strict=True)
            ]
            columns = zip(np.array(rows).T, (2, 3, 3, 3, 3), strict=True)
            cells = [over_seeds(values, digits) for values, digits in columns]
            print(f"| {kind} | {name} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
