"""Cells and neighbor lists.

All neighbor lists are made by :func:`neighbor_list`. Ordinary structures use the cell list of
vesin, whose bins fill the box of the atoms. Sparse and very large structures use a k-d tree.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import compress

import numpy as np
from numpy.typing import NDArray

from muse_lr.errors import InputError
from muse_lr.structures.reduction import SKEWED, is_skewed, reduced_lattice, spanned_share
from muse_lr.structures.tree_list import tree_list

#: Minimum length of a lattice vector, A. Shorter vectors indicate wrong units.
THINNEST = 0.5
#: A cell is singular if the ratio of its volume to the product of its edge lengths is smaller.
SINGULAR = 1e-8


#: Coordinates must be smaller than this, A. The spacing of float64 is 1.5e-8 A below it.
FARTHEST = 2.0**27
#: Components of periodic vectors beyond this length, A, can be rounded too much.
LONGEST = 1e8
#: A cell list is used up to this number of bins. Vesin enlarges the bins beyond 1e5.
MOST_BINS = 1e5
#: Largest number of visits of bins, and per atom, for which a cell list is faster than a tree.
MOST_VISITS, MOST_VISITS_PER_ATOM = 3e4, 100.0
#: Largest number of bins or cells between an atom and the origin. Vesin counts them in int32.
MOST_STEPS = 1e4
#: Vesin refuses cutoffs of 1e-6 A.
SHORTEST_CUTOFF = 1e-3


def complete_cell(cell: NDArray[np.float64], pbc: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Complete a cell with vectors along open directions, and reduce it if it is skewed.

    Missing vectors of open directions are set to unit vectors normal to the others. Cells can be
    left-handed.

    The cost of lattice sums and of searches over images grows with the product of the lengths of
    the vectors, relative to the volume (area) that they span. Given vectors are changed only if
    this factor exceeds ``SKEWED``: periodic vectors to the shortest ones of the same lattice, the
    open vector of a slab to its component normal to the slab. Lattice and volume do not change.

    Parameters
    ----------
    cell : ndarray
        (3, 3) cell vectors as rows, A. Rows of open directions can be zero.
    pbc : ndarray
        (3,) of bool.

    Returns
    -------
    ndarray
        (3, 3), non-singular.

    Raises
    ------
    InputError
        If a periodic vector is missing or not finite, if the vectors are linearly dependent, if
        float64 does not represent the lattice with sufficient accuracy, or if the shortest lattice
        vector is below ``THINNEST``.
    """
    cell = np.array(cell, dtype=np.float64)
    if not np.isfinite(cell).all():
        raise InputError("the cell is not finite")
    missing = ~cell.any(axis=1)
    if (missing & pbc).any():
        axis = int(np.flatnonzero(missing & pbc)[0])
        raise InputError(f"periodic along axis {axis} but the cell has no vector there")
    cell = _unskewed(cell, pbc)
    for axis in np.flatnonzero(~pbc).tolist():
        if _is_singular(cell):
            cell[axis] = _normal_to(cell[[i for i in range(3) if i != axis]])
    if _is_singular(cell):
        raise InputError("the cell is singular: its vectors are linearly dependent")
    if pbc.sum() == 2 and SKEWED * spanned_share(cell.tolist()) < spanned_share(cell[pbc].tolist()):
        normal = _normal_to(cell[pbc])
        cell[~pbc] = (cell[~pbc] @ normal) * normal
    _refuse_thin(cell, pbc)
    return cell


def has_volume(cell: NDArray[np.float64], pbc: NDArray[np.bool_]) -> bool:
    """Whether a structure is periodic and its cell, as given, has a volume.

    :func:`complete_cell` gives a slab without an open vector a vector of an arbitrary length, so
    that quantities per volume, such as the stress, are not defined.
    """
    cell = np.asarray(cell, dtype=np.float64)
    if not pbc.any() or not cell.any(axis=1).all():
        return False
    try:
        return not _is_singular(_unskewed(cell, pbc))
    except InputError:
        return False


def _unskewed(cell: NDArray[np.float64], pbc: NDArray[np.bool_]) -> NDArray[np.float64]:
    """The same cell, or one of the shortest periodic vectors if it is skewed."""
    if is_skewed(cell, pbc) or np.abs(cell[pbc]).max(initial=0.0) > LONGEST:
        return reduced_lattice(cell, pbc).cell
    return cell


def _refuse_thin(cell: NDArray[np.float64], pbc: NDArray[np.bool_]) -> None:
    # The shortest vector is at least as long as the smallest distance between two faces.
    if all(height > THINNEST for height in _heights(cell[pbc].tolist())):
        return
    shortest = float(np.linalg.norm(reduced_lattice(cell, pbc).cell[pbc], axis=1).min())
    if shortest < THINNEST:
        raise InputError(
            f"the cell repeats after {shortest:.2g} A, but at least {THINNEST} A is needed along "
            "periodic directions: check that the cell is in Angstrom"
        )


def _is_singular(cell: NDArray[np.float64]) -> bool:
    return spanned_share(cell.tolist()) < SINGULAR


def _normal_to(vectors: NDArray[np.float64]) -> NDArray[np.float64]:
    """Unit vector normal to the nonzero ones of ``vectors``."""
    lengths = [math.hypot(*vector) or 1.0 for vector in vectors.tolist()]
    _, values, rows = np.linalg.svd(vectors / np.array(lengths)[:, None])
    rank = int((values > SINGULAR).sum())
    return rows[rank] if rank < 3 else rows[2]


def neighbor_list(
    positions: NDArray[np.float64],
    cell: NDArray[np.float64],
    pbc: NDArray[np.bool_],
    cutoff: float,
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Ordered pairs within ``cutoff``, including all periodic images.

    Parameters
    ----------
    positions : ndarray
        (n, 3) in A. Atoms can be outside the cell and far from each other.
    cell : ndarray
        (3, 3) in A, completed by :func:`complete_cell`.
    pbc : ndarray
        (3,) of bool.
    cutoff : float
        Cutoff in A. The list is empty for 0.

    Returns
    -------
    edge_index : ndarray
        (2, n_edges) of int64: sender, receiver.
    edge_shift : ndarray
        (n_edges, 3) of int64. The image of the sender is at
        ``positions[sender] + edge_shift @ cell``.

    Raises
    ------
    InputError
        If a coordinate is not finite or not below ``FARTHEST``.
    """
    if len(positions) == 0 or cutoff <= 0:
        return np.zeros((2, 0), dtype=np.int64), np.zeros((0, 3), dtype=np.int64)
    positions = np.ascontiguousarray(positions, dtype=np.float64)
    farthest = float(np.abs(positions).max())
    if not farthest < FARTHEST:
        refuse_far(positions)
    periodic = pbc.tolist()
    if _suits_cell_list(cell, periodic, len(positions), farthest, cutoff):
        return _cell_list(positions, cell, periodic, cutoff)
    return _normalized_list(positions, cell, pbc, cutoff)


def refuse_far(positions: NDArray[np.float64]) -> None:
    """Refuse coordinates that float64 does not represent with sufficient accuracy.

    Raises
    ------
    InputError
        If a coordinate is not finite or its absolute value is not below ``FARTHEST``.
    """
    largest = np.abs(positions).max(axis=1, initial=0.0)
    if (largest < FARTHEST).all():
        return
    atom = int(largest.argmax())
    raise InputError(
        f"atom {atom} has a coordinate of {largest[atom]:.3g} A: float64 is accurate enough up to "
        f"{FARTHEST:.2g} A only. Wrap the atoms into the cell along periodic directions, and move "
        "the structure to the origin along open ones"
    )


def _suits_cell_list(
    cell: NDArray[np.float64], periodic: Sequence[bool], n: int, farthest: float, cutoff: float
) -> bool:
    """Whether vesin is fast and safe, for atoms up to ``farthest`` from the origin (A)."""
    if cutoff < SHORTEST_CUTOFF:
        return False
    bins = visits = 1.0
    mixed = any(periodic) and not all(periodic)
    # Heights that an oblique open vector does not change.
    heights = iter(_heights(list(compress(cell.tolist(), periodic))))
    for repeats in periodic:
        if repeats:
            height = next(heights)
            if not MOST_STEPS * min(height, cutoff) > farthest:
                return False
            along, near = max(1.0, height / cutoff), 2 * cutoff / height + 3
        else:
            along = max(1.0, 2 * farthest / cutoff)
            # Vesin visits all bins along the open directions of slabs.
            near = 2 * along if mixed else 3.0
        bins *= along
        visits *= along * near
    return bins <= MOST_BINS and visits <= MOST_VISITS + MOST_VISITS_PER_ATOM * n


def _heights(vectors: list[list[float]]) -> tuple[float, ...]:
    """Distance of each of up to three vectors from the span of the others; 0 without a span.

    Plain Python is much faster than numpy here, and every neighbor list needs the heights.
    """
    if len(vectors) < 2:
        return tuple(math.hypot(*vector) for vector in vectors)
    (ax, ay, az), (bx, by, bz) = vectors[:2]
    rx, ry, rz = ay * bz - az * by, az * bx - ax * bz, ax * by - ay * bx
    area = math.hypot(rx, ry, rz)
    if len(vectors) == 2:
        faces = math.hypot(bx, by, bz), math.hypot(ax, ay, az)
        return tuple(area / face if face else 0.0 for face in faces)
    cx, cy, cz = vectors[2]
    volume = abs(rx * cx + ry * cy + rz * cz)
    faces3 = (
        math.hypot(by * cz - bz * cy, bz * cx - bx * cz, bx * cy - by * cx),
        math.hypot(cy * az - cz * ay, cz * ax - cx * az, cx * ay - cy * ax),
        area,
    )
    return tuple(volume / face if face else 0.0 for face in faces3)


def _cell_list(
    positions: NDArray[np.float64],
    cell: NDArray[np.float64],
    periodic: Sequence[bool],
    cutoff: float,
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    from vesin import NeighborList

    calculator = NeighborList(cutoff=cutoff, full_list=True, sorted=True)
    receiver, sender, shift = calculator.compute(
        points=positions, box=cell, periodic=periodic, quantities="ijS"
    )
    edge_index = np.empty((2, len(sender)), dtype=np.int64)
    edge_index[0], edge_index[1] = sender, receiver
    return edge_index, shift.astype(np.int64)


def _normalized_list(
    positions: NDArray[np.float64],
    cell: NDArray[np.float64],
    pbc: NDArray[np.bool_],
    cutoff: float,
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The list of the wrapped atoms in a reduced cell with normal open vectors."""
    reduced, change = cell.copy(), None
    if is_skewed(cell, pbc):
        reduced, change = reduced_lattice(cell, pbc)
    # The right singular vectors of the periodic rows end with those that are normal to all of them.
    reduced[~pbc] = np.linalg.svd(reduced[pbc])[2][int(pbc.sum()) :] if pbc.any() else np.eye(3)
    cells = np.where(pbc, np.floor(positions @ np.linalg.inv(reduced)), 0.0)
    wrapped = positions - cells @ reduced
    # Open directions have no origin; along periodic ones, the center is that of the cell.
    wrapped -= (wrapped.max(0) + wrapped.min(0)) / 2
    farthest = float(np.linalg.norm(wrapped, axis=1).max())
    if _suits_cell_list(reduced, pbc.tolist(), len(positions), farthest, cutoff):
        edge_index, shift = _cell_list(wrapped, reduced, pbc.tolist(), cutoff)
    else:
        edge_index, shift = tree_list(wrapped, reduced, pbc, cutoff)
    whole = cells.astype(np.int64)
    shift += whole[edge_index[1]] - whole[edge_index[0]]
    return edge_index, shift if change is None else shift @ change
