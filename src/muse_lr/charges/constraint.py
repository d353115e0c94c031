"""Constraints of the charges to exact totals, of the charge or of each spin channel."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from muse_lr.structures.graph import sum_nodes

if TYPE_CHECKING:
    from muse_lr.structures.batch import AtomsBatch


def spread(values: Tensor, weights: Tensor, totals: Tensor, graph_index: Tensor) -> Tensor:
    r"""Distribute the missing part of the total of each graph over its atoms.

    .. math:: q_i = v_i + f_i \left(T - \sum_j v_j\right), \qquad f_i = w_i / \sum_j w_j.

    The sums are computed in float64, so that float64 values have the total to rounding error.

    Parameters
    ----------
    values : Tensor
        (n_atoms, ...) v.
    weights : Tensor
        (n_atoms, ...) w > 0, in any unit.
    totals : Tensor
        (n_graphs, ...) T.
    graph_index : Tensor
        (n_atoms,) graph of each atom.

    Returns
    -------
    Tensor
        (n_atoms, ...) q, in the precision of ``values``.
    """
    count = totals.shape[0]
    missing = totals.to(torch.float64) - sum_nodes(values, graph_index, count)
    # Graphs without atoms have no weights.
    share = missing / sum_nodes(weights, graph_index, count).clamp(
        min=torch.finfo(torch.float64).tiny
    )
    moved = weights.to(torch.float64) * share[graph_index]
    return values + moved.to(values.dtype)


def spin_totals(batch: AtomsBatch) -> Tensor:
    """(n_graphs, 2) totals of the two spin channels, (Q +- (2S + 1 - 1)) / 2, float64.

    Their sum is the total charge, their difference the number of unpaired electrons (the
    convention of MACE-POLAR-1, arXiv:2602.19411).
    """
    unpaired = batch.spin - 1
    return torch.stack([batch.total_charge + unpaired, batch.total_charge - unpaired], dim=-1) / 2
