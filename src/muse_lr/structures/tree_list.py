"""Neighbor lists by a k-d tree, for structures that are sparse or very large."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

#: Atoms outside the cell are included up to the cutoff and this share of the cell. Their number
#: must not depend on rounding.
MARGIN = 1e-6


def tree_list(
    positions: NDArray[np.float64],
    cell: NDArray[np.float64],
    pbc: NDArray[np.bool_],
    cutoff: float,
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Neighbor list whose cost depends on the number of atoms and edges only.

    The periodic images within the cutoff around the atoms are made explicitly. Two trees, of the
    atoms and of the images, give all pairs.

    Parameters and returns as for :func:`~muse_lr.structures.neighbors.neighbor_list`. The atoms
    must be within about one cell along the periodic directions, and the cell must not be skewed.
    """
    from scipy.spatial import cKDTree

    atom, shift = _images(positions, cell, pbc, cutoff)
    images = positions[atom] + shift @ cell
    found = cKDTree(positions).sparse_distance_matrix(
        cKDTree(images), cutoff, output_type="ndarray"
    )
    receiver, image = found["i"], found["j"]
    own = (atom[image] == receiver) & (shift[image] == 0).all(1)
    kept = np.flatnonzero((found["v"] < cutoff) & ~own)
    kept = kept[np.argsort(receiver[kept], kind="stable")]
    image = image[kept]
    return np.stack([atom[image], receiver[kept]]).astype(np.int64), shift[image]


def _images(
    positions: NDArray[np.float64],
    cell: NDArray[np.float64],
    pbc: NDArray[np.bool_],
    cutoff: float,
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Atoms and their lattice shifts in the box of the atoms, enlarged by the cutoff."""
    inverse = np.linalg.inv(cell)
    fractional = positions @ inverse
    margins = cutoff * np.linalg.norm(inverse, axis=0) + MARGIN
    atom = np.arange(len(positions))
    shift = np.zeros((len(positions), 3), dtype=np.int64)
    for axis in np.flatnonzero(pbc).tolist():
        along = fractional[:, axis]
        first = np.ceil(along.min() - margins[axis] - along).astype(np.int64)
        last = np.floor(along.max() + margins[axis] - along).astype(np.int64)
        counts = (last - first + 1)[atom]
        start = np.cumsum(counts) - counts
        row = np.repeat(np.arange(len(atom)), counts)
        atom, shift = atom[row], shift[row]
        shift[:, axis] = first[atom] + np.arange(len(row)) - start[row]
    return atom, shift
