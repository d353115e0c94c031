"""Pairs of atoms of the same graph, all at once or in portions."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class PairRows:
    """The pairs i < j of a range of nodes i.

    Attributes
    ----------
    start, end : int
        Range of the nodes i.
    after : Tensor
        (n_nodes,) of int64: number of nodes j > i in the same graph; 0 in graphs without pairs.
    """

    start: int
    end: int
    after: Tensor

    def pairs(self) -> Tensor:
        """(2, n_pairs) of int64: i and j, in ascending order of i and then of j."""
        counts = self.after[self.start : self.end]
        rows = torch.arange(self.start, self.end, device=counts.device)
        first = torch.repeat_interleave(rows, counts)
        before = torch.cumsum(counts, 0) - counts
        second = torch.arange(len(first), device=counts.device)
        # Node j of row i is i + 1 + its place in the row.
        second = second + torch.repeat_interleave(rows + 1 - before, counts)
        return torch.stack([first, second])


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
    after = _nodes_after(nodes_per_graph, chosen)
    return PairRows(0, len(after), after).pairs()


def pair_portions(nodes_per_graph: Tensor, chosen: Tensor, portion: int) -> list[PairRows]:
    """Portions of the pairs of :func:`all_pairs`, in the same order.

    The pairs of a portion are enumerated when they are used, so that their memory does not depend
    on the size of the graphs.

    Parameters
    ----------
    nodes_per_graph, chosen : Tensor
        As in :func:`all_pairs`.
    portion : int
        Largest number of pairs in a portion, plus at most the pairs of one node.

    Returns
    -------
    list of PairRows
        At least one portion, which may be empty.
    """
    after = _nodes_after(nodes_per_graph, chosen)
    if len(after) == 0:
        return [PairRows(0, 0, after)]
    number = (torch.cumsum(after, 0) - 1).clamp(min=0) // portion
    sizes = torch.unique_consecutive(number, return_counts=True)[1]
    ends = torch.cumsum(sizes, 0).tolist()
    return [PairRows(start, end, after) for start, end in zip([0, *ends], ends, strict=False)]


def _nodes_after(nodes_per_graph: Tensor, chosen: Tensor) -> Tensor:
    """(n_nodes,) number of later nodes in the same graph; 0 in graphs that are not chosen."""
    ends = torch.cumsum(nodes_per_graph, 0)
    last = torch.repeat_interleave(ends * chosen, nodes_per_graph)
    nodes = torch.arange(len(last), device=last.device)
    return (last - 1 - nodes).clamp(min=0)
