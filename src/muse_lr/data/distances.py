"""Shortest distances between the elements of a set of structures."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from ase import Atoms
from ase.data import chemical_symbols

from muse_lr.structures.neighbors import complete_cell, neighbor_list

#: Numbers of pairs of elements are first * BASE + second.
BASE = len(chemical_symbols)


def shortest_distances(structures: Iterable[Atoms], cutoff: float) -> dict[str, float]:
    """Find the shortest distance of each pair of elements, images included.

    Parameters
    ----------
    structures : iterable of ase.Atoms
    cutoff : float
        Distances beyond it are not searched, A.

    Returns
    -------
    dict of str to float
        Pair of elements, in alphabetical order, such as ``H-O`` -> distance in A.
    """
    shortest = np.full(BASE * BASE, np.inf)
    for atoms in structures:
        cell = complete_cell(atoms.cell.array, atoms.pbc)
        (sender, receiver), shifts = neighbor_list(atoms.positions, cell, atoms.pbc, cutoff)
        vectors = atoms.positions[sender] - atoms.positions[receiver] + shifts @ cell
        lengths = np.linalg.norm(vectors, axis=1)
        numbers = np.sort(atoms.numbers[np.stack([sender, receiver])], axis=0)
        np.minimum.at(shortest, numbers[0] * BASE + numbers[1], lengths)
    found = {}
    for code in np.flatnonzero(np.isfinite(shortest)).tolist():
        pair = sorted(chemical_symbols[z] for z in divmod(code, BASE))
        found["-".join(pair)] = float(shortest[code])
    return dict(sorted(found.items()))
