"""Neighbor lists of structures and of batches, in which no two atoms may be at one place.

The list of a batch on the CPU is made by vesin for one structure after the other
(:mod:`muse_lr.structures.neighbors`). On another device it is made there for all structures at
once, by nvalchemi-toolkit-ops (:mod:`muse_lr.structures.device_list`). Both give the same pairs.
"""

from __future__ import annotations

import warnings
from itertools import pairwise

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from muse_lr.errors import InputError
from muse_lr.structures.device_list import device_list, load_library
from muse_lr.structures.neighbors import FARTHEST, neighbor_list, refuse_far

#: Atoms closer than this distance in A have the same position.
COINCIDENT = 1e-6


def find_edges(
    positions: NDArray[np.float64],
    cell: NDArray[np.float64],
    pbc: NDArray[np.bool_],
    cutoff: float,
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """:func:`neighbor_list` of a structure in which no two atoms may be at one place."""
    edge_index, edge_shift = neighbor_list(positions, cell, pbc, cutoff)
    sender, receiver = edge_index
    vectors = positions[sender] - positions[receiver] + edge_shift @ cell
    same = np.flatnonzero(np.square(vectors).sum(1) < COINCIDENT**2)
    if len(same):
        raise InputError(_at_one_place(int(sender[same[0]]), int(receiver[same[0]])))
    return edge_index, edge_shift


def no_edges(device: torch.device) -> tuple[Tensor, Tensor]:
    """Edges and shifts of a batch without a neighbor list."""
    edge_index = torch.zeros((2, 0), dtype=torch.int64, device=device)
    return edge_index, torch.zeros((0, 3), dtype=torch.int64, device=device)


@torch.no_grad()
def batch_edges(
    positions: Tensor, cell: Tensor, pbc: Tensor, ptr: Tensor, cutoff: float
) -> tuple[Tensor, Tensor]:
    """The neighbor lists of all structures of a batch, on its device.

    A batch on a GPU is listed there if nvalchemi-toolkit-ops is installed. Without it, the
    positions are copied to the CPU, and a warning says so.

    Parameters
    ----------
    positions : Tensor
        (n_atoms, 3) in A.
    cell, pbc : Tensor
        (n_graphs, 3, 3) completed cells in A, (n_graphs, 3) of bool.
    ptr : Tensor
        (n_graphs + 1,) first atom of each graph.
    cutoff : float
        A. The list is empty for 0.

    Returns
    -------
    edge_index : Tensor
        (2, n_edges) of int64: sender, receiver. The graphs follow each other.
    edge_shift : Tensor
        (n_edges, 3) of int64.

    Raises
    ------
    InputError
        If a position is not finite or too far away, or if two atoms are at one place.
    """
    if positions.device.type == "cpu" or cutoff <= 0:
        return _by_structure(positions, cell, pbc, ptr, cutoff)
    if load_library() is None:
        warnings.warn(
            f"the neighbor lists of a batch on {positions.device} are built on the CPU: "
            "pip install 'muse_lr[fast]' to build them on the device",
            UserWarning,
            stacklevel=1,
        )
        return _by_structure(positions, cell, pbc, ptr, cutoff)
    return checked_device_list(positions, cell, pbc, ptr, cutoff)


def checked_device_list(
    positions: Tensor, cell: Tensor, pbc: Tensor, ptr: Tensor, cutoff: float
) -> tuple[Tensor, Tensor]:
    """:func:`device_list` with the checks and arguments of :func:`batch_edges`."""
    if not bool((positions.abs() < FARTHEST).all()):
        atom = int((~(positions.abs() < FARTHEST).all(1)).nonzero()[0])
        graph, first = _structure_of(atom, ptr)
        try:
            refuse_far(positions[first : int(ptr[graph + 1])].cpu().numpy())
        except InputError as error:
            raise InputError(_in_structure(graph, ptr, str(error))) from error
    edge_index, shift = device_list(positions, cell, pbc, ptr, cutoff)
    sender, receiver = edge_index
    graphs = torch.searchsorted(ptr, receiver, right=True) - 1
    vectors = positions[sender] - positions[receiver]
    vectors = vectors + torch.einsum("ea,eab->eb", shift.to(cell.dtype), cell[graphs])
    same = vectors.square().sum(1) < COINCIDENT**2
    if bool(same.any()):
        edge = int(same.nonzero()[0])
        graph, first = int(graphs[edge]), int(ptr[graphs[edge]])
        text = _at_one_place(int(sender[edge]) - first, int(receiver[edge]) - first)
        raise InputError(_in_structure(graph, ptr, text))
    return edge_index, shift


def _by_structure(
    positions: Tensor, cell: Tensor, pbc: Tensor, ptr: Tensor, cutoff: float
) -> tuple[Tensor, Tensor]:
    points, cells = positions.cpu().numpy(), cell.cpu().numpy()
    periodic = pbc.cpu().numpy()
    edges, shifts = [], []
    for graph, (start, end) in enumerate(pairwise(ptr.tolist())):
        own = np.ascontiguousarray(points[start:end])
        try:
            index, shift = find_edges(own, cells[graph], periodic[graph], cutoff)
        except InputError as error:
            raise InputError(_in_structure(graph, ptr, str(error))) from error
        edges.append(index + start)
        shifts.append(shift)
    device = positions.device
    edge_index = torch.from_numpy(np.concatenate(edges, 1)).to(device)
    return edge_index, torch.from_numpy(np.concatenate(shifts)).to(device)


def _at_one_place(one: int, other: int) -> str:
    first, second = sorted((one, other))
    return f"atoms {first} and {second} are at one place"


def _structure_of(atom: int, ptr: Tensor) -> tuple[int, int]:
    """Graph of an atom and the first atom of the graph."""
    graph = int((ptr <= atom).sum()) - 1
    return graph, int(ptr[graph])


def _in_structure(graph: int, ptr: Tensor, text: str) -> str:
    return f"structure {graph}: {text}" if len(ptr) > 2 else text
