r"""Pooling from atoms to coarse nodes and unpooling, with radial functions and l = 1 and 2.

The features of a node are means over the atoms around it with weights G, which do not depend on the
other nodes. What leaves a node is multiplied by its shares S of the atoms.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from muse_lr.math.filtered_sums import FilteredSums
from muse_lr.math.pair_sums import PairSums, arrange_pairs, pair_sums
from muse_lr.math.switching import switch_off
from muse_lr.multiscale.base import Assignment
from muse_lr.multiscale.muse.tensors import (
    RadialGaussians,
    TensorFeatures,
    gather_directed,
    gather_filtered,
    matrices_from_standard,
    matrices_to_standard,
    shortened,
    unit_linear,
)
from muse_lr.structures.host_tables import HostTables

#: Number of radial functions of pooling, unpooling and local tensors.
RADIAL = 8
#: Factor of the local tensors. Without it their initial invariants are about 1e-3, which delays
#: their training.
GAIN = 8.0
#: The same for the tensors of the backbone.
CARRY_GAIN = 3.0


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
    tables : HostTables
        Tables of these edges.
    """

    sender: Tensor
    receiver: Tensor
    directions: Tensor
    lengths: Tensor
    tables: HostTables

    def pairs(self, n_atoms: int) -> PairSums:
        """Sums over the edges, with senders as sources and receivers as targets."""

        def make() -> tuple[Tensor, ...]:
            return arrange_pairs(self.sender, self.receiver, n_atoms, self.tables.general)

        return pair_sums(self.tables.get("pairs of neighbors", make), n_atoms, n_atoms)


class LocalTensors(nn.Module):
    r"""Vectors and matrices that describe the neighborhood of each atom.

    .. math:: v_i = N\Big[g \sum_j A_1(h_j) B_1(r_{ij}) f(r_{ij}) \hat u_{ij}\Big], \qquad
              t_i = N\Big[g \sum_j A_2(h_j) B_2(r_{ij}) f(r_{ij}) Y_2(\hat u_{ij})\Big]

    with :math:`N[x] = x / \sqrt{1 + |x|^2 / 4}` in each channel, since the sums over the neighbors
    are large in dense matter.
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
        pairs = edges.pairs(scalars.shape[0])
        contents = self.content(scalars).chunk(self.l_max, dim=1)
        filters = self.filter.weight.T.chunk(self.l_max, dim=1)
        sums = gather_directed(pairs, pairs.pad(radial), contents, filters, edges.directions)
        vectors = shortened(sums[0])
        return vectors, matrices_from_standard(shortened(sums[1])) if self.l_max > 1 else None


@dataclass(frozen=True)
class AtomTensors:
    """Features of the atoms that are pooled.

    Attributes
    ----------
    scalars : Tensor
        (n, F) scalars of the backbone.
    vectors : Tensor or None
        (n, 3, C_1) vectors of the backbone.
    tensors : Tensor or None
        (n, 5, C_2) components m = -2..2 of the features of the backbone with l = 2.
    local_vectors : Tensor
        (n, 3, C) vectors of :class:`LocalTensors`.
    local_matrices : Tensor or None
        (n, 3, 3, C) matrices of :class:`LocalTensors`.
    """

    scalars: Tensor
    vectors: Tensor | None
    tensors: Tensor | None
    local_vectors: Tensor
    local_matrices: Tensor | None


@dataclass(frozen=True)
class MapSize:
    """Sizes of pooling and unpooling.

    Attributes
    ----------
    scalars : int
        Scalars of the atoms.
    tensors : Mapping
        Channels of the tensors of the backbone by order l >= 1.
    channels, tensor_channels : int
        Channels of the node features: scalars, and vectors and matrices.
    radius : float
        Largest distance between a node and its atoms, A.
    l_max : int
        Highest order of the node features.
    """

    scalars: int
    tensors: Mapping[int, int]
    channels: int
    tensor_channels: int
    radius: float
    l_max: int


class TensorMaps(nn.Module):
    """Base class of pooling and unpooling, with radial weights and linear maps of tensors.

    Parameters
    ----------
    size : MapSize
    """

    def __init__(self, size: MapSize) -> None:
        super().__init__()
        self.l_max = size.l_max
        self.radial = RadialGaussians(RADIAL, size.radius)
        self.first: Tensor
        self.register_buffer("first", torch.eye(self.radial.size)[0], persistent=False)
        self.carries = nn.ModuleDict()
        if size.l_max == 0:
            return
        width = size.tensor_channels
        self.filters = unit_linear(self.radial.size, size.l_max * width, self.radial.power)
        self.mixes = nn.ModuleList(unit_linear(width, width) for _ in range(size.l_max))
        for order in range(1, size.l_max + 1):
            if size.tensors.get(order):
                linear = nn.Linear(size.tensors[order], width, bias=False)
                self.carries[str(order)] = linear

    def weights(self, assignment: Assignment) -> Tensor:
        """(n_blocks, width, K) padded radial functions times ``reach``.

        Pooling and unpooling share them: their weights differ by factors of a node or an atom.
        """
        radial = self.radial(assignment.lengths) * assignment.reach[:, None]
        return assignment.pairs.pad(radial)

    def constant_filter(self, width: int) -> Tensor:
        """(K, width) coefficients of the first radial function alone, which is 1."""
        return self.first[:, None].expand(-1, width)

    def tensor_filters(self) -> tuple[Tensor, ...]:
        """(K, C) coefficients of the radial functions for each order."""
        return self.filters.weight.T.chunk(self.l_max, dim=1)

    def carried(self, order: int, tensors: Tensor | None) -> Tensor | None:
        """Features of the backbone of one order in the channels of the nodes; None without any."""
        if tensors is None or str(order) not in self.carries:
            return None
        mapped: Tensor = self.carries[str(order)](tensors)
        return shortened(CARRY_GAIN * mapped)


class Pooling(TensorMaps):
    r"""Pools the features of the atoms to the nodes.

    .. math::
       H_K = \sum_i G_{iK} (1 + \rho_0(r_{iK})) V h_i, \quad
       V_K = \sum_i G'_{iK} \big[N[W_1 v_i] + \rho_1(r_{iK}) T_1 (a_i v'_i)\big], \quad
       T_K = \sum_i G'_{iK} \big[N[W_2 q_i] + \rho_2(r_{iK}) T_2 (b_i t'_i)\big]

    with the weights G and G' of the mean and of tensors, the tensors v and q of the backbone (q if
    it has any of l = 2), and the local tensors v' and t'. N is the bound of :class:`LocalTensors`.
    The gates a and b are 1 plus a linear function of h. The functions rho are linear combinations
    of a constant and Gaussians of the distance from the node.
    """

    def __init__(self, size: MapSize) -> None:
        super().__init__(size)
        self.value = nn.Linear(size.scalars, size.channels, bias=False)
        self.scalar_filter = nn.Linear(self.radial.size, size.channels, bias=False)
        if size.l_max > 0:
            self.gates = nn.Linear(size.scalars, size.l_max * size.tensor_channels)

    def forward(
        self, atoms: AtomTensors, assignment: Assignment, weights: Tensor
    ) -> TensorFeatures:
        """Compute the features of the nodes; orders above l_max are empty.

        ``weights`` are those of :meth:`weights`.
        """
        values = [self.value(atoms.scalars)]
        constant = self.constant_filter(values[0].shape[1])
        filters = [self.scalar_filter.weight.T + constant]
        if self.l_max > 0:
            gates = (1 + self.gates(atoms.scalars))[:, None].chunk(self.l_max, dim=-1)
            values.append(self.mixes[0](gates[0] * atoms.local_vectors))
        if atoms.local_matrices is not None:
            standard = matrices_to_standard(atoms.local_matrices)  # five components, not nine
            values.append(self.mixes[1](gates[1] * standard))
        if self.l_max > 0:
            filters += self.tensor_filters()
        orders = []
        for order, tensors in ((1, atoms.vectors), (2, atoms.tensors)):
            carried = self.carried(order, tensors)
            if carried is not None:
                orders.append(order)
                values.append(carried)
                filters.append(self.constant_filter(carried.shape[-1]))
        moved = gather_filtered(FilteredSums(assignment.pairs), weights, values, filters)
        for order, carried in zip(orders, moved[1 + self.l_max :], strict=True):
            moved[order] = moved[order] + carried
        scalars = moved[0] / assignment.near[:, None]
        scale = assignment.near.rsqrt()[:, None, None]
        vectors = scalars.new_zeros((len(scalars), 3, 0))
        matrices = scalars.new_zeros((len(scalars), 3, 3, 0))
        if self.l_max > 0:
            vectors = moved[1] * scale
        if self.l_max > 1:
            matrices = matrices_from_standard(moved[2] * scale)
        return TensorFeatures(scalars, vectors, matrices)
