"""Flexible SPC water with ions and minerals: the force field ClayFF, for labels and for sampling.

R. T. Cygan, J.-J. Liang, A. G. Kalinichev, J. Phys. Chem. B 108, 1255 (2004). Charges, a
Lennard-Jones potential of each element's place, bonds of O and H, and the angle of water.
"""

from __future__ import annotations

import numpy as np
import torch
from ase import Atoms, units
from ase.neighborlist import neighbor_list
from torch import Tensor

from benchmarks.first_hour.ionic import ForceField

KCAL = units.kcal / units.mol
#: Charge (e), depth (kcal/mol) and distance of the minimum (A) of each kind of atom.
KINDS = {
    "water hydrogen": (0.41, 0.0, 1.0),
    "water oxygen": (-0.82, 0.1554, 3.5532),
    "hydroxyl hydrogen": (0.425, 0.0, 1.0),
    "hydroxyl oxygen": (-0.95, 0.1554, 3.5532),
    "bridging oxygen": (-1.05, 0.1554, 3.5532),
    "oxygen next to tetrahedral Al": (-1.16875, 0.1554, 3.5532),
    "Si": (2.1, 1.8405e-6, 3.7064),
    "tetrahedral Al": (1.575, 1.8405e-6, 3.7064),
    "octahedral Al": (1.575, 1.3298e-6, 4.7943),
    "K": (1.0, 0.1000, 3.7423),
    "Na": (1.0, 0.1301, 2.6378),
    "Cl": (-1.0, 0.1001, 4.9388),
}
BOND = (554.1349 * KCAL, 1.0)
ANGLE = (45.7696 * KCAL, np.radians(109.47))
#: Largest O-H and O-Al bond lengths, A; octahedral Al has six neighbors.
OH_BOND, AL_BOND, OCTAHEDRAL = 1.3, 2.3, 6


def kinds_of(atoms: Atoms) -> list[str]:
    """Kind of each atom, a key of :data:`KINDS`, from its bonds."""
    hydrogens, aluminums = _bonded(atoms, "H", OH_BOND), _bonded(atoms, "Al", AL_BOND)
    neighbors = np.array([len(found) for found in _bonded(atoms, "O", AL_BOND)])
    symbols = atoms.get_chemical_symbols()
    tetrahedral = {i for i, s in enumerate(symbols) if s == "Al" and neighbors[i] < OCTAHEDRAL}
    kinds = []
    for i, symbol in enumerate(symbols):
        kind = symbol
        if symbol == "Al":
            kind = "tetrahedral Al" if i in tetrahedral else "octahedral Al"
        elif symbol == "O":
            kind = ("bridging oxygen", "hydroxyl oxygen", "water oxygen")[len(hydrogens[i])]
            if kind == "bridging oxygen" and tetrahedral & set(aluminums[i]):
                kind = "oxygen next to tetrahedral Al"
        elif symbol == "H":
            kind = "water hydrogen"
        kinds.append(kind)
    for oxygen, found in enumerate(hydrogens):
        if kinds[oxygen] == "hydroxyl oxygen":
            kinds[found[0]] = "hydroxyl hydrogen"
    return kinds


def _bonded(atoms: Atoms, symbol: str, cutoff: float) -> list[list[int]]:
    """Neighbors of an element within a distance, of each atom."""
    first, second = neighbor_list("ij", atoms, cutoff)
    wanted = np.array(atoms.get_chemical_symbols())[second] == symbol
    return [second[wanted & (first == i)].tolist() for i in range(len(atoms))]


def force_field(atoms: Atoms) -> ForceField:
    """Parameters of a structure; the hydrogens are at their oxygens, not at an image of them."""
    kinds = kinds_of(atoms)
    hydrogens = _bonded(atoms, "H", OH_BOND)
    oxygens = [i for i, kind in enumerate(kinds) if kind.endswith("oxygen") and hydrogens[i]]
    bonds = [(o, h) for o in oxygens for h in hydrogens[o]]
    angles = [(o, *hydrogens[o]) for o in oxygens if len(hydrogens[o]) == 2]
    depth = torch.tensor([KINDS[kind][1] * KCAL for kind in kinds], dtype=torch.float64)
    minimum = torch.tensor([KINDS[kind][2] for kind in kinds], dtype=torch.float64)

    def pair(i: Tensor, j: Tensor, r: Tensor) -> Tensor:
        ratio = ((minimum[i] + minimum[j]) / (2 * r)) ** 6
        return (depth[i] * depth[j]).sqrt() * (ratio**2 - 2 * ratio)

    return ForceField(
        charges=np.array([KINDS[kind][0] for kind in kinds]),
        pair=pair,
        pair_sites=depth.numpy() > 0,
        excluded=_pairs([*bonds, *((a, b) for _, a, b in angles)]),
        bonds=_pairs(bonds),
        angles=np.array(angles, dtype=np.int64).reshape(-1, 3),
        bond=BOND,
        angle=ANGLE,
    )


def _pairs(pairs: list[tuple[int, int]]) -> np.ndarray:
    return np.array(pairs, dtype=np.int64).reshape(-1, 2)


def molecule(center: np.ndarray, rng: np.random.Generator) -> Atoms:
    """A water molecule in a random orientation with its oxygen at ``center``."""
    half = ANGLE[1] / 2
    arms = np.array([[0, 0, 0], [np.sin(half), np.cos(half), 0], [-np.sin(half), np.cos(half), 0]])
    q, r = np.linalg.qr(rng.standard_normal((3, 3)))
    rotation = q * np.sign(np.diag(r))
    return Atoms("OH2", center + arms @ (rotation * np.linalg.det(rotation)).T)
