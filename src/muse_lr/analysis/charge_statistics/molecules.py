"""Dipoles of molecules that are whole, whatever the wrapping of a trajectory."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from ase import Atoms
from ase.geometry import get_distances
from numpy.typing import NDArray

from muse_lr.analysis.charge_statistics.sites import ChargedSites
from muse_lr.data.molecules import IONIC_METALS, find_molecules
from muse_lr.errors import InputError

Array = NDArray[np.float64]
Groups = Sequence[NDArray[np.int64]]

#: A molecule with a larger mean charge is an ion, e. Charges of a model that are transferred
#: between molecules are smaller on average.
ION = 0.1
#: Ions that move farther than this from where they were in the first frame diffuse, A (rms).
DIFFUSES = 1.0


def whole_molecules(sites: ChargedSites, groups: Groups) -> Array:
    """Positions in which the atoms of each molecule are together, (frames, n, 3) in A.

    The atoms of a molecule are connected by the shortest distances of the first frame. Along these
    connections, each atom is at the nearest image of the one before it. Bonds must not break.

    Parameters
    ----------
    sites : ChargedSites
    groups : sequence of ndarray
        Indices of the atoms of each molecule.

    Raises
    ------
    InputError
        If a connection is longer than half the distance between two faces of a cell.
    """
    whole = sites.positions.copy()
    inverses = np.linalg.inv(sites.cells)
    # The distance of the faces normal to a reciprocal vector b is 1 / |b|.
    reach = 0.5 / np.linalg.norm(inverses, axis=1)[:, sites.pbc].max(1, initial=1e-12)
    for parents, children in _connections(sites, groups):
        bonds = whole[:, children] - whole[:, parents]
        images = np.round(np.einsum("fna,fab->fnb", bonds, inverses))
        images[:, :, ~sites.pbc] = 0.0
        bonds = bonds - np.einsum("fna,fab->fnb", images, sites.cells)
        long = np.linalg.norm(bonds, axis=2) > reach[:, None]
        if long.any():
            frame, row = (int(i) for i in np.argwhere(long)[0])
            raise InputError(
                f"frame {frame}: the atoms {parents[row]} and {children[row]} of one molecule are "
                "farther apart than half the cell, so that their images are ambiguous: give the "
                "molecules by index, or a larger cell"
            )
        whole[:, children] = whole[:, parents] + bonds
    return whole


def molecular_dipoles(sites: ChargedSites, groups: Groups) -> tuple[Array, Array]:
    """Dipoles of the molecules about their centers, and their charges.

    Parameters
    ----------
    sites : ChargedSites
    groups : sequence of ndarray
        Indices of the atoms of each molecule.

    Returns
    -------
    dipoles : ndarray
        (frames, molecules, 3) in e A. They do not depend on how the trajectory is wrapped.
    charges : ndarray
        (frames, molecules) in e.
    """
    whole = whole_molecules(sites, groups)
    frames = len(whole)
    dipoles, charges = np.empty((frames, len(groups), 3)), np.empty((frames, len(groups)))
    for column, group in enumerate(groups):
        positions, values = whole[:, group], sites.charges[:, group]
        relative = positions - positions.mean(1, keepdims=True)
        dipoles[:, column] = (values[:, :, None] * relative).sum(1)
        charges[:, column] = values.sum(1)
        if sites.dipoles is not None:
            dipoles[:, column] += sites.dipoles[:, group].sum(1)
    return dipoles, charges


def find_groups(sites: ChargedSites) -> list[NDArray[np.int64]]:
    """Molecules of the first frame; ions of :data:`IONIC_METALS` are molecules of their own."""
    return find_molecules(_first(sites), IONIC_METALS)


def ions(sites: ChargedSites, groups: Groups) -> list[int]:
    """Indices of the groups whose mean charge is above :data:`ION`."""
    means = sites.charges.mean(0)
    return [i for i, group in enumerate(groups) if abs(means[group].sum()) > ION]


def diffuse(sites: ChargedSites, groups: Groups) -> bool:
    """Whether molecules leave their sites by more than :data:`DIFFUSES` in the later frames.

    The displacements are those from the first frame to the nearest image, without their mean over
    the molecules. Atoms of a crystal stay below half of this up to its melting point.
    """
    first = [int(group[0]) for group in groups]
    fractional = sites.positions[:, first] @ np.linalg.inv(sites.cells)
    moves = fractional - fractional[0]
    moves[:, :, sites.pbc] -= np.round(moves[:, :, sites.pbc])
    later = (moves @ sites.cells)[len(moves) // 2 :]
    if len(groups) > 1:
        later = later - later.mean(1, keepdims=True)
    return float(np.sqrt((later**2).sum(2).mean())) > DIFFUSES


def describe_group(sites: ChargedSites, group: NDArray[np.int64]) -> str:
    """Formula, first atom and mean charge of a group, for messages."""
    formula = Atoms(sites.numbers[group]).get_chemical_formula()
    charge = float(sites.charges.mean(0)[group].sum())
    return f"{formula} (atom {int(group.min())}) with a mean charge of {charge:.2f} e"


def _first(sites: ChargedSites) -> Atoms:
    return Atoms(sites.numbers, sites.positions[0], cell=sites.cells[0], pbc=sites.pbc)


def _connections(
    sites: ChargedSites, groups: Groups
) -> list[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """Pairs of arrays (parents, children), each after the one that places its parents."""
    from scipy.sparse.csgraph import breadth_first_order, minimum_spanning_tree

    levels: list[tuple[list[int], list[int]]] = []
    first = _first(sites)
    for group in groups:
        if len(group) < 2:
            continue
        places = first.positions[group]
        distances = get_distances(places, cell=first.cell, pbc=first.pbc)[1]
        tree = minimum_spanning_tree(distances)
        order, before = breadth_first_order(tree, 0, directed=False)
        depth = np.zeros(len(group), dtype=np.int64)
        for atom in order[1:]:
            depth[atom] = depth[before[atom]] + 1
            while len(levels) < depth[atom]:
                levels.append(([], []))
            parents, children = levels[depth[atom] - 1]
            parents.append(int(group[before[atom]]))
            children.append(int(group[atom]))
    return [(np.array(parents), np.array(children)) for parents, children in levels]
