"""Molecules of a structure, from bonds of about the sum of the covalent radii."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
from ase import Atoms
from ase.data import atomic_numbers, covalent_radii
from numpy.typing import NDArray

from muse_lr.structures.neighbors import complete_cell, neighbor_list

#: Longest bond, in units of the sum of the covalent radii. A stretched O-H bond is 1.15, a hydrogen
#: bond 1.8.
BOND = 1.25
#: Alkali and alkaline-earth metals. Their contacts with other atoms are ionic.
IONIC_METALS = ("Li", "Na", "K", "Rb", "Cs", "Be", "Mg", "Ca", "Sr", "Ba")


def find_molecules(atoms: Atoms, unbonded: Collection[str] = ()) -> list[NDArray[np.int64]]:
    """Divide a structure into its molecules, which are connected by bonds.

    Two atoms are bonded if their distance, images included, is below :data:`BOND` times the sum of
    their covalent radii (B. Cordero et al., Dalton Trans. 2832 (2008), as in ASE).

    Parameters
    ----------
    atoms : ase.Atoms
    unbonded : collection of str
        Elements without bonds. Each of their atoms is a molecule of its own.

    Returns
    -------
    list of ndarray
        Indices of the atoms of each molecule.
    """
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    radii = covalent_radii[atoms.numbers]
    cell = complete_cell(atoms.cell.array, atoms.pbc)
    edges, shifts = neighbor_list(atoms.positions, cell, atoms.pbc, 2 * BOND * float(radii.max()))
    sender, receiver = edges
    vectors = atoms.positions[sender] - atoms.positions[receiver] + shifts @ cell
    bonded = np.linalg.norm(vectors, axis=1) < BOND * (radii[sender] + radii[receiver])
    free = np.isin(atoms.numbers, [atomic_numbers[symbol] for symbol in unbonded])
    bonded &= ~free[sender] & ~free[receiver]
    pairs = sender[bonded], receiver[bonded]
    matrix = coo_array((np.ones(len(pairs[0])), pairs), shape=(len(atoms), len(atoms)))
    count, labels = connected_components(matrix, directed=False)
    return [np.flatnonzero(labels == molecule) for molecule in range(count)]


def find_pieces(atoms: Atoms) -> list[NDArray[np.int64]]:
    """Divide a structure into the ions and molecules that can part.

    A periodic structure that is one network with all its contacts, such as a crystal of salt, is
    one piece. In all others, the contacts of :data:`IONIC_METALS` are no bonds, so that a solvated
    ion is a piece of its own.

    Parameters
    ----------
    atoms : ase.Atoms

    Returns
    -------
    list of ndarray
        Indices of the atoms of each piece.
    """
    if atoms.pbc.any():
        whole = find_molecules(atoms)
        if len(whole) == 1:
            return whole
    return find_molecules(atoms, IONIC_METALS)
