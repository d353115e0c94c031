r"""The SO3krates backbone, with invariant features and Euclidean variables.

J. T. Frank, O. T. Unke, K.-R. Mueller, S. Chmiela, A Euclidean transformer for fast and stable
machine learned force fields, Nat. Commun. 15, 6539 (2024). The blocks are those of so3krates-torch.
The forward pass, the conventions and the model files are implemented here. The envelope is a
quintic polynomial, so that energies are twice continuously differentiable (with the cosine of the
paper they are not). The embedding of the elements is linear in the composition, so that it is
defined for coarse nodes.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from muse_lr.backbones.base import Backbone, BackboneConfig
from muse_lr.backbones.constants import ExactConstants, double_precision
from muse_lr.backbones.so3krates.blocks import (
    Radial,
    bounded,
    build_embedding,
    build_layers,
    correct_contractions,
    neighbors_of,
)
from muse_lr.backbones.so3krates.config import So3kratesConfig
from muse_lr.backbones.so3krates.files import read_so3krates_file, so3krates_file_elements
from muse_lr.backbones.so3krates.imports import import_so3krates
from muse_lr.backbones.so3krates.terms import PhysicalTerms, So3lrTerms
from muse_lr.math.switching import switch_off
from muse_lr.structures.geometry import Geometry
from muse_lr.structures.graph import Graph, NodeFeatures


@dataclass(frozen=True)
class So3kratesOutput:
    """All outputs of SO3krates or SO3LR for the nodes.

    Attributes
    ----------
    features : NodeFeatures
    energies : dict of str to Tensor
        ``local`` and, for SO3LR, ``repulsion``, ``electrostatics`` and ``dispersion``, each
        (n_nodes,) in eV.
    terms : PhysicalTerms or None
        Charges and Hirshfeld ratios of SO3LR.
    """

    features: NodeFeatures
    energies: dict[str, Tensor]
    terms: PhysicalTerms | None


class So3kratesBackbone(ExactConstants, Backbone):
    r"""SO3krates with a twice continuously differentiable cutoff.

    .. math::
       h_i \mathrel{+}= \sum_j \phi_{ij} \alpha_{ij} W h_j, \quad
       x_{il} \mathrel{+}= \sum_j \phi_{ij} \alpha_{ijl} Y_l(\hat r_{ij}), \quad
       \alpha_{ij} = \frac{1}{\bar n} q_i \cdot (w_{ij} \circ k_j)

    where the filters w depend on the distance and on the invariants of x_j - x_i. An exchange
    between h and the invariants of x follows. The features are h and the Euclidean variables x,
    with ``multiplicity`` variables for each l = 1 .. ``l_max``. With ``so3lr`` the energies of the
    physical terms of SO3LR are added to the local energies. Each is a named term of the model's
    energy. The cutoff of the backbone is then the larger of the two cutoffs.

    Parameters
    ----------
    config : So3kratesConfig
        With ``file``, the hyperparameters and weights are read from that file.
    elements : tuple of str
        The elements of the model, in the order of the composition.

    Attributes
    ----------
    config : So3kratesConfig
        Complete configuration, with ``file`` None. The backbone is built from it without the file,
        so that this configuration is the one to store.
    atomic_energies : dict of str to float, or None
        Energy shifts of the file in eV. They are not included in the energies.

    Raises
    ------
    InputError
        If so3krates-torch is not installed or the file cannot be used.
    """

    Config: ClassVar[type[BackboneConfig]] = So3kratesConfig
    config: So3kratesConfig
    element_scales: Tensor

    def __init__(self, config: BackboneConfig, elements: tuple[str, ...]) -> None:
        super().__init__()
        assert isinstance(config, So3kratesConfig)
        file = None
        if config.file is not None:
            file = read_so3krates_file(config, elements)
            config = file.config
        self.config = config
        self.atomic_energies = None if file is None else file.atomic_energies
        self.cutoff = max(config.cutoff, config.so3lr.cutoff if config.so3lr else 0.0)
        self.layers = config.layers
        self.scalar_channels = config.channels
        self.tensor_channels = dict.fromkeys(range(1, config.l_max + 1), config.multiplicity)
        # The uniform shift of the SO3LR charges to the total charge couples all atoms.
        self.size_consistent = not config.embed and config.so3lr is None
        self.has_charges = config.so3lr is not None
        dtype = torch.get_default_dtype()
        with double_precision():
            self._build(config, elements)
        if file is not None:
            self.load_state_dict(file.state_for(list(self.state_dict())))
            # The precision of the file is kept.
            dtype = file.scales.dtype
        self.to(dtype)
        if config.frozen:
            self.requires_grad_(False)

    @classmethod
    def default_elements(cls, config: BackboneConfig) -> tuple[str, ...] | None:
        """The elements in the training data of the file, if known."""
        assert isinstance(config, So3kratesConfig)
        return None if config.file is None else so3krates_file_elements(config)

    def _build(self, config: So3kratesConfig, elements: tuple[str, ...]) -> None:
        self.embedding = nn.Linear(len(elements), config.channels, bias=False)
        # Attention is cubic in the features, so that small features would give vanishing messages.
        nn.init.normal_(self.embedding.weight)
        self.graph_embedding = build_embedding(config, len(elements))
        # The sum of the embeddings is scaled to the variance of one.
        attention = config.embed and config.state_embedding == "attention"
        self.embedding_scale = 1 / math.sqrt(1 + len(config.embed)) if attention else 1.0
        harmonics = import_so3krates("modules.spherical_harmonics")
        self.spherical_harmonics = harmonics.RealSphericalHarmonics(config.degrees)
        self.radial = Radial(config)
        self.transformers = build_layers(config)
        hidden = config.readout_channels or config.channels
        self.readout = nn.Sequential(
            nn.Linear(config.channels, hidden), nn.SiLU(), nn.Linear(hidden, 1)
        )
        self.terms = None if config.so3lr is None else So3lrTerms(config, elements)
        correct_contractions(self)
        self.keep_constants()
        # A file may have a scale of the energy of each element.
        self.register_buffer("element_scales", torch.ones(len(elements)))

    def not_compiled(self) -> None:
        """See :meth:`Part.not_compiled`."""

    def prepare(self, geometry: Geometry, graph: Graph) -> None:
        """See :meth:`Part.prepare`."""
        graph.within(self.config.cutoff)
        if self.terms is not None:
            self.terms.prepare(graph)

    def forward(
        self, graph: Graph, initial: NodeFeatures | None = None
    ) -> tuple[NodeFeatures, Tensor]:
        """See :meth:`Backbone.forward`.

        Tensors of ``initial`` need ``multiplicity`` channels for each order.
        """
        output = self.features_and_terms(graph, initial)
        return output.features, torch.stack(list(output.energies.values())).sum(0)

    def by_name(
        self, graph: Graph, initial: NodeFeatures | None = None
    ) -> tuple[NodeFeatures, dict[str, Tensor]]:
        """Features and energies by name: ``backbone``, or ``backbone.local`` etc. for SO3LR."""
        if self.terms is None:
            return super().by_name(graph, initial)
        output = self.features_and_terms(graph, initial)
        return output.features, {f"backbone.{k}": v for k, v in output.energies.items()}

    def features_and_terms(
        self, graph: Graph, initial: NodeFeatures | None = None
    ) -> So3kratesOutput:
        """Features, each energy by name, and the physical terms."""
        scalars, variables = self._features(graph.within(self.config.cutoff), initial)
        scales = graph.composition @ self.element_scales
        energies = {"local": self.readout(scalars)[:, 0] * scales}
        terms = charges = None
        if self.terms is not None:
            terms = self.terms(graph, scalars)
            energies |= terms.energies
            charges = terms.charges
        features = NodeFeatures(scalars, self._split(variables), charges)
        return So3kratesOutput(features, energies, terms)

    def _features(self, graph: Graph, initial: NodeFeatures | None) -> tuple[Tensor, Tensor]:
        """Invariant features and Euclidean variables of the last layer."""
        scalars = self._initial_scalars(graph)
        # In so3krates-torch, directions point from the sender to the receiver.
        harmonics = self.spherical_harmonics(-graph.edge_vectors)
        envelope = switch_off(graph.edge_lengths, 0.0, self.config.cutoff)
        if graph.edge_weights is not None:
            envelope = envelope * graph.edge_weights
        envelope = envelope[:, None]
        variables = self._initial_variables(graph, harmonics * envelope)
        if initial is not None:
            scalars = scalars + initial.scalars
            variables = variables + self._joined(initial, variables)
        radial = self.radial(graph.edge_lengths)
        senders, receivers = graph.edge_index
        edges = {
            "rbf": radial,
            "senders": senders,
            "receivers": receivers,
            "sh_vectors": harmonics,
            "cutoffs": envelope,
        }
        if self.config.normalization == "bounded":
            scalars, variables = bounded(self.transformers[0], scalars, variables)
        for transformer in self.transformers:
            scalars, variables = transformer(scalars, variables, **edges)
        return scalars, variables

    def _initial_scalars(self, graph: Graph) -> Tensor:
        scalars = self.embedding(graph.composition)
        if self.graph_embedding is not None:
            scalars = scalars + self.graph_embedding(graph)
        return scalars * self.embedding_scale

    def _initial_variables(self, graph: Graph, neighbors: Tensor) -> Tensor:
        """(n_nodes, sum of 2l + 1) sum of the neighbors' harmonics, by their mean number."""
        variables = neighbors.new_zeros((graph.num_nodes, neighbors.shape[1]))
        if self.config.start == "zero":
            return variables
        scaled = neighbors / neighbors_of(self.config)
        return variables.index_add(0, graph.edge_index[1], scaled)

    def _split(self, variables: Tensor) -> dict[int, Tensor]:
        """Euclidean variables by l, (n_nodes, 2l + 1, multiplicity), m = -l..l, polar axis z."""
        count = self.config.multiplicity
        sizes = [(2 * order + 1) * count for order in self.tensor_channels]
        return {
            order: part.reshape(-1, count, 2 * order + 1).transpose(1, 2)
            for order, part in zip(self.tensor_channels, variables.split(sizes, dim=1), strict=True)
        }

    def _joined(self, initial: NodeFeatures, variables: Tensor) -> Tensor:
        """The inverse of :meth:`_split`; missing orders are zero."""
        unknown = sorted(set(initial.tensors) - set(self.tensor_channels))
        if unknown:
            raise ValueError(
                f"initial tensors of l = {unknown} are not supported; l_max is {self.config.l_max}"
            )
        parts = []
        for order, zeros in self._split(torch.zeros_like(variables)).items():
            part = initial.tensors.get(order, zeros)
            if part.shape != zeros.shape:
                raise ValueError(
                    f"initial tensors of l = {order} have the shape {tuple(part.shape)}, but must "
                    f"have the shape {tuple(zeros.shape)}"
                )
            parts.append(part.transpose(1, 2).flatten(1))
        return torch.cat(parts, dim=1)
