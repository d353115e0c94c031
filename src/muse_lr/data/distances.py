"""Distances between the elements of a set of structures."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from ase import Atoms
from ase.data import chemical_symbols, covalent_radii

from muse_lr.structures.neighbors import complete_cell, neighbor_list

#: Numbers of pairs of elements are first * BASE + second.
BASE = len(chemical_symbols)
#: Pairs up to this multiple of the sum of the covalent radii count as bonds.
BOND = 1.3


@dataclass(frozen=True)
class PairDistances:
    """Distances of a pair of elements in a set of structures.

    Attributes
    ----------
    shortest : float
        Shortest distance, A.
    bonds : int
        Number of bonds: pairs up to :data:`BOND` times the sum of the covalent radii.
    longest_bond, shortest_contact : float
        Largest distance of the bonds and smallest distance of all others, A; 0 and infinity
        without any.
    """

    shortest: float
    bonds: int
    longest_bond: float
    shortest_contact: float


def pair_distances(structures: Iterable[Atoms], cutoff: float) -> dict[str, PairDistances]:
    """Find the extreme distances of each pair of elements, images included.

    Parameters
    ----------
    structures : iterable of ase.Atoms
    cutoff : float
        Distances beyond it are not searched, A.

    Returns
    -------
    dict of str to PairDistances
        By pair of elements, in alphabetical order, such as ``H-O``.
    """
    limits = BOND * (covalent_radii[:, None] + covalent_radii[None, :]).ravel()
    shortest, contact = np.full((2, BASE * BASE), np.inf)
    longest = np.zeros(BASE * BASE)
    edges = np.zeros(BASE * BASE, dtype=np.int64)
    for atoms in structures:
        cell = complete_cell(atoms.cell.array, atoms.pbc)
        (sender, receiver), shifts = neighbor_list(atoms.positions, cell, atoms.pbc, cutoff)
        vectors = atoms.positions[sender] - atoms.positions[receiver] + shifts @ cell
        lengths = np.linalg.norm(vectors, axis=1)
        numbers = np.sort(atoms.numbers[np.stack([sender, receiver])], axis=0)
        codes = numbers[0] * BASE + numbers[1]
        bonded = lengths <= limits[codes]
        np.minimum.at(shortest, codes, lengths)
        np.maximum.at(longest, codes[bonded], lengths[bonded])
        np.minimum.at(contact, codes[~bonded], lengths[~bonded])
        np.add.at(edges, codes[bonded], 1)
    found = {}
    for code in np.flatnonzero(np.isfinite(shortest)).tolist():
        pair = sorted(chemical_symbols[z] for z in divmod(code, BASE))
        # Each pair of atoms has two edges.
        found["-".join(pair)] = PairDistances(
            float(shortest[code]), int(edges[code]) // 2, float(longest[code]), float(contact[code])
        )
    return dict(sorted(found.items()))


def shortest_distances(structures: Iterable[Atoms], cutoff: float) -> dict[str, float]:
    """Shortest distance of each pair of elements, A; see :func:`pair_distances`."""
    return {pair: found.shortest for pair, found in pair_distances(structures, cutoff).items()}
