"""The base class of all backbones."""

from __future__ import annotations

from abc import abstractmethod
from typing import ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from muse_lr.config.part import Part
from muse_lr.config.schema import Strict
from muse_lr.structures.geometry import Geometry
from muse_lr.structures.graph import FeatureSize, Graph, NodeFeatures


class BackboneConfig(Strict):
    """Keys that all backbones share."""

    kind: str
    cutoff: float = Field(5.0, gt=0, le=100, description="Cutoff radius of the edges, Å.")
    channels: int = Field(64, ge=1, description="Width of the node features.")
    layers: int = Field(3, ge=1, description="Number of message-passing layers.")
    embed: tuple[Literal["total_charge", "spin"], ...] = Field(
        (),
        description="Properties of the structure that are embedded into the features of its atoms: "
        "total_charge, spin. With any of them the model is not size-consistent.",
    )

    @property
    def weights_file(self) -> str | None:
        """File with pre-trained weights, or None. It has its own elements and statistics."""
        return None

    @property
    def needs_neighbor_count(self) -> bool:
        """Whether ``avg_num_neighbors`` must be filled in from the training data."""
        return False

    def with_weights_file(self, path: str) -> BackboneConfig:
        """A copy of this section with another path of the file with weights."""
        return self.model_copy(update={"file": path})


class Backbone(Part):
    """Computes features and an energy of each node from its local neighborhood.

    A backbone does not depend on charges, cells or boundaries. Its input is a
    :class:`~muse_lr.structures.graph.Graph`, whose nodes are atoms or coarse nodes. It is built
    from its configuration and the model's elements.

    Attributes
    ----------
    config : BackboneConfig
        Complete configuration, from which the backbone is built without any other file.
    atomic_energies : dict of str to float or None
        Energies of the isolated atoms that were used with pre-trained weights, eV.
    cutoff : float
        Longer edges are ignored, A.
    layers : int
        Number of message-passing layers. The receptive field is ``layers * cutoff``.
    scalar_channels : int
        Channels of the invariant output features.
    tensor_channels : dict of int to int
        Channels of the equivariant output features, by order l.
    tensor_parameters : tuple of str
        Names of the parameters that affect only the equivariant output features. They have no
        gradient if no other part of the model reads these features.
    has_charges : bool
        Whether its features include partial charges. Their Coulomb energy is then included in its
        energies.
    """

    Config: ClassVar[type[BackboneConfig]]
    config: BackboneConfig
    atomic_energies: dict[str, float] | None = None
    layers: int
    scalar_channels: int
    tensor_channels: dict[int, int]
    tensor_parameters: tuple[str, ...] = ()
    has_charges: bool = False

    @property
    def features(self) -> FeatureSize:
        """Channels of the output features."""
        return FeatureSize(self.scalar_channels, self.tensor_channels, self.has_charges)

    @classmethod
    def default_elements(cls, config: BackboneConfig) -> tuple[str, ...] | None:
        """Elements of the file with weights, if any; used if the configuration lists none."""
        return None

    def describe(self) -> list[str]:
        """See :meth:`Part.describe`."""
        reach = self.layers * self.cutoff
        return [f"receptive field {self.layers} x {self.cutoff:g} = {reach:g} A"]

    def prepare(self, geometry: Geometry, graph: Graph) -> None:
        """See :meth:`Part.prepare`."""
        graph.within(self.cutoff)

    @abstractmethod
    def forward(
        self, graph: Graph, initial: NodeFeatures | None = None
    ) -> tuple[NodeFeatures, Tensor]:
        """Compute features and energies of the nodes.

        Parameters
        ----------
        graph : Graph
            Edges longer than the cutoff are ignored.
        initial : NodeFeatures, optional
            Features that are added to the initial node embedding: scalars (n_nodes, channels) and
            tensors of the orders that the backbone has.

        Returns
        -------
        features : NodeFeatures
        energies : Tensor
            (n_nodes,) in eV.
        """

    def by_name(
        self, graph: Graph, initial: NodeFeatures | None = None
    ) -> tuple[NodeFeatures, dict[str, Tensor]]:
        """Features, and the energies of :meth:`forward` divided into named terms.

        There is one term, ``backbone``, unless the backbone has several: ``backbone.TERM`` each.
        """
        features, energies = self(graph, initial)
        return features, {"backbone": energies}


class GraphEmbedding(nn.Module):
    """Embeds the total charge and spin of a structure into the features of its atoms.

    h_i += W2 silu(W1 [Q, s - 1]) x (composition gate). The gate is linear in the composition, so
    that the embedding depends on the element. It is zero for neutral singlets.
    """

    def __init__(self, names: tuple[str, ...], n_elements: int, channels: int) -> None:
        super().__init__()
        self.names = names
        self.expand = nn.Linear(len(names), channels, bias=False)
        self.gate = nn.Linear(n_elements, channels)
        self.mix = nn.Linear(channels, channels, bias=False)

    def forward(self, graph: Graph) -> Tensor:
        """(n_nodes, channels) to add to the initial features."""
        values = {"total_charge": graph.total_charge, "spin": graph.spin - 1}
        dtype = graph.composition.dtype
        state = torch.stack([values[name].to(dtype) for name in self.names], dim=-1)
        hidden = nn.functional.silu(self.expand(state))[graph.graph_index]
        return self.mix(hidden * self.gate(graph.composition))
