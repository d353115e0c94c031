r"""Sums over all pairs of atoms of open graphs, in portions of the pairs.

.. math:: E_g(t) = \sum_{i < j \in g} e_{ij}(t)

The number of pairs grows as the square of the number of atoms, but the memory does not, for the sum
and for its derivatives of any order (:mod:`muse_lr.electrostatics.portions`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from torch import Tensor

from muse_lr.electrostatics.portions import sum_portions
from muse_lr.structures.open_pairs import PairRows, pair_portions

#: Largest number of pairs in a portion, not counting those of its first atom. Energy and forces of
#: one portion take about 0.1 GB, and the gradient of a loss with forces about 0.2 GB.
PORTION = 2**16


def sum_over_pairs(
    function: Callable[..., Tensor],
    nodes_per_graph: Tensor,
    chosen: Tensor,
    tensors: Sequence[Tensor],
) -> Tensor:
    """Sum over all pairs i < j of nodes of the same graph, differentiable to any order.

    Sums of up to :data:`PORTION` pairs are computed at once by plain torch.

    Parameters
    ----------
    function : callable
        ``function(first, second, *tensors)`` is a tensor of sums over the pairs, for example
        (n_graphs,) energies; ``first`` and ``second`` are (p,) indices of nodes. It is called for
        each portion, and again for each derivative. All tensors that it differentiates are
        arguments.
    nodes_per_graph : Tensor
        (n_graphs,) of int64.
    chosen : Tensor
        (n_graphs,) of bool: graphs whose pairs are summed.
    tensors : sequence of Tensor
        Floating-point tensors.
    """

    def of_rows(rows: PairRows, *values: Tensor) -> Tensor:
        return function(*rows.pairs(), *values)

    return sum_portions(of_rows, pair_portions(nodes_per_graph, chosen, PORTION), tensors)


def fit_in_one_portion(nodes_per_graph: Tensor, chosen: Tensor) -> bool:
    """Whether all pairs are one portion."""
    return len(pair_portions(nodes_per_graph, chosen, PORTION)) == 1
