"""The force constants that cells of 64 atoms do not show, of the reference and of models.

    python examples/polar_crystals/unseen.py MgO runs/polar_crystals/mgo [--seed 0]

Of a cation and the anion at (1, 1/2, 0) lattice constants from it, in cells of 512 atoms, eV/A^2.
In a cell of 64 atoms the anion has an image at (-1, 1/2, 0), whose elements xy and yx are the
opposite: forces there do not depend on them (see harmonic.py). Dipoles alone would have
xy = yx. Beside them the root mean square of the errors of all constants of the cation and of the
anion, as an error of the forces at displacements of 0.03 A in random directions, meV/A.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
from bands import crystal, reference
from numpy.typing import NDArray
from phonopy import Phonopy

import muse_lr
from muse_lr.config.paths import reference_data
from muse_lr.phonons import Phonons

Array = NDArray[np.float64]
#: Cubic cells along an edge, and the displacement of each atom in A.
REPEATS, DISPLACEMENT = 4, 0.03
#: The pair, in halves of a lattice constant.
PAIR = (2, 1, 0)


def constants(phonon: Phonopy, symbol: str) -> dict[tuple[int, int, int], Array]:
    """(3, 3) of an atom of an element with all atoms, by their distance in half lattice constants.

    Distances are those of the images with coordinates from 0 to 7.
    """
    cell = phonon.supercell
    atom = next(i for i in phonon.primitive.p2s_map if cell.symbols[i] == symbol)
    row = list(phonon.primitive.p2s_map).index(atom)
    compact = len(phonon.force_constants) < len(cell)
    found = phonon.force_constants[row if compact else atom]
    apart = (cell.scaled_positions - cell.scaled_positions[atom]) * 2 * REPEATS
    keys = np.round(apart).astype(int) % (2 * REPEATS)
    return {(int(x), int(y), int(z)): block for (x, y, z), block in zip(keys, found, strict=True)}


def force_error(phonon: Phonopy, exact: Phonopy, symbol: str) -> float:
    """Of the harmonic forces on atoms of an element at random displacements, meV/A."""
    mine, theirs = constants(phonon, symbol), constants(exact, symbol)
    square = sum(((mine[key] - block) ** 2).sum() for key, block in theirs.items())
    return 1e3 * float(np.sqrt(square) * DISPLACEMENT / 3)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("crystal")
    parser.add_argument("study", type=Path)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    folder = reference_data() / "polar_crystals_phonons"
    exact, _ = reference(folder, args.crystal)
    known = json.loads((folder / "reference_bec_dielectric_gamma.json").read_text())[args.crystal]
    cation, anion = known["primitive_symbols"]
    columns = f"xx | xy | yx | yy | error on {cation} | error on {anion}"
    print(f"| model | {columns} |\n|:--|" + "--:|" * 6)
    phonons = {"reference": exact}
    for file in sorted(args.study.glob(f"*/seed-{args.seed}/model.pt")):
        model = muse_lr.load_model(file)
        phonons[file.parent.parent.name] = Phonons(model, crystal(known), (REPEATS,) * 3).phonopy
    for name, phonon in phonons.items():
        block = constants(phonon, cation)[PAIR]
        pair = " | ".join(f"{block[i, j]:.3f}" for i in (0, 1) for j in (0, 1))
        errors = (f"{force_error(phonon, exact, symbol):.2f}" for symbol in (cation, anion))
        print(f"| {name} | {pair} | {' | '.join(errors)} |", flush=True)


if __name__ == "__main__":
    main()
