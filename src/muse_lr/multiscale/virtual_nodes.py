r"""Virtual nodes that gather from all atoms of a structure and relay to all of them.

A baseline for the multiscale slot, re-implemented in the manner of RANGE: A. Caruso et al.,
Extending the RANGE of graph neural networks: relaying attention nodes for global encoding,
arXiv:2502.13797. For K nodes with states v of each structure, in rounds,

.. math::
   v_K &\leftarrow v_K + \mathrm{MLP}_K\Big[v, \sum_i \alpha_{iK} V h_i\Big], \qquad
   \alpha_{iK} = \frac{e^{a(q_K \cdot k_i)}}{\sum_j e^{a(q_K \cdot k_j)}} \\
   h_i &\leftarrow h_i + \mathrm{MLP}\Big[h_i, \sum_K \beta_{iK} U v_K\Big], \qquad
   \beta_{iK} = \frac{e^{a(q_i \cdot k_K)}}{\sum_L e^{a(q_i \cdot k_L)}}

in several heads, with queries q and keys k linear in the features or states and the bounded scores
a(x) = b tanh(x / b), for which no largest score need be subtracted.

It departs from RANGE: the nodes see invariants only, no weight depends on the number of atoms, and
the blocks follow the backbone instead of alternating with its layers. By default nodes have no
places either, so that nothing depends on the mean of wrapped coordinates; but then nothing knows
how far apart two fragments are that the backbone does not connect. With ``places`` a node sits at
:math:`R_K = \sum_i \alpha_{iK} r_i` (mean over the heads), and radial functions of
:math:`\sqrt{|r_i - R_K|^2 + 1}` multiply V h_i and U v_K: in open structures only.

What holds and what fails: the attention to atoms is a mean, so that without places supercells and
far copies of one molecule leave the states as they are, and energies are proportional. But what
reaches an atom does not depend on how far away its source is: unlike fragments know of each other
at any distance. It is not size-consistent. With places even like copies know of each other, because
the mean of their places lies between them.
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

#: Scores lie between plus and minus this.
SCORE_BOUND = 5.0
#: Radial functions of the distance from a node, and where the last is centered, A.
RADIAL, REACH = 16, 20.0


class VirtualNodesConfig(MultiscaleConfig):
    """Keys of the virtual nodes."""

    kind: Literal["virtual_nodes"] = "virtual_nodes"
    nodes: int = Field(4, ge=1, description="Virtual nodes of each structure.")
    heads: int = Field(4, ge=1, description="Heads of the attention.")
    channels: int | None = Field(
        None, ge=1, description="Width of a node's state; default the backbone's channels."
    )
    layers: int = Field(2, ge=1, description="Rounds of gathering and relaying.")
    places: bool = Field(
        False,
        description="Whether a node sits at the mean of the atoms that it attends to and sees "
        "their distances; only for structures without periodic directions.",
    )


class VirtualNodes(Multiscale):
    """Virtual nodes; tensors are passed through."""

    Config: ClassVar[type[MultiscaleConfig]] = VirtualNodesConfig
    size_consistent = False

    def __init__(self, config: VirtualNodesConfig, context: MultiscaleContext) -> None:
        super().__init__()
        self.config = config
        self.cutoff = 0.0
        self.features = context.features
        scalars = context.features.scalars
        width = config.channels or context.backbone.channels
        # Whole heads only.
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
            f"structure {int(periodic[0])} is periodic, where virtual nodes have no mean place: "
            "set model.multiscale.places: false"
        )


class Relay(nn.Module):
    """One round: atoms to nodes, nodes among themselves, nodes to atoms.

    Parameters
    ----------
    scalars : int
        Width F of the atoms' features.
    channels : int
        Width C of the nodes' states.
    nodes, heads : int
        K and H; H divides C.
    places : bool
        Whether distances from the nodes matter.
    """

    def __init__(
        self, scalars: int, channels: int, nodes: int, heads: int, places: bool = False
    ) -> None:
        super().__init__()
        self.heads = heads
        self.gather_query = nn.Linear(channels, channels, bias=False)
        self.gather_key = nn.Linear(scalars, channels, bias=False)
        self.gather_value = nn.Linear(scalars, channels, bias=False)
        # The nodes of a structure are told apart: one network sees and updates all of them.
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
        """The features and states after the round.

        Parameters
        ----------
        scalars : Tensor
            (n, F) of the atoms.
        states : Tensor
            (n_graphs, K, C) of the nodes.
        index : Tensor
            (n,) the graph of each atom.
        positions : Tensor
            (n, 3) in A.
        """
        attention = self._attention(scalars, states, index)
        filters = self._filters(attention, index, positions, scalars.dtype, len(states))
        found = self._gather(attention, filters[0], scalars, index, len(states))
        states = states + self.exchange(torch.cat([states, found], 1).flatten(1)).view_as(states)
        message = self._relay(scalars, states, index, filters[1])
        return scalars + self.update(torch.cat([scalars, message], dim=-1)), states

    def _attention(self, scalars: Tensor, states: Tensor, index: Tensor) -> Tensor:
        """(n, K, H) alpha, which sums to 1 over the atoms of a structure."""
        keys = self._split(self.gather_key(scalars))
        queries = self._split(self.gather_query(states))[index]
        weight = torch.exp(self._score(torch.einsum("nkhc,nhc->nkh", queries, keys)))
        total = gather(weight, index, len(states))
        return weight / total[index]

    def _filters(
        self, attention: Tensor, index: Tensor, positions: Tensor, dtype: torch.dtype, size: int
    ) -> tuple[Tensor | float, Tensor | float]:
        """(n, K, H, C / H) factors of what is gathered and what is relayed; 1 without places."""
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
        """(n_graphs, K, C) means of the atoms' values."""
        values = self._split(self.gather_value(scalars))[:, None] * factor
        return gather(attention[..., None] * values, index, size).flatten(2)

    def _relay(
        self, scalars: Tensor, states: Tensor, index: Tensor, factor: Tensor | float
    ) -> Tensor:
        """(n, C) means of the nodes' values."""
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
