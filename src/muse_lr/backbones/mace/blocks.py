"""Layers of a MACE, built from the blocks of mace-torch, and functions of the edges.

mace-torch takes the element of a node from the largest entry of its composition, which is
discontinuous for coarse nodes. The distance transforms and the pair repulsion of this module are
smooth in the composition and equal those of mace-torch for atoms.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import torch
from ase.data import atomic_numbers, covalent_radii
from torch import Tensor, nn

from muse_lr.backbones.mace.config import DEFAULT_NEIGHBORS, MaceConfig
from muse_lr.backbones.mace.imports import import_mace
from muse_lr.backbones.mace.product import ProductBasis
from muse_lr.structures.graph import Graph

GATES = {"silu": nn.functional.silu, "tanh": torch.tanh, "abs": torch.abs, "none": None}
#: Smallest covalent radius in A. It avoids a division by zero for nodes without composition.
MIN_RADIUS = 0.2


def highest_order(config: MaceConfig, layer: int) -> int:
    """Highest l of the node features of a layer."""
    last = layer == config.layers - 1
    return 0 if last and not config.last_layer_tensors else config.l_max


def feature_irreps(config: MaceConfig, layer: int) -> Any:
    """e3nn irreps of the node features of a layer."""
    import_mace()
    from e3nn import o3

    orders = range(highest_order(config, layer) + 1)
    return o3.Irreps([(config.channels, (order, (-1) ** order)) for order in orders])


def build_layers(config: MaceConfig, n_elements: int) -> dict[str, nn.Module]:
    """Build the blocks of a MACE, with the structure and names of mace-torch.

    ``mace.modules.MACE`` is not used, since it removes the tensors of a one-layer model.
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
        # The first layer has a self connection only if its block is a residual one.
        skip = layer > 0 or "Residual" in name
        products.append(_build_product(config, messages, outgoing, skip, n_elements))
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


def _build_product(
    config: MaceConfig, messages: Any, outgoing: Any, skip: bool, n_elements: int
) -> nn.Module:
    """The product block of a layer, with the product basis of this package."""
    product: Any = import_mace().EquivariantProductBasisBlock(
        node_feats_irreps=messages,
        target_irreps=outgoing,
        correlation=config.correlation,
        use_sc=skip,
        num_elements=n_elements,
        use_agnostic_product=config.agnostic_product,
        use_reduced_cg=False,
    )
    product.symmetric_contractions = ProductBasis(product.symmetric_contractions)
    block: nn.Module = product
    return block


def apply_product(
    block: Any,
    messages: Tensor,
    skip: Tensor | None,
    graph: Graph,
    rows: Sequence[Tensor] | None,
) -> Tensor:
    """Apply a product block of mace-torch, with known nodes of each element.

    ``rows`` are those of :meth:`ProductBasis.forward`.
    """
    composition = graph.composition
    if block.use_agnostic_product:
        composition = torch.ones_like(composition[:, :1])
    products = block.symmetric_contractions(messages, composition, rows, graph.tables.general)
    features: Tensor = block.linear(products)
    return features + skip if block.use_sc and skip is not None else features


def _build_readouts(config: MaceConfig, modules: Any) -> nn.ModuleList:
    """Linear readouts of the layers; the last of several layers has a nonlinear one."""
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

    Agnesi: T(r) = 1 / (1 + a x^q / (1 + x^(q - p))), x = r / r0, with the mean radius r0 of the
    pair. Soft: a tanh switches from 3/4 of the sum of the radii to r. The parameters are those of
    mace-torch.
    """

    radii: Tensor

    def __init__(self, kind: Literal["agnesi", "soft"], elements: tuple[str, ...]) -> None:
        super().__init__()
        self.kind = kind
        self.register_buffer("radii", _element_radii(elements))

    def forward(self, lengths: Tensor, composition: Tensor, edge_index: Tensor) -> Tensor:
        """Transform (n_edges, 1) distances, A, to (n_edges, 1)."""
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
    """ZBL repulsion of mace-torch, with a cutoff at the sum of the covalent radii; eV per node.

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
    """1 at r = 0 and 0 beyond ``cutoff``, where two derivatives are continuous."""
    p, x = power, (r / cutoff).clamp(max=1)
    return 1 - x**p * ((p + 1) * (p + 2) / 2 - p * (p + 2) * x + p * (p + 1) / 2 * x * x)


def mean_radius(composition: Tensor, radii: Tensor) -> Tensor:
    """(n_nodes,) covalent radius of each node in A, averaged over its composition."""
    total = composition.sum(dim=-1).clamp(min=1e-6)
    return ((composition @ radii) / total).clamp(min=MIN_RADIUS)


def _element_radii(elements: tuple[str, ...]) -> Tensor:
    radii = [float(covalent_radii[atomic_numbers[element]]) for element in elements]
    return torch.tensor(radii, dtype=torch.float64)
