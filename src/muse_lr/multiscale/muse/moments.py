r"""Pooling by moments only, a control for the contribution of the local tensors."""

from __future__ import annotations

from torch import Tensor, nn

from muse_lr.multiscale.base import Assignment
from muse_lr.multiscale.muse.pooling import AtomTensors
from muse_lr.multiscale.muse.tensors import TensorFeatures, gather, matrix_of, unit_linear


class MomentPooling(nn.Module):
    r"""Pools atoms to nodes by multipole moments of their scalar features.

    .. math::
       H_K = \sum_i G_{iK} V h_i, \quad
       V_K = \sum_i G_{iK} W_1 h_i \frac{d_{iK}}{R}, \quad
       T_K = \sum_i G_{iK} W_2 h_i Y_2\Big(\frac{d_{iK}}{R}\Big)

    with the weights G of the mean, the vector d from the node to the image of the atom and the
    radius R of the level. The features of a node depend only on the distribution of the scalars
    around it. They contain neither the vectors and matrices of the atoms nor radial functions other
    than powers of the distance. Distant atoms of a chain dominate the second moment, so that it
    does not resolve the orientation of a plane at the end. Unpooling is the same as in the
    hierarchy.

    Parameters
    ----------
    scalars : int
        Width F of the scalar features of the atoms.
    channels, tensor_channels : int
        Channels of the node features: scalars, and vectors and matrices.
    radius : float
        Radius R, A.
    l_max : int
    """

    def __init__(
        self, scalars: int, channels: int, tensor_channels: int, radius: float, l_max: int
    ) -> None:
        super().__init__()
        self.radius, self.l_max = radius, l_max
        self.value = nn.Linear(scalars, channels, bias=False)
        self.strengths = nn.ModuleList(unit_linear(scalars, tensor_channels) for _ in range(l_max))

    def forward(
        self, atoms: AtomTensors, assignment: Assignment, weights: Tensor
    ) -> TensorFeatures:
        """Compute the features of the nodes; orders above l_max are empty.

        The ``weights``, with radial functions, are not used.
        """
        atom, node = assignment.atom, assignment.node
        n_nodes, pull = len(assignment.near), assignment.mean_weight[:, None]
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
