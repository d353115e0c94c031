"""Configuration of a MACE, its layers made of mace-torch's blocks, and what acts along edges.

mace-torch looks an edge's elements up by the largest entry of the composition, which jumps for
coarse nodes; the distance transforms and the pair repulsion here are smooth in the composition
and equal mace-torch's for atoms.
"""

from __future__ import annotations

from typing import Any, ClassVar, Literal, Self

import torch
from ase.data import atomic_numbers, covalent_radii
from pydantic import Field, model_validator
from torch import Tensor, nn

from muse_lr.backbones.base import BackboneConfig
from muse_lr.backbones.mace.imports import import_mace
from muse_lr.backbones.mace.product import ProductBasis

Interaction = Literal[
    "RealAgnosticInteractionBlock",
    "RealAgnosticResidualInteractionBlock",
    "RealAgnosticDensityInteractionBlock",
    "RealAgnosticDensityResidualInteractionBlock",
    "RealAgnosticAttResidualInteractionBlock",
    "RealAgnosticResidualNonLinearInteractionBlock",
]
GATES = {"silu": nn.functional.silu, "tanh": torch.tanh, "abs": torch.abs, "none": None}
#: Smallest covalent radius in A: keeps a node without composition away from a division by zero.
MIN_RADIUS = 0.2


#: Mean number of neighbors where neither a file nor training data says it.
DEFAULT_NEIGHBORS = 16.0


class MaceConfig(BackboneConfig):
    """MACE from hyperparameters, or from a saved mace-torch model (``file``)."""

    renamed: ClassVar[dict[str, str]] = {"max_l": "l_max"}

    kind: Literal["mace"] = "mace"
    layers: int = Field(2, ge=1, description="Number of message-passing layers.")
    file: str | None = Field(
        None,
        description="A model saved by mace-torch, pre-trained ones included. All other keys but "
        "embed then come from the file.",
    )
    trust: bool = Field(
        False,
        description="Whether `file` may be loaded: it is a pickle, and loading it runs its code.",
    )
    head: str | None = Field(None, description="Head of a multi-head `file`; default: the first.")
    l_max: int = Field(1, ge=0, le=3, description="Highest order of the node features.")
    max_ell: int = Field(3, ge=0, le=6, description="Highest spherical harmonic of the edges.")
    correlation: int = Field(3, ge=1, le=4, description="Body order of a layer, minus one.")
    num_radial: int = Field(8, ge=1, description="Number of radial basis functions.")
    num_polynomial_cutoff: int = Field(
        5, ge=2, description="Power p of the cutoff polynomial, which is twice continuous for any."
    )
    radial_type: Literal["bessel", "gaussian"] = Field("bessel", description="Radial basis.")
    distance_transform: Literal["agnesi", "soft"] | None = Field(
        None, description="Transform of the distances by the covalent radii of the pair."
    )
    radial_mlp: tuple[int, ...] = Field(
        (64, 64, 64), description="Hidden widths of the network of the radial weights."
    )
    apply_cutoff: bool = Field(
        True, description="Whether the cutoff acts on the radial basis; else on the messages."
    )
    interaction_first: Interaction = Field(
        "RealAgnosticResidualInteractionBlock", description="Interaction block of the first layer."
    )
    interaction: Interaction = Field(
        "RealAgnosticResidualInteractionBlock", description="Interaction block of the others."
    )
    edge_irreps_first: str | None = Field(
        None, description="Irreps of the first layer's messages; default: those of the features."
    )
    edge_irreps: str | None = Field(
        None, description="Irreps of the other layers' messages; default: those of the features."
    )
    avg_num_neighbors: float | None = Field(
        None,
        gt=0,
        description="Mean number of neighbors, by which messages are divided; default: that of "
        "the training data, or 16 for a model that is built without data.",
    )
    agnostic_product: bool = Field(
        False, description="Whether the product basis shares its weights among elements."
    )
    last_layer_tensors: bool = Field(
        True, description="Whether the last layer keeps its features with l > 0."
    )
    readout: Literal["NonLinearReadoutBlock", "NonLinearBiasReadoutBlock"] = Field(
        "NonLinearReadoutBlock", description="Readout of the last layer; the others are linear."
    )
    readout_channels: int = Field(16, ge=1, description="Hidden width of the last readout.")
    last_readout_only: bool = Field(
        False, description="Whether only the last layer contributes to the energy."
    )
    gate: Literal["silu", "tanh", "abs", "none"] = Field(
        "silu", description="Activation of the last readout."
    )
    pair_repulsion: bool = Field(
        False, description="Whether mace's ZBL pair repulsion is part of the backbone's energy."
    )

    @property
    def weights_file(self) -> str | None:
        """See :attr:`BackboneConfig.weights_file`."""
        return self.file

    @property
    def needs_neighbor_count(self) -> bool:
        """See :attr:`BackboneConfig.needs_neighbor_count`."""
        return self.avg_num_neighbors is None and self.file is None

    @model_validator(mode="after")
    def _orders_can_be_made(self) -> Self:
        if self.l_max > self.max_ell:
            raise ValueError(
                f"l_max is {self.l_max}, but edges have harmonics up to max_ell = {self.max_ell}"
            )
        return self


def highest_order(config: MaceConfig, layer: int) -> int:
    """Highest l of the node features that a layer makes."""
    last = layer == config.layers - 1
    return 0 if last and not config.last_layer_tensors else config.l_max


def feature_irreps(config: MaceConfig, layer: int) -> Any:
    """e3nn irreps of the node features that a layer makes."""
    import_mace()
    from e3nn import o3

    orders = range(highest_order(config, layer) + 1)
    return o3.Irreps([(config.channels, (order, (-1) ** order)) for order in orders])


def build_layers(config: MaceConfig, n_elements: int) -> dict[str, nn.Module]:
    """The blocks of a MACE, wired as mace-torch wires them, by mace-torch's names.

    Layers are built here, not by ``mace.modules.MACE``, which never keeps tensors in the only
    layer of a one-layer model.
    """
    modules = import_mace()
    from e3nn import o3

    attributes = o3.Irreps([(n_elements, (0, 1))])
    scalars = o3.Irreps([(config.channels, (0, 1))])
    harmonics = o3.Irreps.spherical_harmonics(config.max_ell)
    messages = (harmonics * config.channels).sort()[0].simplify()

    interactions, products = nn.ModuleList(), nn.ModuleList()
    incoming = scalars
    for layer in range(config.layers):
        name = config.interaction if layer else config.interaction_first
        edge_irreps = config.edge_irreps if layer else config.edge_irreps_first
        outgoing = feature_irreps(config, layer)
        interactions.append(
            modules.interaction_classes[name](
                node_attrs_irreps=attributes,
                node_feats_irreps=incoming,
                edge_attrs_irreps=harmonics,
                edge_feats_irreps=o3.Irreps([(config.num_radial, (0, 1))]),
                target_irreps=messages,
                hidden_irreps=outgoing,
                avg_num_neighbors=config.avg_num_neighbors or DEFAULT_NEIGHBORS,
                edge_irreps=None if edge_irreps is None else o3.Irreps(edge_irreps),
                radial_MLP=list(config.radial_mlp),
            )
        )
        product = modules.EquivariantProductBasisBlock(
            node_feats_irreps=messages,
            target_irreps=outgoing,
            correlation=config.correlation,
            # The first layer has a self connection only if its block is a residual one.
            use_sc=layer > 0 or "Residual" in name,
            num_elements=n_elements,
            use_agnostic_product=config.agnostic_product,
            use_reduced_cg=False,
        )
        product.symmetric_contractions = ProductBasis(product.symmetric_contractions)
        products.append(product)
        incoming = outgoing
    return {
        "node_embedding": modules.LinearNodeEmbeddingBlock(attributes, scalars),
        "radial_embedding": modules.RadialEmbeddingBlock(
            r_max=config.cutoff,
            num_bessel=config.num_radial,
            num_polynomial_cutoff=config.num_polynomial_cutoff,
            radial_type=config.radial_type,
        ),
        "spherical_harmonics": o3.SphericalHarmonics(
            harmonics, normalize=True, normalization="component"
        ),
        "interactions": interactions,
        "products": products,
        "readouts": _build_readouts(config, modules),
    }


def _build_readouts(config: MaceConfig, modules: Any) -> nn.ModuleList:
    """A linear readout of each layer but the last of several, which has a network."""
    from e3nn import o3

    energy = o3.Irreps("1x0e")
    readouts = nn.ModuleList()
    for layer in range(config.layers):
        irreps = feature_irreps(config, layer)
        if layer and layer == config.layers - 1:
            hidden = o3.Irreps([(config.readout_channels, (0, 1))])
            readout = modules.readout_classes[config.readout]
            readouts.append(readout(irreps, hidden, GATES[config.gate], energy, 1))
        elif not config.last_readout_only or config.layers == 1:
            readouts.append(modules.LinearReadoutBlock(irreps, energy))
    return readouts


class DistanceTransform(nn.Module):
    """Distances scaled by the covalent radii of a pair, as in ACEpotentials and mace-torch.

    Agnesi: T(r) = 1 / (1 + a x^q / (1 + x^(q - p))), x = r / r0, r0 the mean radius of the pair;
    soft: from 3/4 of the sum of the radii to r through a tanh. Parameters are mace-torch's.
    """

    radii: Tensor

    def __init__(self, kind: Literal["agnesi", "soft"], elements: tuple[str, ...]) -> None:
        super().__init__()
        self.kind = kind
        self.register_buffer("radii", _element_radii(elements))

    def forward(self, lengths: Tensor, composition: Tensor, edge_index: Tensor) -> Tensor:
        """(n_edges, 1) to (n_edges, 1)."""
        radius = mean_radius(composition, self.radii)
        pair = (radius[edge_index[0]] + radius[edge_index[1]]).unsqueeze(-1)
        if self.kind == "agnesi":
            a, q, p = 1.0805, 0.9183, 4.5791
            x = lengths / (pair / 2)
            return 1 / (1 + a * x**q / (1 + x ** (q - p)))
        inner, outer = 3 / 4 * pair, 4 / 3 * pair
        steepness = 4.0 / (outer - inner)
        step = (1 + torch.tanh(steepness * (lengths - (inner + outer) / 2))) / 2
        return inner + (lengths - inner) * step


class PairRepulsion(nn.Module):
    """mace-torch's ZBL repulsion, cut off at the sum of the covalent radii; eV per node.

    V = 14.3996 Z_u Z_v / r phi(r / a), a = 0.4543 0.529 / (Z_u^0.3 + Z_v^0.3), half to each node.
    """

    radii: Tensor
    numbers: Tensor

    def __init__(self, power: int, elements: tuple[str, ...]) -> None:
        super().__init__()
        self.power = power
        numbers = [atomic_numbers[element] for element in elements]
        self.register_buffer("numbers", torch.tensor(numbers, dtype=torch.float64))
        self.register_buffer("radii", _element_radii(elements))

    def forward(
        self, lengths: Tensor, composition: Tensor, edge_index: Tensor, weights: Tensor | None
    ) -> Tensor:
        """Energies of the nodes, (n_nodes,), from ``lengths`` (n_edges, 1)."""
        r = lengths.squeeze(-1)
        sender, receiver = edge_index
        charge = composition @ self.numbers
        screening = charge.clamp(min=1) ** 0.3
        x = r * (screening[sender] + screening[receiver]) / (0.4543 * 0.529)
        phi = (
            0.1818 * torch.exp(-3.2 * x)
            + 0.5099 * torch.exp(-0.9423 * x)
            + 0.2802 * torch.exp(-0.4028 * x)
            + 0.02817 * torch.exp(-0.2016 * x)
        )
        radius = mean_radius(composition, self.radii)
        edge = 0.5 * 14.3996 * charge[sender] * charge[receiver] / r * phi
        edge = edge * polynomial_cutoff(r, radius[sender] + radius[receiver], self.power)
        if weights is not None:
            edge = edge * weights
        return edge.new_zeros(composition.shape[0]).index_add(0, receiver, edge)


def polynomial_cutoff(r: Tensor, cutoff: Tensor, power: int) -> Tensor:
    """1 at r = 0, 0 from ``cutoff`` on, with two continuous derivatives there."""
    p, x = power, (r / cutoff).clamp(max=1)
    return 1 - x**p * ((p + 1) * (p + 2) / 2 - p * (p + 2) * x + p * (p + 1) / 2 * x * x)


def mean_radius(composition: Tensor, radii: Tensor) -> Tensor:
    """Covalent radius of each node in A, the mean over its composition, (n_nodes,)."""
    total = composition.sum(dim=-1).clamp(min=1e-6)
    return ((composition @ radii) / total).clamp(min=MIN_RADIUS)


def _element_radii(elements: tuple[str, ...]) -> Tensor:
    radii = [float(covalent_radii[atomic_numbers[element]]) for element in elements]
    return torch.tensor(radii, dtype=torch.float64)
