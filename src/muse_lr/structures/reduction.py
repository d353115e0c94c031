"""Reduction of skewed lattices, in exact arithmetic."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import product
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from muse_lr.errors import InputError

#: Periodic vectors are skewed if the product of their lengths exceeds the volume (area) that they
#: span by this factor. For the shortest vectors of a lattice, the factor is at most 2.
SKEWED = 8.0
#: Largest error of a reduced lattice vector due to the rounding of the given vectors, A.
LARGEST_ROUNDING = 1e-6
#: A vector is zero within the precision if it is not longer than its rounding error times this.
NOISE = 4.0
#: Relative rounding error of a float64.
ROUNDING = 2.0**-53

Rows = list[list[int]]


class Reduction(NamedTuple):
    """Shortest vectors of a lattice.

    Attributes
    ----------
    cell : ndarray
        (3, 3) cell in A whose periodic rows are the shortest vectors, sorted by length. Rows of
        open directions are those of the given cell.
    change : ndarray
        (3, 3) of int64 and determinant +-1: ``cell = change @ given``.
    """

    cell: NDArray[np.float64]
    change: NDArray[np.int64]


def is_skewed(cell: NDArray[np.float64], pbc: NDArray[np.bool_]) -> bool:
    """Whether the periodic vectors are much longer than the shortest ones of their lattice."""
    vectors = cell[pbc].tolist()
    if len(vectors) < 2:
        return False
    return not SKEWED * spanned_share(vectors) >= 1


def spanned_share(vectors: Sequence[Sequence[float]]) -> float:
    """Volume (area) spanned by three (two) vectors, divided by the product of their lengths.

    Plain Python is much faster than numpy for three vectors, and this is called for every
    structure. Without overflow: 0 if a vector is zero or longer than float64 can represent.
    """
    units = []
    for x, y, z in vectors:
        length = math.hypot(x, y, z)
        if length == 0:
            return 0.0
        units.append((x / length, y / length, z / length))
    (ax, ay, az), (bx, by, bz) = units[:2]
    normal = ay * bz - az * by, az * bx - ax * bz, ax * by - ay * bx
    if len(units) == 2:
        return math.hypot(*normal)
    cx, cy, cz = units[2]
    return abs(normal[0] * cx + normal[1] * cy + normal[2] * cz)


def reduced_lattice(cell: NDArray[np.float64], pbc: NDArray[np.bool_]) -> Reduction:
    """Find the shortest vectors of a lattice (Minkowski reduction).

    A float64 is an integer times a power of 2. The reduction uses these integers and is exact for
    all lattices, however skewed their cells are.

    Parameters
    ----------
    cell : ndarray
        (3, 3) cell vectors as rows, A.
    pbc : ndarray
        (3,) of bool. Only the periodic vectors are combined.

    Raises
    ------
    InputError
        If the periodic vectors are linearly dependent within the precision of float64, or if they
        are so long or so skewed that their rounding changes the lattice by more than
        ``LARGEST_ROUNDING``.

    References
    ----------
    I. Semaev, Lecture Notes in Computer Science 2146, 181 (2001).
    """
    given = cell[pbc]
    rows, unit = _integers(given)
    coefficients = [[int(i == j) for j in range(len(rows))] for i in range(len(rows))]
    _reduce(rows, coefficients)
    reduced = np.array([[x / unit for x in row] for row in rows]).reshape(-1, 3)
    rounding = np.abs(np.array(coefficients, dtype=np.float64)) @ np.abs(given) * ROUNDING
    with np.errstate(over="ignore"):
        errors = np.linalg.norm(rounding, axis=1)
        lengths = np.linalg.norm(reduced, axis=1)
    if lengths.all() and not (errors <= LARGEST_ROUNDING).all():
        raise InputError(
            "the cell vectors are too long, too skewed or linearly dependent: their rounding to "
            f"float64 changes the lattice by {errors.max():.1g} A. Give the shortest vectors of "
            "the lattice"
        )
    if (lengths <= NOISE * errors).any():
        raise InputError("the cell is singular: its vectors are linearly dependent")
    lattice, change = cell.copy(), np.eye(3, dtype=np.int64)
    lattice[pbc] = reduced
    change[np.ix_(pbc, pbc)] = coefficients
    return Reduction(lattice, change)


def _integers(vectors: NDArray[np.float64]) -> tuple[Rows, int]:
    """Vectors as integers and the power of 2 by which they were multiplied."""
    ratios = [[float(x).as_integer_ratio() for x in vector] for vector in vectors]
    unit = max((denominator for row in ratios for _, denominator in row), default=1)
    return [[n * (unit // denominator) for n, denominator in row] for row in ratios], unit


def _dot(first: list[int], second: list[int]) -> int:
    return sum(a * b for a, b in zip(first, second, strict=True))


def _nearest(numerator: int, denominator: int) -> int:
    """Integer nearest to a fraction with a positive denominator."""
    return (2 * numerator + denominator) // (2 * denominator)


def _reduce(rows: Rows, coefficients: Rows) -> None:
    """Replace the rows by shortest ones, and the coefficients by those of the new rows."""
    changed = True
    while changed:
        order = sorted(range(len(rows)), key=lambda i: _dot(rows[i], rows[i]))
        rows[:] = [rows[i] for i in order]
        coefficients[:] = [coefficients[i] for i in order]
        # A zero vector shows that the rows are dependent, which the caller refuses.
        if not rows or not any(rows[0]):
            return
        changed = False
        for last in range(1, len(rows)):
            if _shorten(rows, coefficients, last):
                changed = True
                break


def _shorten(rows: Rows, coefficients: Rows, last: int) -> bool:
    """Subtract the combination of the rows before ``last`` that leaves the shortest rest."""
    vector = rows[last]
    best, length = None, _dot(vector, vector)
    for combination in _near_combinations(rows[:last], vector):
        rest = [
            x - sum(n * row[axis] for n, row in zip(combination, rows[:last], strict=True))
            for axis, x in enumerate(vector)
        ]
        if _dot(rest, rest) < length:
            best, length, rows[last] = combination, _dot(rest, rest), rest
    if best is None:
        return False
    for n, row in zip(best, coefficients[:last], strict=True):
        coefficients[last] = [c - n * x for c, x in zip(coefficients[last], row, strict=True)]
    return True


def _near_combinations(rows: Rows, vector: list[int]) -> list[tuple[int, ...]]:
    """Coefficients of the lattice points of one or two rows that can be nearest to a vector."""
    first = rows[0]
    if len(rows) == 1:
        return [(_nearest(_dot(vector, first), _dot(first, first)),)]
    # The normal equations of the projection on the plane of two reduced rows.
    second = rows[1]
    a, b, c = _dot(first, first), _dot(first, second), _dot(second, second)
    x, y = _dot(vector, first), _dot(vector, second)
    area = a * c - b * b
    near = _nearest(x * c - y * b, area), _nearest(y * a - x * b, area)
    return [(near[0] + i, near[1] + j) for i, j in product((0, -1, 1), repeat=2)]
