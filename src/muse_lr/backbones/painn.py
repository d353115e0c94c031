"""PaiNN: equivariant message passing with scalars and vectors.

K. T. Schuett, O. T. Unke, M. Gastegger, Equivariant message passing for the prediction of tensorial
properties and molecular spectra, ICML 2021, arXiv:2102.03150. This implementation follows its
equations, with three changes. The envelope is a quintic polynomial, so that energies are twice
continuously differentiable (with the usual cosine they are not). The readout includes invariants of
the vectors, so that the vectors of the last layer are trained. The embedding of the elements is
linear in the composition, so that it is defined for coarse nodes.
"""

from __future__ import annotations

import math
from typing import ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from muse_lr.backbones.base import Backbone, BackboneConfig, GraphEmbedding
from muse_lr.math.filtered_sums import AnySums, filtered_sums
from muse_lr.math.multipoles import from_standard_order, to_standard_order
from muse_lr.math.radial import BesselBasis
from muse_lr.math.switching import switch_off
from muse_lr.structures.graph import Graph, NodeFeatures

#: Softening of vector norms. Vectors vanish at sites with inversion symmetry, where the curvature
#: of the norm, which enters Hessians, is 1 / sqrt(NORM_EPSILON).
NORM_EPSILON = 1e-2
#: Default number of radial functions for each Å of the cutoff.
RADIAL_DENSITY = 1.6


class PaiNNConfig(BackboneConfig):
    """Configuration of the PaiNN backbone."""

    renamed: ClassVar[dict[str, str]] = {"radial": "num_radial"}

    kind: Literal["painn"] = "painn"
    num_radial: int | None = Field(
        None,
        ge=1,
        description="Number of radial Bessel functions. Default: 1.6 for each Å of the cutoff. "
        "With many more, the energy is arbitrary between the distances of the training data.",
    )


class PaiNN(Backbone):
    """PaiNN with a twice continuously differentiable cutoff.

    Parameters
    ----------
    config : PaiNNConfig
    elements : tuple of str
        The elements of the model, in the order of the composition.
    """

    Config: ClassVar[type[BackboneConfig]] = PaiNNConfig

    def __init__(self, config: PaiNNConfig, elements: tuple[str, ...]) -> None:
        super().__init__()
        num_radial = config.num_radial or math.ceil(RADIAL_DENSITY * config.cutoff)
        self.config = config.model_copy(update={"num_radial": num_radial})
        self.cutoff = config.cutoff
        self.layers = config.layers
        self.scalar_channels = config.channels
        self.tensor_channels = {1: config.channels}
        self.size_consistent = not config.embed
        channels = config.channels
        self.embedding = nn.Linear(len(elements), channels, bias=False)
        self.graph_embedding = (
            GraphEmbedding(config.embed, len(elements), channels) if config.embed else None
        )
        self.radial = BesselBasis(num_radial, config.cutoff)
        self.messages = nn.ModuleList([Message(channels, num_radial) for _ in range(config.layers)])
        self.updates = nn.ModuleList([Update(channels) for _ in range(config.layers)])
        self.readout = Readout(channels)

    def not_compiled(self) -> None:
        """See :meth:`Part.not_compiled`."""

    def forward(
        self, graph: Graph, initial: NodeFeatures | None = None
    ) -> tuple[NodeFeatures, Tensor]:
        """See :meth:`Backbone.forward`."""
        graph = graph.within(self.cutoff)
        scalars = self.embedding(graph.composition)  # (N, F)
        vectors = None  # (N, 3, F)
        if self.graph_embedding is not None:
            scalars = scalars + self.graph_embedding(graph)
        if initial is not None:
            scalars = scalars + initial.scalars
            if 1 in initial.tensors:
                vectors = from_standard_order(initial.tensors[1])
        sums = filtered_sums(graph.edge_index, graph.num_nodes)
        radial, directed = (sums.pad(weights) for weights in self._weights(graph))
        for message, update in zip(self.messages, self.updates, strict=True):
            scalars, vectors = message(scalars, vectors, sums, radial, directed)
            scalars, vectors = update(scalars, vectors)
        assert vectors is not None  # there is at least one layer
        energies = self.readout(scalars, vectors)
        return NodeFeatures(scalars, {1: to_standard_order(vectors)}), energies

    def _weights(self, graph: Graph) -> tuple[Tensor, Tensor]:
        """(E, R + 1) radial functions, and (E, 3 (R + 1)) radial functions times directions.

        The last radial function is constant. Its weights are the bias of the filters.
        """
        lengths = graph.edge_lengths
        envelope = switch_off(lengths, 0.0, self.cutoff)
        if graph.edge_weights is not None:
            envelope = envelope * graph.edge_weights
        radial = torch.cat([self.radial(lengths), torch.ones_like(lengths[:, None])], dim=1)
        radial = radial * envelope[:, None]
        directions = graph.edge_vectors / lengths[:, None]
        return radial, (directions[:, :, None] * radial[:, None]).flatten(1)


class Message(nn.Module):
    r"""Message layer: sums filtered scalars, directions and filtered vectors over the neighbors.

    The filters are linear in the radial functions, so that

    .. math:: \sum_j x_{jc} \sum_r W_{cr} R_r(r_{ij}) = \sum_r W_{cr} \sum_j R_r(r_{ij})\, x_{jc}.

    The inner sums are matrix products of few radial functions and many channels, and no array of
    all edges and channels is formed (:mod:`muse_lr.math.filtered_sums`).
    """

    def __init__(self, channels: int, radial: int) -> None:
        super().__init__()
        self.context = nn.Sequential(
            nn.Linear(channels, channels), nn.SiLU(), nn.Linear(channels, 3 * channels)
        )
        self.filter = nn.Linear(radial, 3 * channels)

    def forward(
        self,
        scalars: Tensor,
        vectors: Tensor | None,
        sums: AnySums,
        radial: Tensor,
        directed: Tensor,
    ) -> tuple[Tensor, Tensor]:
        """Add the messages of the neighbors to (N, F) scalars and (N, 3, F) vectors.

        Parameters
        ----------
        scalars, vectors : Tensor
            No vectors are vectors of zeros, as in the first layer.
        sums : AnySums
            Sums over edges, from senders to receivers.
        radial, directed : Tensor
            Weights of :meth:`PaiNN._weights`, padded for the sums.
        """
        weights = torch.cat([self.filter.weight, self.filter.bias[:, None]], dim=1)  # (3F, R + 1)
        for_scalars, along_edge, for_vectors = weights.T.chunk(3, dim=1)  # (R + 1, F)
        plain, turned, gate = self.context(scalars).chunk(3, dim=1)
        moved = sums(directed, turned, along_edge)  # (N, 3, F)
        if vectors is None:
            return scalars + sums(radial, plain, for_scalars)[:, 0], moved
        values = torch.cat([plain, (gate[:, None] * vectors).flatten(1)], dim=1)  # (N, 4F)
        filters = torch.cat([for_scalars, *[for_vectors] * 3], dim=1)
        summed = sums(radial, values, filters)[:, 0]
        to_scalars, carried = summed.tensor_split([scalars.shape[1]], dim=1)
        return scalars + to_scalars, vectors + moved + carried.view_as(vectors)


class Update(nn.Module):
    """Update layer: mixes the scalars and vectors of each node."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.mix = nn.Linear(channels, 2 * channels, bias=False)
        self.gates = nn.Sequential(
            nn.Linear(2 * channels, channels), nn.SiLU(), nn.Linear(channels, 3 * channels)
        )

    def forward(self, scalars: Tensor, vectors: Tensor) -> tuple[Tensor, Tensor]:
        first, second = self.mix(vectors).chunk(2, dim=-1)  # (N, 3, F) each
        gates = self.gates(torch.cat([scalars, soft_norm(second)], dim=-1))
        scale, inner, shift = gates.chunk(3, dim=-1)
        return (
            scalars + shift + inner * (first * second).sum(1),
            vectors + scale[:, None] * first,
        )


class Readout(nn.Module):
    """Energy of each node from its scalars and the norms of its mixed vectors."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        hidden = max(channels // 2, 1)
        self.mix = nn.Linear(channels, hidden, bias=False)
        self.network = nn.Sequential(
            nn.Linear(channels + hidden, hidden), nn.SiLU(), nn.Linear(hidden, 1)
        )

    def forward(self, scalars: Tensor, vectors: Tensor) -> Tensor:
        """(N, F), (N, 3, F) -> (N,) in eV."""
        invariants = soft_norm(self.mix(vectors))
        return self.network(torch.cat([scalars, invariants], dim=-1))[:, 0]


def soft_norm(vectors: Tensor) -> Tensor:
    """sqrt(|v|^2 + eps) - sqrt(eps): (N, 3, F) -> (N, F), smooth at zero."""
    return (vectors.square().sum(1) + NORM_EPSILON).sqrt() - math.sqrt(NORM_EPSILON)
