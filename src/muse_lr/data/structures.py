"""Validity of a structure, apart from its labels."""

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

#: Atoms closer than this count as being at the same position, A.
OVERLAP = 1e-3


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


def find_problems(atoms: Atoms, elements: Collection[str] | None = None) -> Iterator[Problem]:
    """Yield every problem of a structure, apart from its labels.

    Parameters
    ----------
    atoms : ase.Atoms
    elements : collection of str, optional
        Elements of the model; any other element is a problem.
    """
    yield from _element_problems(atoms, elements)
    for name in ("total_charge", "spin"):
        value = atoms.info.get(name)
        if value is not None and not is_finite_number(value):
            text = printable(repr(value))[:40]
            yield Problem(name, f"info[{name!r}] is {text}: a finite number is required")
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
    """Whether a structure is periodic along one axis only, which is not supported."""
    return int(atoms.pbc.sum()) == 1


def boundary(atoms: Atoms) -> str:
    """Periodicity as ``"FFF"``, ``"TFF"``, ``"TTF"`` or ``"TTT"``, for any order of axes."""
    periodic = int(atoms.pbc.sum())
    return "T" * periodic + "F" * (3 - periodic)


def is_finite_number(value: Any) -> bool:
    """Whether a value from a file is one finite real number; booleans are not."""
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
    """Return the closest two atoms (i, j, distance in A) within ``radius``, or None.

    The nearest images are found by rounding fractional coordinates. This is exact if ``radius``
    is small compared with the cell.

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
        yield Problem("element", f"atom {atom} is 'X', which is not an element", atom)
    if elements is None:
        return
    for atom, symbol in enumerate(atoms.symbols):
        if symbol not in elements and symbol != "X":
            known = ", ".join(elements)
            hint = nearest(symbol, elements)
            message = (
                f"atom {atom} is {symbol}, which the model does not know{hint}; it knows {known}"
            )
            yield Problem("element", message, atom)
            return
