"""Neighbor lists, and the pairs of atoms of open systems."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from muse_lr.errors import InputError

#: A lattice that repeats after less than this is a mistake in its units, A.
THINNEST = 0.5
#: Below this ratio of volume to the product of the edge lengths a cell counts as singular.
SINGULAR = 1e-8


def complete_cell(cell: NDArray[np.float64], pbc: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Fill the vectors of open directions that are missing, normal to the others.

    Periodic vectors are kept as they are, so that an open direction whose vector is given keeps
    it; left-handed cells are as good as right-handed ones.

    Parameters
    ----------
    cell : ndarray
        (3, 3), rows are the cell vectors, A; rows of open directions may be zero.
    pbc : ndarray
        (3,) of bool.

    Returns
    -------
    ndarray
        (3, 3), non-singular.

    Raises
    ------
    InputError
        If a periodic vector is missing or not finite, the periodic ones are dependent, or the cell
        is absurdly thin.
    """
    cell = np.array(cell, dtype=np.float64)
    if not np.isfinite(cell).all():
        raise InputError("the cell is not finite")
    lengths = np.linalg.norm(cell, axis=1)
    if (lengths[pbc] == 0).any():
        axis = int(np.flatnonzero(pbc & (lengths == 0))[0])
        raise InputError(f"periodic along axis {axis} but the cell has no vector there")
    for axis in np.flatnonzero(~pbc).tolist():
        others = [i for i in range(3) if i != axis]
        if lengths[axis] == 0 or _is_singular(cell):
            cell[axis] = _normal_to(cell[others])
            lengths = np.linalg.norm(cell, axis=1)
    if _is_singular(cell):
        raise InputError("the cell is singular: its vectors are linearly dependent")
    _refuse_thin(cell, pbc)
    return cell


def _refuse_thin(cell: NDArray[np.float64], pbc: NDArray[np.bool_]) -> None:
    # A skewed description of a sane lattice may be flat: the shortest lattice vector decides.
    if not pbc.any() or (1 / np.linalg.norm(np.linalg.inv(cell), axis=0)).min() > THINNEST:
        return
    from ase.geometry import minkowski_reduce

    shortest = float(np.linalg.norm(minkowski_reduce(cell, pbc)[0][pbc], axis=1).min())
    if shortest < THINNEST:
        raise InputError(
            f"the cell repeats after {shortest:.2g} A: is it in another unit than Angstrom, or in "
            f"fractions? At least {THINNEST} A is needed in periodic directions"
        )


def _is_singular(cell: NDArray[np.float64]) -> bool:
    product = np.prod(np.linalg.norm(cell, axis=1))
    return product == 0 or abs(np.linalg.det(cell)) < SINGULAR * product


def _normal_to(vectors: NDArray[np.float64]) -> NDArray[np.float64]:
    """A unit vector normal to those of ``vectors`` that are not zero."""
    _, values, rows = np.linalg.svd(vectors)
    rank = int((values > SINGULAR * max(values.max(), 1e-300)).sum())
    return rows[rank] if rank < 3 else rows[2]


def neighbor_list(
    positions: NDArray[np.float64],
    cell: NDArray[np.float64],
    pbc: NDArray[np.bool_],
    cutoff: float,
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """All ordered pairs within ``cutoff``, every periodic image counted (vesin).

    Parameters
    ----------
    positions : ndarray
        (n, 3) in A; atoms may lie outside the cell.
    cell : ndarray
        (3, 3) in A, complete (:func:`complete_cell`).
    pbc : ndarray
        (3,) of bool.
    cutoff : float
        A.

    Returns
    -------
    edge_index : ndarray
        (2, n_edges): sender, receiver.
    edge_shift : ndarray
        (n_edges, 3) of int: the sender's image is at ``positions[sender] + edge_shift @ cell``.
    """
    if len(positions) == 0:
        return np.zeros((2, 0), dtype=np.int64), np.zeros((0, 3), dtype=np.int64)
    from vesin import NeighborList

    calculator = NeighborList(cutoff=cutoff, full_list=True, sorted=True)
    receiver, sender, shift = calculator.compute(
        points=positions, box=cell, periodic=pbc.tolist(), quantities="ijS"
    )
    edge_index = np.stack([sender, receiver]).astype(np.int64)
    return edge_index, shift.astype(np.int64)


def all_pairs(nodes_per_graph: Tensor, chosen: Tensor) -> Tensor:
    """All pairs i < j of nodes of the same graph, without a loop over graphs.

    Parameters
    ----------
    nodes_per_graph : Tensor
        (n_graphs,) of int64; the nodes of a graph are contiguous.
    chosen : Tensor
        (n_graphs,) of bool: the graphs whose pairs are wanted.

    Returns
    -------
    Tensor
        (2, n_pairs) of int64.
    """
    starts = torch.cumsum(nodes_per_graph, 0) - nodes_per_graph
    squares = nodes_per_graph**2 * chosen
    graph = torch.repeat_interleave(squares)
    offset = torch.cumsum(squares, 0) - squares
    flat = torch.arange(len(graph), device=squares.device) - offset[graph]
    size = nodes_per_graph[graph]
    first, second = flat // size, flat % size
    keep = first < second
    return torch.stack([first, second])[:, keep] + starts[graph[keep]]
