"""Neighbor lists of a batch on its device, by nvalchemi-toolkit-ops (extra ``fast``)."""

from __future__ import annotations

from functools import cache
from importlib import import_module
from types import ModuleType
from typing import Literal

import torch
from torch import Tensor

Method = Literal["batch_naive", "batch_cell_list"]


@cache
def load_library() -> ModuleType | None:
    """Import the neighbor lists of nvalchemiops at their first use; None if not installed."""
    try:
        # Suppress the startup message of warp, which would appear in the output of commands.
        import_module("warp").config.quiet = True
        return import_module("nvalchemiops.torch.neighbors")
    except ImportError:
        return None


@torch.no_grad()
def device_list(
    positions: Tensor,
    cell: Tensor,
    pbc: Tensor,
    ptr: Tensor,
    cutoff: float,
    method: Method | None = None,
) -> tuple[Tensor, Tensor]:
    """Ordered pairs within ``cutoff`` of all graphs, including all periodic images.

    Parameters
    ----------
    positions : Tensor
        (n_atoms, 3) in A, finite. Atoms can be outside the cell.
    cell, pbc, ptr :
        As in :func:`muse_lr.structures.edges.batch_edges`.
    cutoff : float
        A, positive.
    method : str, optional
        Algorithm of the library; its own choice by default.

    Returns
    -------
    edge_index, edge_shift : Tensor
        (2, n_edges) and (n_edges, 3) of int64, sorted by receiver, sender and shift, so that sums
        over edges do not depend on the order in which a device finds them.
    """
    library = load_library()
    assert library is not None  # checked by the caller
    counts = ptr[1:] - ptr[:-1]
    filled = counts > 0  # the library expects atoms in each graph
    ends = torch.cat([ptr[:1], ptr[1:][filled]]).int()
    graphs = torch.arange(int(filled.sum()), device=ptr.device)
    arguments = {
        "cell": cell[filled].contiguous(),
        "pbc": pbc[filled].contiguous(),
        "batch_idx": graphs.repeat_interleave(counts[filled]).int(),
        "batch_ptr": ends,
        "return_neighbor_list": True,
        "method": method,
    }
    points = positions.contiguous()
    try:
        found = library.neighbor_list(points, cutoff, **arguments)
    except library.NeighborOverflowError as error:
        arguments["max_neighbors"] = error.num_neighbors
        found = library.neighbor_list(points, cutoff, **arguments)
    pairs, _, shift = found
    receiver, sender, shift = pairs[0].long(), pairs[1].long(), shift.long()
    # Two stable sorts by integers that contain all five numbers.
    reach = int(shift.abs().max()) if len(shift) else 0
    n = 2 * reach + 1
    x, y, z = (shift + reach).unbind(1)
    order = torch.argsort((x * n + y) * n + z, stable=True)
    order = order[torch.argsort((receiver * len(positions) + sender)[order], stable=True)]
    return torch.stack([sender, receiver])[:, order], shift[order]
