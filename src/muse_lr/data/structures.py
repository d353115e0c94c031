"""Validity of a structure, apart from its labels."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass

import numpy as np
from ase import Atoms
from numpy.typing import NDArray

from muse_lr.errors import InputError
from muse_lr.structures.neighbors import complete_cell, neighbor_list, refuse_far
from muse_lr.structures.state import read_state

#: Atoms closer than this count as being at the same position, A.
OVERLAP = 1e-3
#: Neighbor lists of smaller cutoffs are slower, because their bins are empty, A.
SEARCHED = 2.0


@dataclass(frozen=True)
class Problem:
    """A reason why a structure cannot be used.

    Attributes
    ----------
    kind : str
        Short name, the same for all structures with this problem.
    message : str
    atom : int or None
    """

    kind: str
    message: str
    atom: int | None = None


def find_problems(atoms: Atoms) -> Iterator[Problem]:
    """Yield every problem of a structure, apart from its labels."""
    yield from element_problems(atoms, None)
    try:
        read_state(atoms)
    except InputError as error:
        yield Problem("state", str(error))
    finite = np.isfinite(atoms.positions).all(1)
    if not finite.all():
        atom = int(np.flatnonzero(~finite)[0])
        yield Problem("positions", f"the position of atom {atom} is NaN or infinite", atom)
        return
    try:
        refuse_far(atoms.positions)
    except InputError as error:
        atom = int(np.abs(atoms.positions).max(1).argmax())
        yield Problem("positions", str(error), atom)
        return
    try:
        cell = complete_cell(atoms.cell.array, atoms.pbc)
    except InputError as error:
        yield Problem("cell", f'{error}; give a cell, or pbc="F F F" for a molecule')
        return
    close = close_pair(atoms.positions, cell, atoms.pbc, OVERLAP)
    if close is not None:
        first, second, distance = close
        message = f"atoms {first} and {second} are at one place ({distance:.1e} A apart)"
        yield Problem("overlap", message, first)


def one_periodic_axis(atoms: Atoms) -> bool:
    """Whether a structure is periodic along one axis only, which is not supported."""
    return int(atoms.pbc.sum()) == 1


def boundary(atoms: Atoms) -> str:
    """Periodicity as ``"FFF"``, ``"TFF"``, ``"TTF"`` or ``"TTT"``, for any order of axes."""
    periodic = int(atoms.pbc.sum())
    return "T" * periodic + "F" * (3 - periodic)


def close_pair(
    positions: NDArray[np.float64],
    cell: NDArray[np.float64],
    pbc: NDArray[np.bool_],
    radius: float,
) -> tuple[int, int, float] | None:
    """Return the closest two atoms (i, j, distance in A) within ``radius``, or None.

    Parameters
    ----------
    positions : ndarray
        (n, 3) in A.
    cell : ndarray
        (3, 3) in A, completed by :func:`~muse_lr.structures.neighbors.complete_cell`.
    pbc : ndarray
        (3,) of bool.
    radius : float
        A.
    """
    (sender, receiver), shift = neighbor_list(positions, cell, pbc, max(radius, SEARCHED))
    pairs = np.flatnonzero(sender < receiver)
    if len(pairs) == 0:
        return None
    first, second = sender[pairs], receiver[pairs]
    distances = np.linalg.norm(positions[first] + shift[pairs] @ cell - positions[second], axis=1)
    nearest_pair = int(distances.argmin())
    if distances[nearest_pair] >= radius:
        return None
    return int(first[nearest_pair]), int(second[nearest_pair]), float(distances[nearest_pair])


def element_problems(atoms: Atoms, elements: Collection[str] | None) -> Iterator[Problem]:
    """Yield an atom that is no element, and one whose element the model does not know."""
    unknown = np.flatnonzero(atoms.numbers <= 0)
    if len(unknown):
        atom = int(unknown[0])
        yield Problem("element", f"atom {atom} is 'X', which is not an element", atom)
    if elements is None:
        return
    for atom, symbol in enumerate(atoms.symbols):
        if symbol not in elements and symbol != "X":
            known = ", ".join(elements)
            message = f"atom {atom} is {symbol}, which the model does not know; it knows {known}"
            yield Problem("element", message, atom)
            return
