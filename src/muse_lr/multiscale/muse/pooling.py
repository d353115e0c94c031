r"""Pooling from atoms to coarse nodes and unpooling, with radial functions and l = 1 and 2.

Pooling sums over :math:`G_{iK} = S_{iK} / m_K`, so that the features of a node remain finite as its
mass vanishes. All outputs of a node are multiplied by its mass.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from muse_lr.math.harmonics import solid_harmonics
from muse_lr.math.switching import switch_off
from muse_lr.multiscale.base import Assignment
from muse_lr.multiscale.muse.tensors import (
    READOUT_INIT_SCALE,
    RadialGaussians,
    TensorFeatures,
    act,
    dense,
    gather,
    inner,
    matrices_from_standard,
    matrices_to_standard,
    matrix_of,
    sum_outer,
    unit_linear,
)

#: Number of radial functions of pooling, unpooling and local tensors.
RADIAL = 8
#: Factor of the local tensors. Without it their initial invariants are about 1e-3, which delays
#: their training.
GAIN = 12.0


@dataclass(frozen=True)
class Edges:
    """Edges of the atoms within the local cutoff.

    Attributes
    ----------
    sender, receiver : Tensor
        (n_edges,) atoms.
    directions : Tensor
        (n_edges, 3) unit vectors from the receiver to the sender.
    lengths : Tensor
        (n_edges,) distances in A.
    """

    sender: Tensor
    receiver: Tensor
    directions: Tensor
    lengths: Tensor


class LocalTensors(nn.Module):
    r"""Vectors and matrices that describe the neighborhood of each atom.

    .. math:: v_i = g \sum_j A_1(h_j) B_1(r_{ij}) f(r_{ij}) \hat u_{ij}, \qquad
              t_i = g \sum_j A_2(h_j) B_2(r_{ij}) f(r_{ij}) Y_2(\hat u_{ij})
    """

    def __init__(self, scalars: int, channels: int, cutoff: float, l_max: int) -> None:
        super().__init__()
        self.cutoff, self.l_max = cutoff, l_max
        self.radial = RadialGaussians(RADIAL, cutoff)
        self.content = nn.Linear(scalars, l_max * channels, bias=False)
        self.filter = nn.Linear(self.radial.size, l_max * channels, bias=False)

    def forward(self, scalars: Tensor, edges: Edges) -> tuple[Tensor, Tensor | None]:
        """Compute vectors (n, 3, C) and, for l_max 2, matrices (n, 3, 3, C)."""
        envelope = GAIN * switch_off(edges.lengths, 0.0, self.cutoff)
        radial = self.radial(edges.lengths) * envelope[:, None]
        contents = self.content(scalars).chunk(self.l_max, dim=-1)
        filters = self.filter.weight.chunk(self.l_max)
        sums = []
        for order, (content, weight) in enumerate(zip(contents, filters, strict=True), start=1):
            weights = content.index_select(0, edges.sender) * (radial @ weight.T)
            harmonics = edges.directions if order == 1 else solid_harmonics(2, edges.directions)
            sums.append(sum_outer(harmonics, weights, edges.receiver, len(scalars)))
        return sums[0], matrices_from_standard(sums[1]) if self.l_max > 1 else None


@dataclass(frozen=True)
class AtomTensors:
    """Features of the atoms that are pooled.

    Attributes
    ----------
    scalars : Tensor
        (n, F) scalars of the backbone.
    vectors : Tensor or None
        (n, 3, C_b) vectors of the backbone.
    local_vectors : Tensor
        (n, 3, C) vectors of :class:`LocalTensors`.
    local_matrices : Tensor or None
        (n, 3, 3, C) matrices of :class:`LocalTensors`.
    """

    scalars: Tensor
    vectors: Tensor | None
    local_vectors: Tensor
    local_matrices: Tensor | None


class TensorMaps(nn.Module):
    """Base class of pooling and unpooling, with radial weights and linear maps of tensors.

    Parameters
    ----------
    radius : float
        Largest distance between a node and its atoms, A.
    l_max : int
        Highest order of the node features.
    """

    def __init__(self, radius: float, l_max: int) -> None:
        super().__init__()
        self.l_max = l_max
        self.radial = RadialGaussians(RADIAL, radius)
        self.carry: nn.Linear | None = None

    def add_maps(self, vectors: int, tensor_channels: int) -> None:
        """Add a radial weight and a map for each order, and ``carry`` for backbone vectors."""
        if self.l_max == 0:
            return
        size = self.l_max * tensor_channels
        self.filters = unit_linear(self.radial.size, size, self.radial.power)
        self.mixes = nn.ModuleList(
            unit_linear(tensor_channels, tensor_channels) for _ in range(self.l_max)
        )
        if vectors:
            self.carry = nn.Linear(vectors, tensor_channels, bias=False)

    def weights(self, radial: Tensor) -> list[Tensor]:
        """(p, C) weights of each order from the radial functions of the pairs, (p, K)."""
        return [radial @ weight.T for weight in self.filters.weight.chunk(self.l_max)]


class Pooling(TensorMaps):
    r"""Pools the features of the atoms to the nodes.

    .. math::
       H_K = \sum_i G_{iK} (1 + \rho_0(r_{iK})) V h_i, \quad
       V_K = \sum_i G_{iK} [W_1 v_i + \rho_1(r_{iK}) T_1 (a_i v'_i)], \quad
       T_K = \sum_i G_{iK} \rho_2(r_{iK}) T_2 (b_i t_i)

    with the vectors v of the backbone and the local tensors v' and t. The gates a and b are 1 plus
    a linear function of h. The functions rho are linear combinations of a constant and Gaussians of
    the distance from the node.
    """

    def __init__(
        self,
        scalars: int,
        vectors: int,
        channels: int,
        tensor_channels: int,
        radius: float,
        l_max: int,
    ) -> None:
        super().__init__(radius, l_max)
        self.value = nn.Linear(scalars, channels, bias=False)
        self.scalar_filter = nn.Linear(self.radial.size, channels, bias=False)
        if l_max > 0:
            self.gates = nn.Linear(scalars, l_max * tensor_channels)
        self.add_maps(vectors, tensor_channels)

    def forward(self, atoms: AtomTensors, assignment: Assignment, n_nodes: int) -> TensorFeatures:
        """Compute the features of the nodes; orders above l_max are empty."""
        atom, node = assignment.atom, assignment.node
        pull = assignment.normalized_share[:, None]
        radial = self.radial(assignment.lengths) * pull
        value = self.value(atoms.scalars).index_select(0, atom)
        scalars = gather(value * (pull + self.scalar_filter(radial)), node, n_nodes)
        if self.l_max == 0:
            empty = scalars.new_zeros((n_nodes, 3, 0))
            return TensorFeatures(scalars, empty, empty[:, None])
        gates = (1 + self.gates(atoms.scalars)).chunk(self.l_max, dim=-1)
        filters = self.weights(radial)
        local = self.mixes[0](gates[0][:, None] * atoms.local_vectors)
        moved = filters[0][:, None] * local.index_select(0, atom)
        if self.carry is not None and atoms.vectors is not None:
            carried = self.carry(atoms.vectors).index_select(0, atom)
            moved = moved + pull[:, None] * carried
        vectors = gather(moved, node, n_nodes)
        if self.l_max == 1 or atoms.local_matrices is None:
            return TensorFeatures(scalars, vectors, vectors.new_zeros((n_nodes, 3, 3, 0)))
        # With five components instead of nine.
        local = self.mixes[1](gates[1][:, None] * matrices_to_standard(atoms.local_matrices))
        moved = filters[1][:, None] * local.index_select(0, atom)
        matrices = matrices_from_standard(gather(moved, node, n_nodes))
        return TensorFeatures(scalars, vectors, matrices)


@dataclass(frozen=True)
class Unpooled:
    """Features of the atoms after unpooling.

    Attributes
    ----------
    scalars : Tensor
        (n, F) updated scalars.
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

    followed by h += Delta h + MLP[h, Delta h, f1.v, f1.v', f2:t, f2:Y2(v'), v'.f2.v'].
    """

    def __init__(
        self,
        scalars: int,
        vectors: int,
        channels: int,
        tensor_channels: int,
        radius: float,
        l_max: int,
    ) -> None:
        super().__init__(radius, l_max)
        self.value = nn.Linear(channels, scalars, bias=False)
        with torch.no_grad():
            self.value.weight.mul_(READOUT_INIT_SCALE)
        self.add_maps(vectors, tensor_channels)
        invariants = (0, 1, 4)[l_max] + (self.carry is not None)
        self.update = dense(
            2 * scalars + invariants * tensor_channels, scalars, scalars, READOUT_INIT_SCALE
        )

    def forward(
        self, atoms: AtomTensors, nodes: TensorFeatures, assignment: Assignment
    ) -> Unpooled:
        """Compute the features of the atoms after unpooling."""
        atom, node = assignment.atom, assignment.node
        share = assignment.share[:, None]
        count = len(atoms.scalars)
        value = self.value(nodes.scalars).index_select(0, node)
        delta = gather(value * share, atom, count)
        inputs = [atoms.scalars, delta]
        field = gradient = None
        if self.l_max > 0:
            radial = self.radial(assignment.lengths) * share
            filters = self.weights(radial)
            vectors = self.mixes[0](nodes.vectors).index_select(0, node)
            field = gather(filters[0][:, None] * vectors, atom, count)
            inputs.append(inner(field, atoms.local_vectors))
            if self.carry is not None and atoms.vectors is not None:
                inputs.append(inner(field, self.carry(atoms.vectors)))
        if self.l_max > 1 and atoms.local_matrices is not None:
            matrices = self.mixes[1](matrices_to_standard(nodes.matrices)).index_select(0, node)
            gradient = gather(filters[1][:, None] * matrices, atom, count)
            gradient = matrices_from_standard(gradient)
            inputs.append(inner(gradient, atoms.local_matrices))
            inputs.append(inner(gradient, matrix_of(atoms.local_vectors)))
            pushed = act(gradient, atoms.local_vectors)
            assert field is not None
            inputs.append(inner(pushed, field))
        scalars = atoms.scalars + delta + self.update(torch.cat(inputs, dim=-1))
        return Unpooled(scalars, field, gradient)
