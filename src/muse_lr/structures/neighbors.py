"""Neighbor lists, and pairs of atoms in open systems."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from muse_lr.errors import InputError

#: Minimum length of a lattice vector, A. Shorter vectors indicate wrong units.
THINNEST = 0.5
#: A cell is singular if the ratio of its volume to the product of its edge lengths is smaller.
SINGULAR = 1e-8


def complete_cell(cell: NDArray[np.float64], pbc: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Complete a cell with vectors along open directions.

    Missing vectors of open directions are set to unit vectors normal to the others. Periodic
    vectors and given vectors of open directions are not changed. Cells can be left-handed.

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
        If a periodic vector is missing or not finite, if the vectors are linearly dependent, or
        if the shortest lattice vector is below ``THINNEST``.
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
    # The criterion is the shortest lattice vector, because a skewed cell of a valid lattice can be
    # flat. The Minkowski reduction is only needed for such cells.
    if not pbc.any() or (1 / np.linalg.norm(np.linalg.inv(cell), axis=0)).min() > THINNEST:
        return
    from ase.geometry import minkowski_reduce

    shortest = float(np.linalg.norm(minkowski_reduce(cell, pbc)[0][pbc], axis=1).min())
    if shortest < THINNEST:
        raise InputError(
            f"the cell repeats after {shortest:.2g} A, but at least {THINNEST} A is needed along "
            "periodic directions: check that the cell is in Angstrom"
        )


def _is_singular(cell: NDArray[np.float64]) -> bool:
    product = np.prod(np.linalg.norm(cell, axis=1))
    return product == 0 or abs(np.linalg.det(cell)) < SINGULAR * product


def _normal_to(vectors: NDArray[np.float64]) -> NDArray[np.float64]:
    """Unit vector normal to the nonzero ones of ``vectors``."""
    _, values, rows = np.linalg.svd(vectors)
    rank = int((values > SINGULAR * max(values.max(), 1e-300)).sum())
    return rows[rank] if rank < 3 else rows[2]


def neighbor_list(
    positions: NDArray[np.float64],
    cell: NDArray[np.float64],
    pbc: NDArray[np.bool_],
    cutoff: float,
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Ordered pairs within ``cutoff``, including all periodic images, computed with vesin.

    Parameters
    ----------
    positions : ndarray
        (n, 3) in A; atoms can be outside the cell.
    cell : ndarray
        (3, 3) in A, completed by :func:`complete_cell`.
    pbc : ndarray
        (3,) of bool.
    cutoff : float
        Cutoff in A.

    Returns
    -------
    edge_index : ndarray
        (2, n_edges) of int64: sender, receiver.
    edge_shift : ndarray
        (n_edges, 3) of int64. The image of the sender is at
        ``positions[sender] + edge_shift @ cell``.
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
    """Pairs i < j of nodes of the same graph, vectorized over graphs.

    Parameters
    ----------
    nodes_per_graph : Tensor
        (n_graphs,) of int64, number of nodes; the nodes of a graph are contiguous.
    chosen : Tensor
        (n_graphs,) of bool: graphs whose pairs are included.

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
