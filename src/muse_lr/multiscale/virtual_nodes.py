r"""Virtual nodes, which gather from all atoms of a structure and send messages to all of them.

This is a baseline for multiscale blocks, similar to RANGE: A. Caruso et al., Extending the RANGE of
graph neural networks: relaying attention nodes for global encoding, arXiv:2502.13797. Each
structure has K nodes with states v. A layer computes

.. math::
   v_K &\leftarrow v_K + \mathrm{MLP}_K\Big[v, \sum_i \alpha_{iK} V h_i\Big], \qquad
   \alpha_{iK} = \frac{e^{a(q_K \cdot k_i)}}{\sum_j e^{a(q_K \cdot k_j)}} \\
   h_i &\leftarrow h_i + \mathrm{MLP}\Big[h_i, \sum_K \beta_{iK} U v_K\Big], \qquad
   \beta_{iK} = \frac{e^{a(q_i \cdot k_K)}}{\sum_L e^{a(q_i \cdot k_L)}}

with several heads. Queries q and keys k are linear in the features or states. Scores are bounded,
a(x) = b tanh(x / b), so that the largest score need not be subtracted.

The method differs from RANGE. The nodes use invariants only, no weight depends on the
number of atoms, and the blocks follow the backbone instead of alternating with its layers. By
default, nodes have no positions, so that nothing depends on a mean of wrapped coordinates. The
energy then does not depend on the distance between fragments that the backbone does not connect.
With ``places``, the position of a node is :math:`R_K = \sum_i \alpha_{iK} r_i` (mean over the
heads), and radial functions of :math:`\sqrt{|r_i - R_K|^2 + 1}` multiply V h_i and U v_K. This is
restricted to open structures.

The attention to atoms is a mean. Without places, supercells and distant copies of a molecule thus
have the same states, and energies are proportional to size. The message to an atom does not depend
on the distance of its source, so that different fragments interact at any distance. The block is
therefore not size-consistent. With places, even equal copies interact, since the mean of their
positions lies between them.
"""

from __future__ import annotations

import math
from typing import ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from muse_lr.errors import InputError
from muse_lr.multiscale.base import (
    Multiscale,
    MultiscaleConfig,
    MultiscaleContext,
    MultiscaleInputs,
    MultiscaleOutput,
)
from muse_lr.multiscale.muse.tensors import RadialGaussians, dense, gather
from muse_lr.structures.geometry import Geometry
from muse_lr.structures.graph import NodeFeatures, sum_nodes

#: Bound b of the scores.
SCORE_BOUND = 5.0
#: Number of radial functions of the distance from a node, and the center of the last one, A.
RADIAL, REACH = 16, 20.0


class VirtualNodesConfig(MultiscaleConfig):
    """Configuration of the virtual nodes."""

    kind: Literal["virtual_nodes"] = "virtual_nodes"
    nodes: int = Field(4, ge=1, description="Number of virtual nodes of each structure.")
    heads: int = Field(4, ge=1, description="Number of attention heads.")
    channels: int | None = Field(
        None, ge=1, description="Width of the state of a node; default: channels of the backbone."
    )
    layers: int = Field(2, ge=1, description="Number of layers.")
    places: bool = Field(
        False,
        description="Whether a node has a position, the mean over the atoms weighted by "
        "attention, and messages depend on the distance from it. Only for structures without "
        "periodic directions.",
    )


class VirtualNodes(Multiscale):
    """Virtual nodes connected to all atoms of a structure; tensors are not changed."""

    Config: ClassVar[type[MultiscaleConfig]] = VirtualNodesConfig
    config: VirtualNodesConfig
    size_consistent = False

    def __init__(self, config: VirtualNodesConfig, context: MultiscaleContext) -> None:
        super().__init__()
        self.config = config
        self.cutoff = 0.0
        self.features = context.features
        scalars = context.features.scalars
        width = config.channels or context.backbone.channels
        # Rounded up to a multiple of the number of heads.
        channels = config.heads * -(-width // config.heads)
        self.initial = nn.Parameter(torch.randn(config.nodes, channels))
        self.layers = nn.ModuleList(
            Relay(scalars, channels, config.nodes, config.heads, config.places)
            for _ in range(config.layers)
        )
        self.readout = dense(scalars, 1, scalars)

    def forward(self, inputs: MultiscaleInputs) -> MultiscaleOutput:
        """See :meth:`Multiscale.forward`."""
        features, geometry = inputs.features, inputs.geometry
        if self.config.places:
            _refuse_periodic(geometry)
        scalars = features.scalars
        index, size = geometry.graph_index, geometry.num_graphs
        states = self.initial.expand(size, -1, -1)
        for layer in self.layers:
            scalars, states = layer(scalars, states, index, geometry.positions)
        energy = sum_nodes(self.readout(scalars)[:, 0], index, size)
        return MultiscaleOutput(NodeFeatures(scalars, features.tensors), energy)


def _refuse_periodic(geometry: Geometry) -> None:
    periodic = (~geometry.open_graphs).nonzero()
    if len(periodic):
        raise InputError(
            f"structure {int(periodic[0])} is periodic, where virtual nodes have no "
            "defined position; set model.multiscale.places: false"
        )


class Relay(nn.Module):
    """One layer: messages from atoms to nodes, between nodes, and from nodes to atoms.

    Parameters
    ----------
    scalars : int
        Width F of the features of the atoms.
    channels : int
        Width C of the states of the nodes.
    nodes, heads : int
        Numbers K of nodes and H of heads; H must divide C.
    places : bool
        Whether messages depend on the distances from the nodes.
    """

    def __init__(
        self, scalars: int, channels: int, nodes: int, heads: int, places: bool = False
    ) -> None:
        super().__init__()
        self.heads = heads
        self.gather_query = nn.Linear(channels, channels, bias=False)
        self.gather_key = nn.Linear(scalars, channels, bias=False)
        self.gather_value = nn.Linear(scalars, channels, bias=False)
        # The nodes of a structure are distinguishable, so that one network updates all of them.
        self.exchange = dense(2 * nodes * channels, nodes * channels, channels)
        self.relay_query = nn.Linear(scalars, channels, bias=False)
        self.relay_key = nn.Linear(channels, channels, bias=False)
        self.relay_value = nn.Linear(channels, channels, bias=False)
        self.update = dense(scalars + channels, scalars, scalars)
        self.radial = RadialGaussians(RADIAL, REACH) if places else None
        if self.radial is not None:
            self.filter = nn.Linear(self.radial.size, 2 * channels, bias=False)

    def forward(
        self, scalars: Tensor, states: Tensor, index: Tensor, positions: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Compute the updated features and states.

        Parameters
        ----------
        scalars : Tensor
            (n, F) features of the atoms.
        states : Tensor
            (n_graphs, K, C) states of the nodes.
        index : Tensor
            (n,) graph of each atom.
        positions : Tensor
            (n, 3) positions in A.
        """
        attention = self._attention(scalars, states, index)
        filters = self._filters(attention, index, positions, scalars.dtype, len(states))
        found = self._gather(attention, filters[0], scalars, index, len(states))
        states = states + self.exchange(torch.cat([states, found], 1).flatten(1)).view_as(states)
        message = self._relay(scalars, states, index, filters[1])
        return scalars + self.update(torch.cat([scalars, message], dim=-1)), states

    def _attention(self, scalars: Tensor, states: Tensor, index: Tensor) -> Tensor:
        """(n, K, H) attention alpha, which sums to 1 over the atoms of a structure."""
        keys = self._split(self.gather_key(scalars))
        queries = self._split(self.gather_query(states))[index]
        weight = torch.exp(self._score(torch.einsum("nkhc,nhc->nkh", queries, keys)))
        total = gather(weight, index, len(states))
        return weight / total[index]

    def _filters(
        self, attention: Tensor, index: Tensor, positions: Tensor, dtype: torch.dtype, size: int
    ) -> tuple[Tensor | float, Tensor | float]:
        """(n, K, H, C / H) factors of the messages to and from the nodes; 1 without places."""
        if self.radial is None:
            return 1.0, 1.0
        share = attention.mean(2).to(positions.dtype)[..., None]
        places = gather(share * positions[:, None], index, size)
        squared = (positions[:, None] - places[index]).square().sum(-1)
        distance = (squared + 1).sqrt().to(dtype)
        radial = self.radial(distance.flatten()).unflatten(0, distance.shape)
        first, second = self.filter(radial).chunk(2, dim=-1)
        return 1 + self._split(first), 1 + self._split(second)

    def _gather(
        self, attention: Tensor, factor: Tensor | float, scalars: Tensor, index: Tensor, size: int
    ) -> Tensor:
        """(n_graphs, K, C) weighted means of the values of the atoms."""
        values = self._split(self.gather_value(scalars))[:, None] * factor
        return gather(attention[..., None] * values, index, size).flatten(2)

    def _relay(
        self, scalars: Tensor, states: Tensor, index: Tensor, factor: Tensor | float
    ) -> Tensor:
        """(n, C) weighted means of the values of the nodes."""
        queries = self._split(self.relay_query(scalars))
        keys = self._split(self.relay_key(states))[index]
        values = self._split(self.relay_value(states))[index] * factor
        share = torch.softmax(self._score(torch.einsum("nhc,nkhc->nkh", queries, keys)), dim=1)
        return (share[..., None] * values).sum(1).flatten(1)

    def _split(self, values: Tensor) -> Tensor:
        """(..., C) -> (..., H, C / H)."""
        return values.unflatten(-1, (self.heads, -1))

    def _score(self, product: Tensor) -> Tensor:
        """Bounded scores from products of queries and keys, (n, K, H)."""
        scale = math.sqrt(self.relay_key.out_features / self.heads)
        return SCORE_BOUND * torch.tanh(product / (scale * SCORE_BOUND))
