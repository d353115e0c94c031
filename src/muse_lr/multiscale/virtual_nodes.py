r"""Virtual nodes that gather from all atoms of a structure and relay to all of them.

A baseline for the multiscale slot, re-implemented in the manner of RANGE: A. Caruso et al., Extending
the RANGE of graph neural networks: relaying attention nodes for global encoding, arXiv:2502.13797.
For K nodes with states v of each structure, in rounds,

.. math::
   v_K &\leftarrow v_K + \mathrm{MLP}_K\Big[v, \sum_i \alpha_{iK} V h_i\Big], \qquad
   \alpha_{iK} = \frac{e^{a(q_K \cdot k_i)}}{\sum_j e^{a(q_K \cdot k_j)}} \\
   h_i &\leftarrow h_i + \mathrm{MLP}\Big[h_i, \sum_K \beta_{iK} U v_K\Big], \qquad
   \beta_{iK} = \frac{e^{a(q_i \cdot k_K)}}{\sum_L e^{a(q_i \cdot k_L)}}

in several heads, with queries q and keys k linear in the features or states and the bounded scores
a(x) = b tanh(x / b), for which no largest score need be subtracted.

It departs from RANGE: the nodes have no places, and see invariants only, so that nothing depends on
the mean of wrapped coordinates; no weight depends on the number of atoms; the blocks follow the
backbone instead of alternating with its layers.

What holds and what fails: the attention to atoms is a mean, so that supercells and far copies of
one molecule leave the states as they are and energies are proportional. But what reaches an atom
does not depend on how far away its source is: unlike fragments know of each other at any distance.
It is not size-consistent, and no global node without a place could be.
"""

from __future__ import annotations

import math
from typing import ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from muse_lr.geometry import Geometry
from muse_lr.graph import Graph, NodeFeatures, sum_nodes
from muse_lr.multiscale.base import (
    Multiscale,
    MultiscaleConfig,
    MultiscaleContext,
    MultiscaleOutput,
)
from muse_lr.multiscale.tensors import dense, gather

#: Scores lie between plus and minus this.
SCORE_BOUND = 5.0


class VirtualNodesConfig(MultiscaleConfig):
    """Keys of the virtual nodes."""

    kind: Literal["virtual_nodes"] = "virtual_nodes"
    nodes: int = Field(4, ge=1, description="Virtual nodes of each structure.")
    heads: int = Field(4, ge=1, description="Heads of the attention.")
    channels: int | None = Field(
        None, ge=1, description="Width of a node's state; default the backbone's channels."
    )
    layers: int = Field(2, ge=1, description="Rounds of gathering and relaying.")


class VirtualNodes(Multiscale):
    """Virtual nodes without places; tensors are passed through."""

    Config: ClassVar[type[MultiscaleConfig]] = VirtualNodesConfig
    size_consistent: ClassVar[bool] = False

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
            Relay(scalars, channels, config.nodes, config.heads) for _ in range(config.layers)
        )
        self.readout = dense(scalars, 1, scalars)

    def forward(self, features: NodeFeatures, graph: Graph, geometry: Geometry) -> MultiscaleOutput:
        """See :meth:`Multiscale.forward`."""
        scalars = features.scalars
        index, size = geometry.graph_index, geometry.num_graphs
        states = self.initial.expand(size, -1, -1)
        for layer in self.layers:
            scalars, states = layer(scalars, states, index)
        energy = sum_nodes(self.readout(scalars)[:, 0], index, size)
        return MultiscaleOutput(NodeFeatures(scalars, features.tensors), energy)


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
    """

    def __init__(self, scalars: int, channels: int, nodes: int, heads: int) -> None:
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

    def forward(self, scalars: Tensor, states: Tensor, index: Tensor) -> tuple[Tensor, Tensor]:
        """Of features (n, F) and states (n_graphs, K, C) the new ones; index (n,) names graphs."""
        found = self._gather(scalars, states, index)
        states = states + self.exchange(torch.cat([states, found], 1).flatten(1)).view_as(states)
        message = self._relay(scalars, states, index)
        return scalars + self.update(torch.cat([scalars, message], dim=-1)), states

    def _gather(self, scalars: Tensor, states: Tensor, index: Tensor) -> Tensor:
        """(n_graphs, K, C) means of the atoms' values."""
        keys, values = (
            self._split(self.gather_key(scalars)),
            self._split(self.gather_value(scalars)),
        )
        queries = self._split(self.gather_query(states))[index]
        weight = torch.exp(self._score(torch.einsum("nkhc,nhc->nkh", queries, keys)))
        total = gather(weight, index, len(states))
        # Each atom weighs at least this much: the limit acts on empty structures only.
        share = weight / total.clamp(min=math.exp(-SCORE_BOUND))[index]
        return gather(share[..., None] * values[:, None], index, len(states)).flatten(2)

    def _relay(self, scalars: Tensor, states: Tensor, index: Tensor) -> Tensor:
        """(n, C) means of the nodes' values."""
        queries = self._split(self.relay_query(scalars))
        keys = self._split(self.relay_key(states))[index]
        values = self._split(self.relay_value(states))[index]
        share = torch.softmax(self._score(torch.einsum("nhc,nkhc->nkh", queries, keys)), dim=1)
        return (share[..., None] * values).sum(1).flatten(1)

    def _split(self, values: Tensor) -> Tensor:
        """(..., C) -> (..., H, C / H)."""
        return values.unflatten(-1, (self.heads, -1))

    def _score(self, product: Tensor) -> Tensor:
        """Bounded scores from products of queries and keys, (n, K, H)."""
        scale = math.sqrt(self.relay_key.out_features / self.heads)
        return SCORE_BOUND * torch.tanh(product / (scale * SCORE_BOUND))
