"""What can be wrong with a structure, whatever its labels."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from ase import Atoms
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from muse_lr.data.formats import printable
from muse_lr.errors import InputError, nearest
from muse_lr.structures.neighbors import complete_cell

#: Atoms nearer than this are at one place, A.
OVERLAP = 1e-3


@dataclass(frozen=True)
class Problem:
    """Why a structure cannot be used.

    Attributes
    ----------
    kind : str
        A short name of what is wrong, the same for all structures.
    message : str
    atom : int or None
    """

    kind: str
    message: str
    atom: int | None = None


def find_problems(atoms: Atoms, elements: Collection[str] | None = None) -> Iterator[Problem]:
    """Everything that makes a structure unusable, labels aside.

    Parameters
    ----------
    atoms : ase.Atoms
    elements : collection of str, optional
        The elements of the model; others are a problem.
    """
    yield from _element_problems(atoms, elements)
    for name in ("total_charge", "spin"):
        value = atoms.info.get(name)
        if value is not None and not is_finite_number(value):
            text = printable(repr(value))[:40]
            yield Problem(name, f"info[{name!r}] is {text}: a finite number is needed")
    finite = np.isfinite(atoms.positions).all(1)
    if not finite.all():
        atom = int(np.flatnonzero(~finite)[0])
        yield Problem("positions", f"the position of atom {atom} is NaN or infinite", atom)
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
    """Whether a structure is a wire, which no part of the package supports."""
    return int(atoms.pbc.sum()) == 1


def boundary(atoms: Atoms) -> str:
    """``"FFF"``, ``"TFF"``, ``"TTF"`` or ``"TTT"``, whatever the order of the axes."""
    periodic = int(atoms.pbc.sum())
    return "T" * periodic + "F" * (3 - periodic)


def is_finite_number(value: Any) -> bool:
    """Whether a value from a file is one finite real number; a flag is none."""
    scalar = np.asarray(value) if isinstance(value, (int, float, np.ndarray, np.number)) else None
    return (
        scalar is not None
        and scalar.ndim == 0
        and scalar.dtype.kind in "iuf"
        and bool(np.isfinite(scalar))
    )


def close_pair(
    positions: NDArray[np.float64],
    cell: NDArray[np.float64],
    pbc: NDArray[np.bool_],
    radius: float,
) -> tuple[int, int, float] | None:
    """The nearest two atoms (i, j, distance in A) if they are within ``radius``, or None.

    Nearest images are found by rounding fractional coordinates, which is exact for radii that
    are small against the cell.

    Parameters
    ----------
    positions : ndarray
        (n, 3) in A.
    cell : ndarray
        (3, 3) in A, not singular.
    pbc : ndarray
        (3,) of bool.
    radius : float
        A.
    """
    inverse = np.linalg.inv(cell)
    fractional = positions @ inverse
    if pbc.any():
        wrapped = np.where(pbc, fractional % 1.0, fractional - fractional.min(0))
        wrapped[wrapped >= 1.0] = np.where(pbc, 0.0, wrapped)[wrapped >= 1.0]
        reach = radius * float(np.linalg.norm(inverse, 2))
        tree = cKDTree(wrapped, boxsize=np.where(pbc, 1.0, 0.0))
    else:
        reach = radius
        tree = cKDTree(positions)
    pairs = tree.query_pairs(reach, output_type="ndarray")
    if len(pairs) == 0:
        return None
    difference = fractional[pairs[:, 0]] - fractional[pairs[:, 1]]
    difference -= np.where(pbc, np.round(difference), 0.0)
    distances = np.linalg.norm(difference @ cell, axis=1)
    nearest_pair = int(distances.argmin())
    if distances[nearest_pair] >= radius:
        return None
    first, second = sorted(int(i) for i in pairs[nearest_pair])
    return first, second, float(distances[nearest_pair])


def _element_problems(atoms: Atoms, elements: Collection[str] | None) -> Iterator[Problem]:
    unknown = np.flatnonzero(atoms.numbers <= 0)
    if len(unknown):
        atom = int(unknown[0])
        yield Problem("element", f"atom {atom} is 'X', which is no element", atom)
    if elements is None:
        return
    for atom, symbol in enumerate(atoms.symbols):
        if symbol not in elements and symbol != "X":
            known = ", ".join(elements)
            hint = nearest(symbol, elements)
            message = (
                f"atom {atom} is {symbol}, which the model does not know{hint}; it has {known}"
            )
            yield Problem("element", message, atom)
            return
