"""Where does a learned energy of water fall although it should rise?

    python examples/water_nve/holes.py MODEL.pt DATA/water_rpbed3_bec/bec100.xyz.xz

Closes the H-O-H angle and stretches one O-H bond of single molecules in the first frame, all other
atoms fixed. Prints the mean over molecules of the energy above its minimum, in total and without
the heads ``repulsion`` and ``bond_barrier``.
"""

from __future__ import annotations

import argparse

import numpy as np
import torch
from ase import Atoms

import muse_lr
from muse_lr.data.reading import read_atoms

MOLECULES = 12
#: Heads that a training adds where it has no distances.
ADDED = ("repulsion", "bond_barrier")
ANGLES, BONDS = range(110, 34, -5), np.arange(0.7, 1.5, 0.05)


def molecules(atoms: Atoms) -> list[tuple[int, int, int]]:
    """Each oxygen atom with its two closest hydrogen atoms."""
    distances = atoms.get_all_distances(mic=True)
    distances[:, atoms.numbers != 1] = np.inf
    oxygen = np.flatnonzero(atoms.numbers == 8)
    return [(int(o), *map(int, np.argsort(distances[o])[:2])) for o in oxygen]


def bent(atoms: Atoms, molecule: tuple[int, int, int], angle: float) -> Atoms:
    """The frame with both O-H bonds of a molecule turned in its plane."""
    oxygen, *hydrogen = molecule
    bonds = atoms.get_distances(oxygen, hydrogen, mic=True, vector=True)
    lengths = np.linalg.norm(bonds, axis=1)
    first, second = bonds / lengths[:, None]
    along = (first + second) / np.linalg.norm(first + second)
    across = (first - second) / np.linalg.norm(first - second)
    moved, half = atoms.copy(), np.radians(angle) / 2
    for atom, length, sign in zip(hydrogen, lengths, (1, -1), strict=True):
        direction = np.cos(half) * along + sign * np.sin(half) * across
        moved.positions[atom] = atoms.positions[oxygen] + length * direction
    return moved


def stretched(atoms: Atoms, molecule: tuple[int, int, int], length: float) -> Atoms:
    """The frame with another length of one O-H bond."""
    oxygen, hydrogen, _ = molecule
    bond = atoms.get_distance(oxygen, hydrogen, mic=True, vector=True)
    moved = atoms.copy()
    moved.positions[hydrogen] = atoms.positions[oxygen] + length * bond / np.linalg.norm(bond)
    return moved


def scan(model: muse_lr.EnergyModel, frames: list[list[Atoms]]) -> np.ndarray:
    """(2, points) mean energy above the minimum in eV: in total, and as learned."""
    curves = []
    for path in frames:
        with torch.no_grad():
            output = model(muse_lr.AtomsBatch.from_ase(path, cutoff=model.cutoff))
        added = sum(output.energy_parts.get(name, 0.0) for name in ADDED)
        curves.append(torch.stack([output.energy, output.energy - added]).numpy())
    energies = np.array(curves)
    means: np.ndarray = (energies - energies.min(axis=2, keepdims=True)).mean(axis=0)
    return means


def main() -> None:
    """Entry point."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model")
    parser.add_argument("structure", help="a file, whose first frame is taken")
    args = parser.parse_args()
    model = muse_lr.load_model(args.model).double()
    atoms = read_atoms(args.structure)[0]
    chosen = molecules(atoms)[:MOLECULES]
    for title, values, change in (
        ("H-O-H angle (degrees)", ANGLES, bent),
        ("O-H bond (A)", BONDS, stretched),
    ):
        frames = [[change(atoms, one, value) for value in values] for one in chosen]
        print(f"| {title} | energy (eV) | as learned (eV) |\n|--:|--:|--:|")
        for value, (total, rest) in zip(values, scan(model, frames).T, strict=True):
            print(f"| {value:.3g} | {total:.2f} | {rest:.2f} |")


if __name__ == "__main__":
    main()
