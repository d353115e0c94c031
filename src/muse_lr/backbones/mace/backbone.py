"""The MACE backbone, built from hyperparameters or from a saved energy model.

The blocks are those of mace-torch, except the product basis. The forward pass, the conventions and
the model files are implemented here (I. Batatia et al., NeurIPS 2022, arXiv:2206.07697).
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from muse_lr.backbones.base import Backbone, BackboneConfig, GraphEmbedding
from muse_lr.backbones.constants import ExactConstants
from muse_lr.backbones.mace.blocks import (
    DistanceTransform,
    PairRepulsion,
    apply_product,
    build_layers,
    highest_order,
)
from muse_lr.backbones.mace.config import MaceConfig
from muse_lr.backbones.mace.files import (
    MaceFile,
    effective_config,
    mace_file_elements,
    read_mace_file,
)
from muse_lr.backbones.mace.imports import float64_construction, traced_harmonics
from muse_lr.errors import InputError
from muse_lr.math.harmonics import tensors_from_e3nn, tensors_to_e3nn
from muse_lr.structures.geometry import Geometry
from muse_lr.structures.graph import Graph, NodeFeatures


class MaceBackbone(ExactConstants, Backbone):
    """Node features and energies of a MACE.

    The scalars of all layers are concatenated, as are the tensors of each l. The energies include
    the scale and shift of the file, but not the atomic energies E0.

    Parameters
    ----------
    config : MaceConfig
        With ``file``, the hyperparameters and weights are read from that file.
    elements : tuple of str
        The elements of the model. With ``file``, they are a subset of its elements.

    Attributes
    ----------
    config : MaceConfig
        Complete configuration, with ``file`` None. The backbone is built from it without the file,
        so that this configuration is the one to store.
    atomic_energies : dict of str to float, or None
        Atomic energies E0 of the file in eV.

    Raises
    ------
    InputError
        If the file cannot be used.
    """

    Config: ClassVar[type[BackboneConfig]] = MaceConfig
    config: MaceConfig
    scale: Tensor
    shift: Tensor
    node_embedding: nn.Module
    radial_embedding: Any
    spherical_harmonics: nn.Module
    interactions: nn.ModuleList
    products: nn.ModuleList
    readouts: nn.ModuleList

    def __init__(self, config: BackboneConfig, elements: tuple[str, ...]) -> None:
        super().__init__()
        assert isinstance(config, MaceConfig)
        file: MaceFile | None = None
        if config.file is not None:
            file = read_mace_file(config.file, config.trust, config.head, elements)
            config = effective_config(config, file.config, config.file)
        self.config = config
        self.elements = elements
        self.atomic_energies = None if file is None else file.atomic_energies
        self.cutoff = config.cutoff
        self.layers = config.layers
        self.size_consistent = not config.embed
        orders = [highest_order(config, layer) for layer in range(config.layers)]
        self.scalar_channels = config.layers * config.channels
        self.tensor_channels = {
            order: config.channels * sum(highest >= order for highest in orders)
            for order in range(1, max(orders) + 1)
        }
        with float64_construction():
            self._build(config, elements)
        self.keep_constants(_is_learned)
        dtype = torch.get_default_dtype()
        if file is not None:
            self._load(file, str(file.path))
            # The precision of the file is kept.
            dtype = next(v.dtype for v in file.state.values() if v.is_floating_point())
        self.to(dtype)
        if config.frozen:
            for name, parameter in self.named_parameters():
                parameter.requires_grad_(name.startswith("embedding."))
        last = f"products.{config.layers - 1}.symmetric_contractions.contractions."
        self.tensor_parameters = tuple(
            name
            for name, _ in self.named_parameters()
            if name.startswith(last) and not name.startswith(f"{last}0.")
        )

    @classmethod
    def default_elements(cls, config: BackboneConfig) -> tuple[str, ...] | None:
        """The elements of the file, if any."""
        assert isinstance(config, MaceConfig)
        return None if config.file is None else mace_file_elements(config.file, config.trust)

    def _build(self, config: MaceConfig, elements: tuple[str, ...]) -> None:
        for name, module in build_layers(config, len(elements)).items():
            self.add_module(name, module)
        self.distance_transform = (
            None
            if config.distance_transform is None
            else DistanceTransform(config.distance_transform, elements)
        )
        self.pair_repulsion = (
            PairRepulsion(config.num_polynomial_cutoff, elements) if config.pair_repulsion else None
        )
        self.embedding = (
            GraphEmbedding(config.embed, len(elements), config.channels) if config.embed else None
        )
        self.register_buffer("scale", torch.ones(()))
        self.register_buffer("shift", torch.zeros(()))
        for module in self.modules():
            # Otherwise e3nn compiles its generated code to TorchScript when a model is copied.
            if hasattr(module, "__codegen__"):
                vars(module)["__codegen__"] = []

    def _load(self, file: MaceFile, where: str) -> None:
        """Load the weights of a file and compare the energies with those of mace-torch."""
        state = file.state_for(self._constants)
        own = {name for name in self.state_dict() if not name.startswith("embedding.")}
        if own != state.keys():
            difference = ", ".join(sorted(own ^ state.keys())[:5])
            raise InputError(
                f"{where}: this architecture is not supported; the weights differ in {difference}"
            )
        self.load_state_dict(state, strict=False)
        with torch.no_grad():
            _, energies = self(file.reference_graph)
        # The constants of the file may be in single precision, those of this backbone are not.
        if not torch.allclose(energies, file.reference_energies, rtol=1e-4, atol=1e-4):
            worst = (energies - file.reference_energies).abs().max()
            raise InputError(
                f"{where}: does not give mace-torch's own energies after conversion (largest "
                f"difference {worst:.1e} eV); this kind of MACE is not supported"
            )

    def forward(
        self, graph: Graph, initial: NodeFeatures | None = None
    ) -> tuple[NodeFeatures, Tensor]:
        """See :meth:`Backbone.forward`.

        The input of the first layer has invariants only. Tensors of ``initial`` are therefore added
        to its output. They need ``channels`` channels for each l up to ``l_max``.
        """
        graph = graph.within(self.cutoff)
        composition, edge_index = graph.composition, graph.edge_index
        # In mace-torch, edge vectors point from the sender to the receiver.
        edge_attributes = self.spherical_harmonics(-graph.edge_vectors)
        lengths = graph.edge_lengths.unsqueeze(-1)
        edge_features, factors = self._radial(graph, lengths)

        features = self.node_embedding(composition)
        if self.embedding is not None:
            features = features + self.embedding(graph)
        if initial is not None:
            features = features + initial.scalars

        rows = self._rows_of_elements(graph)
        outputs: list[Tensor] = []
        for layer, (interaction, product) in enumerate(
            zip(self.interactions, self.products, strict=True)
        ):
            messages, skip = interaction(
                node_attrs=composition,
                node_feats=features,
                edge_attrs=edge_attributes,
                edge_feats=edge_features,
                edge_index=edge_index,
                cutoff=factors,
            )
            features = apply_product(product, messages, skip, graph, rows)
            if layer == 0 and initial is not None and initial.tensors:
                features = features + self._initial_tensors(initial)
            outputs.append(features)

        energies = self._readout(outputs)
        if self.pair_repulsion is not None:
            energies = energies + self.pair_repulsion(
                lengths, composition, edge_index, graph.edge_weights
            )
        return self._collect(outputs), self.scale * energies + self.shift

    def not_compiled(self) -> None:
        """See :meth:`Part.not_compiled`."""

    def tracing(self) -> AbstractContextManager[None]:
        """See :meth:`Part.tracing`."""
        return traced_harmonics()

    def prepare(self, geometry: Geometry, graph: Graph) -> None:
        """See :meth:`Part.prepare`."""
        self._rows_of_elements(graph.within(self.cutoff))

    def _rows_of_elements(self, graph: Graph) -> tuple[Tensor, ...] | None:
        """(n_e,) nodes of each element of the product basis; None for nodes that may be mixed."""
        if not graph.one_hot:
            return None

        def make() -> tuple[Tensor, ...]:
            if self.config.agnostic_product:
                return (torch.arange(graph.num_nodes, device=graph.composition.device),)
            return tuple((column != 0).nonzero()[:, 0] for column in graph.composition.unbind(1))

        return graph.tables.get("nodes of each element", make)

    def _radial(self, graph: Graph, lengths: Tensor) -> tuple[Tensor, Tensor | None]:
        """Radial features of the edges, and factors of their messages."""
        basis, cutoff = self.radial_embedding.bessel_fn, self.radial_embedding.cutoff_fn
        envelope = cutoff(lengths)
        if self.distance_transform is not None:
            lengths = self.distance_transform(lengths, graph.composition, graph.edge_index)
        features = basis(lengths)
        # The blocks multiply messages and their density normalization by these factors.
        factors = None if graph.edge_weights is None else graph.edge_weights.unsqueeze(-1)
        if self.config.apply_cutoff:
            return features * envelope, factors
        return features, envelope if factors is None else envelope * factors

    def _initial_tensors(self, initial: NodeFeatures) -> Tensor:
        """(n_nodes, irreps of the first layer) initial features with l > 0; zeros for l = 0."""
        highest = highest_order(self.config, 0)
        unknown = sorted(set(initial.tensors) - set(range(1, highest + 1)))
        if unknown:
            raise ValueError(
                f"initial tensors of l = {unknown} are not supported; the first layer has "
                f"l <= {highest}"
            )
        parts = [torch.zeros_like(initial.scalars)]
        for order in range(1, highest + 1):
            part = initial.tensors.get(order)
            if part is None:
                width = self.config.channels * (2 * order + 1)
                parts.append(initial.scalars.new_zeros(initial.scalars.shape[0], width))
            else:
                parts.append(tensors_to_e3nn(part, order))
        return torch.cat(parts, dim=-1)

    def _readout(self, outputs: list[Tensor]) -> Tensor:
        """Sum of the readouts of the layers, (n_nodes,)."""
        read = outputs[-len(self.readouts) :]
        parts = [
            readout(features)[:, 0] for readout, features in zip(self.readouts, read, strict=True)
        ]
        return torch.stack(parts).sum(dim=0)

    def _collect(self, outputs: list[Tensor]) -> NodeFeatures:
        """Features of all layers, with the components in the order of this package."""
        channels = self.config.channels
        tensors: dict[int, list[Tensor]] = {order: [] for order in self.tensor_channels}
        for layer, features in enumerate(outputs):
            for order in range(1, highest_order(self.config, layer) + 1):
                start, stop = channels * order**2, channels * (order + 1) ** 2
                tensors[order].append(tensors_from_e3nn(features[:, start:stop], order))
        return NodeFeatures(
            torch.cat([features[:, :channels] for features in outputs], dim=-1),
            {order: torch.cat(parts, dim=-1) for order, parts in tensors.items()},
        )


def _is_learned(buffer: str) -> bool:
    """Whether a buffer is part of the weights; the radial basis of a model may be trained."""
    return buffer in ("scale", "shift") or (
        buffer.startswith("radial_embedding.bessel_fn.")
        and (buffer.endswith(("bessel_weights", "gaussian_weights")))
    )
