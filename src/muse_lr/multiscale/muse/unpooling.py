"""Unpooling: the atoms read the features of their nodes."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from muse_lr.multiscale.base import Assignment
from muse_lr.multiscale.muse.pooling import AtomTensors, MapSize, TensorMaps
from muse_lr.multiscale.muse.tensors import (
    OUTPUT_FACTOR,
    READOUT_INIT_SCALE,
    TensorFeatures,
    act,
    dense,
    inner,
    matrices_from_standard,
    matrices_to_standard,
    matrix_of,
    shortened,
    spread_filtered,
)

#: Factor of the fields in the invariants, which are of order 0.1 at the start.
GAIN = 3.0
#: Factor of the invariants. A larger GAIN instead would make them nonlinear for small fields.
OVERLAP_GAIN = 4.0
#: Initial scale of the update of the atoms. The energy that reads it starts small too.
UPDATE_INIT_SCALE = 0.4


@dataclass(frozen=True)
class Unpooled:
    """Features of the atoms after unpooling.

    Attributes
    ----------
    scalars : Tensor
        (n, F) change of the scalars.
    vectors : Tensor or None
        (n, 3, C) vectors f1 from the nodes.
    matrices : Tensor or None
        (n, 3, 3, C) matrices f2 from the nodes.
    """

    scalars: Tensor
    vectors: Tensor | None
    matrices: Tensor | None


class Unpooling(TensorMaps):
    r"""Returns the features of the nodes to the atoms.

    .. math::
       \Delta h_i = \sum_K S_{iK} U H'_K, \quad
       f^1_i = \sum_K S_{iK} \sigma_1(r_{iK}) W_1 V'_K, \quad
       f^2_i = \sum_K S_{iK} \sigma_2(r_{iK}) W_2 T'_K

    followed by h += Delta h + MLP[h, Delta h, f1.v, f1.v', f2:q, f2:t', f2:Y2(v'), v'.f2.f1], in
    which all tensors are bounded as in :class:`~muse_lr.multiscale.muse.pooling.LocalTensors`.
    """

    def __init__(self, size: MapSize) -> None:
        super().__init__(size)
        scalars = size.scalars
        self.value = nn.Linear(size.channels, scalars, bias=False)
        with torch.no_grad():
            self.value.weight.mul_(READOUT_INIT_SCALE)
        invariants = (0, 1, 4)[size.l_max] + len(self.carries)
        inputs = 2 * scalars + invariants * size.tensor_channels
        self.update = dense(inputs, scalars, scalars, UPDATE_INIT_SCALE)

    def forward(
        self,
        atoms: AtomTensors,
        nodes: TensorFeatures,
        assignment: Assignment,
        weights: Tensor,
        mass: Tensor,
    ) -> Unpooled:
        """Compute the features of the atoms after unpooling.

        ``weights`` are those of :meth:`weights` and ``mass`` (n_nodes,) the masses of the nodes.
        """
        sent = [OUTPUT_FACTOR * self.value(nodes.scalars)]
        filters = [self.constant_filter(sent[0].shape[1])]
        if self.l_max > 0:
            sent.append(self.mixes[0](nodes.vectors))
            filters += self.tensor_filters()
        if self.l_max > 1:
            sent.append(self.mixes[1](matrices_to_standard(nodes.matrices)))
        scales = mass, 1 / assignment.divisor
        delta, *fields = spread_filtered(assignment.pairs, weights, sent, filters, scales)
        invariants: list[Tensor] = []
        field = gradient = None
        if self.l_max > 0:
            field = fields[0]
            bounded_field = shortened(GAIN * field)
            invariants.append(inner(bounded_field, atoms.local_vectors))
            carried = self.carried(1, atoms.vectors)
            if carried is not None:
                invariants.append(inner(bounded_field, carried))
        if self.l_max > 1 and atoms.local_matrices is not None:
            gradient = matrices_from_standard(fields[1])
            bounded_gradient = shortened(GAIN * gradient)
            invariants.append(inner(bounded_gradient, atoms.local_matrices))
            invariants.append(inner(bounded_gradient, matrix_of(atoms.local_vectors)))
            pushed = act(bounded_gradient, atoms.local_vectors)
            invariants.append(inner(pushed, bounded_field))
            carried = self.carried(2, atoms.tensors)
            if carried is not None:
                invariants.append(inner(matrices_to_standard(bounded_gradient), carried))
        invariants = [OVERLAP_GAIN * invariant for invariant in invariants]
        inputs = torch.cat([atoms.scalars, delta, *invariants], dim=-1)
        return Unpooled(delta + self.update(inputs), field, gradient)
