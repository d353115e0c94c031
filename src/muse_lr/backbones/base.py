"""The protocol that every backbone keeps."""

from __future__ import annotations

from abc import abstractmethod
from typing import ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from muse_lr.config.part import Part
from muse_lr.config.schema import Strict
from muse_lr.structures.graph import FeatureSize, Graph, NodeFeatures


class BackboneConfig(Strict):
    """Keys that all backbones share."""

    kind: str
    cutoff: float = Field(5.0, gt=0, le=100, description="Cutoff radius of the edges, A.")
    channels: int = Field(64, ge=1, description="Width of the node features.")
    layers: int = Field(3, ge=1, description="Number of message-passing layers.")
    embed: tuple[Literal["total_charge", "spin"], ...] = Field(
        (),
        description="What of each structure is embedded into its atoms' features: total_charge, "
        "spin. Such a model is not size-consistent.",
    )

    @property
    def weights_file(self) -> str | None:
        """File that the weights come from, which has its own elements and statistics."""
        return None

    @property
    def needs_neighbor_count(self) -> bool:
        """Whether ``avg_num_neighbors`` must be filled in from the training data."""
        return False

    def with_weights_file(self, path: str) -> BackboneConfig:
        """The same section with another path of the file of weights."""
        return self.model_copy(update={"file": path})


class Backbone(Part):
    """Local description of nodes: features and an energy per node.

    A backbone knows nothing of charges, cells or boundaries: it sees a
    :class:`~muse_lr.structures.graph.Graph`, whose nodes may be atoms or coarse nodes, and is built
    from its configuration and the model's elements.

    Attributes
    ----------
    config : BackboneConfig
        What rebuilds this backbone without any other file.
    atomic_energies : dict of str to float or None
        Energies of the isolated atoms that belong to the weights, eV.
    cutoff : float
        Radius beyond which edges do not act, A.
    layers : int
        Message-passing layers; the receptive field is ``layers * cutoff``.
    scalar_channels : int
        Channels of the invariant output features.
    tensor_channels : dict of int to int
        l -> channels of the equivariant output features.
    tensor_parameters : tuple of str
        Names of the parameters that act on the equivariant output features alone, and so are idle
        where nobody reads those.
    has_charges : bool
        Whether its features have partial charges, whose Coulomb energy is in its energies.
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
        """Elements where the configuration names none: those of a file of weights, if any."""
        return None

    def describe(self) -> list[str]:
        """See :meth:`Part.describe`."""
        reach = self.layers * self.cutoff
        return [f"receptive field {self.layers} x {self.cutoff:g} = {reach:g} A"]

    @abstractmethod
    def forward(
        self, graph: Graph, initial: NodeFeatures | None = None
    ) -> tuple[NodeFeatures, Tensor]:
        """Features and energies of the nodes.

        Parameters
        ----------
        graph : Graph
            Edges longer than the cutoff are ignored.
        initial : NodeFeatures, optional
            Features added to the initial node embedding: scalars (n_nodes, channels) and tensors
            of the orders that the backbone carries.

        Returns
        -------
        features : NodeFeatures
        energies : Tensor
            (n_nodes,) in eV.
        """

    def by_name(
        self, graph: Graph, initial: NodeFeatures | None = None
    ) -> tuple[NodeFeatures, dict[str, Tensor]]:
        """The same with the energies as named parts of the model, which sum to those of forward.

        One part, ``backbone``, unless the backbone has terms of its own: ``backbone.TERM`` each.
        """
        features, energies = self(graph, initial)
        return features, {"backbone": energies}


class GraphEmbedding(nn.Module):
    """Embed total charge and spin of a structure into its atoms' features.

    h_i += W2 silu(W1 [Q, s - 1]) x (composition gate), where the gate lets elements take up the
    state differently. A neutral singlet adds nothing, so that the reference state costs nothing.
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
