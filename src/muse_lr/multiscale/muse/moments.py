r"""Pooling by moments alone: a control, which shows what the atoms' local tensors are worth."""

from __future__ import annotations

from torch import nn

from muse_lr.multiscale.muse.assignment import Assignment
from muse_lr.multiscale.muse.pooling import AtomTensors
from muse_lr.multiscale.muse.tensors import TensorFeatures, gather, matrix_of, unit_linear


class MomentPooling(nn.Module):
    r"""Atoms to nodes by multipole moments of their scalar features.

    .. math::
       H_K = \sum_i G_{iK} V h_i, \quad
       V_K = \sum_i G_{iK} W_1 h_i \frac{d_{iK}}{R}, \quad
       T_K = \sum_i G_{iK} W_2 h_i Y_2\Big(\frac{d_{iK}}{R}\Big)

    with :math:`G_{iK} = S_{iK} / m_K`, d the vector from the node to the atom's image and R the
    radius of the level. A node learns how the scalars are spread about it and no more: nothing of
    the atoms' own vectors and matrices, and no radial function but the powers of the distance.
    Atoms far along a chain dominate the second moment, which hides a plane at its end; unpooling is
    that of the hierarchy.

    Parameters
    ----------
    scalars : int
        Width F of the atoms' features.
    channels, tensor_channels : int
        Of the nodes.
    radius : float
        R, A.
    l_max : int
    """

    def __init__(
        self, scalars: int, channels: int, tensor_channels: int, radius: float, l_max: int
    ) -> None:
        super().__init__()
        self.radius, self.l_max = radius, l_max
        self.value = nn.Linear(scalars, channels, bias=False)
        self.strengths = nn.ModuleList(unit_linear(scalars, tensor_channels) for _ in range(l_max))

    def forward(self, atoms: AtomTensors, assignment: Assignment, n_nodes: int) -> TensorFeatures:
        """Features of the nodes; orders beyond l_max are zero."""
        atom, node = assignment.atom, assignment.node
        pull = assignment.normalized_share[:, None]
        scalars = gather(self.value(atoms.scalars).index_select(0, atom) * pull, node, n_nodes)
        vectors = scalars.new_zeros((n_nodes, 3, 0))
        matrices = scalars.new_zeros((n_nodes, 3, 3, 0))
        place = (assignment.vectors / self.radius)[:, :, None]
        if self.l_max > 0:
            strength = self.strengths[0](atoms.scalars).index_select(0, atom) * pull
            vectors = gather(strength[:, None] * place, node, n_nodes)
        if self.l_max > 1:
            strength = self.strengths[1](atoms.scalars).index_select(0, atom) * pull
            matrices = gather(strength[:, None, None] * matrix_of(place), node, n_nodes)
        return TensorFeatures(scalars, vectors, matrices)
