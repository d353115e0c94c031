"""Layers and embeddings of SO3krates, built from the blocks of so3krates-torch."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from muse_lr.backbones.base import GraphEmbedding
from muse_lr.backbones.so3krates.config import DEFAULT_NEIGHBORS, So3kratesConfig
from muse_lr.backbones.so3krates.imports import import_so3krates
from muse_lr.structures.graph import Graph


def build_layers(config: So3kratesConfig) -> nn.ModuleList:
    """Build the layers, each with Euclidean attention and an interaction block.

    Attention is a product of queries, keys and filters divided by a constant, not a softmax over
    the neighbors. A message that vanishes at the cutoff therefore does not change the others.
    """
    transformer = import_so3krates("blocks.euclidean_transformer").EuclideanTransformer
    return nn.ModuleList(
        transformer(
            degrees=config.degrees,
            num_heads=config.heads,
            num_features=config.channels,
            num_radial_basis_fn=config.num_radial,
            message_normalization="avg_num_neighbors",
            avg_num_neighbors=neighbors_of(config),
            layer_normalization_1=config.normalization != "none",
            layer_normalization_2=config.normalization != "none",
            residual_mlp_1=config.residual_mlp,
            qk_non_linearity=nn.Identity,
        )
        for _ in range(config.layers)
    )


def bounded(transformer: Any, scalars: Tensor, variables: Tensor) -> tuple[Tensor, Tensor]:
    r"""Scale features to a bounded size. The map is smooth and equivariant and keeps zeros.

    .. math::
       h \to h \left(\tfrac12 + \tfrac{1}{2F} \sum_c h_c^2\right)^{-1/2}, \quad
       x_l \to x_l \left(1 + (2l + 1)^{-1/2} |x_l|^2\right)^{-1/2}

    Parameters
    ----------
    transformer : EuclideanTransformer
        Any layer. Its blocks compute the invariants of the variables.
    scalars, variables : Tensor
        (n_nodes, channels) and (n_nodes, sum of 2l + 1).
    """
    attention = transformer.euclidean_attention_block
    size = torch.rsqrt((1 + scalars.square().mean(1, keepdim=True)) / 2)
    sizes = torch.rsqrt(1 + attention.so3_conv_invariants(variables))
    sizes = sizes.repeat_interleave(attention.degree_repeats, dim=1)
    return scalars * size, variables * sizes


def neighbors_of(config: So3kratesConfig) -> float:
    """Mean number of neighbors that messages are divided by."""
    return config.avg_num_neighbors or DEFAULT_NEIGHBORS


class Radial(nn.Module):
    """Gaussians or Bernstein polynomials of the distance, from so3krates-torch."""

    def __init__(self, config: So3kratesConfig) -> None:
        super().__init__()
        self.count = config.num_radial
        self.basis = import_so3krates("blocks.radial_basis").ComputeRBF(
            r_max=config.cutoff,
            num_radial_basis_fn=config.num_radial,
            radial_basis_fn=config.radial_type,
            trainable=False,
        )

    def forward(self, lengths: Tensor) -> Tensor:
        """(n_edges,) in A -> (n_edges, num_radial)."""
        # The block removes the first axis if there is a single edge.
        values: Tensor = self.basis(lengths[:, None])
        return values.reshape(-1, self.count)


class AttentionEmbedding(nn.Module):
    r"""Embeds total charge and spin, distributed over the atoms of a structure by attention.

    .. math::
       h_i \mathrel{+}= a_i v + \mathrm{MLP}(a_i v), \quad a_i = \psi \, b_i / \sum_j b_j, \quad
       b_i = \ln(1 + e^{q_i \cdot k / \sqrt F})

    where psi is the total charge or the number of unpaired electrons, with a separate term for each
    (O. T. Unke et al., Nat. Commun. 12, 7273 (2021)).
    """

    def __init__(self, names: tuple[str, ...], n_elements: int, channels: int) -> None:
        super().__init__()
        block = import_so3krates("blocks.embedding").ChargeSpinEmbedding
        self.parts = nn.ModuleDict(
            {name: block(num_features=channels, num_elements=n_elements) for name in names}
        )

    def forward(self, graph: Graph) -> Tensor:
        """(n_nodes, channels) to add to the initial features."""
        values = {"total_charge": graph.total_charge, "spin": graph.spin - 1}
        return torch.stack(
            [
                part(
                    graph.composition,
                    values[name].to(graph.composition.dtype),
                    graph.graph_index,
                    graph.num_graphs,
                )
                for name, part in self.parts.items()
            ]
        ).sum(0)


def build_embedding(config: So3kratesConfig, n_elements: int) -> nn.Module | None:
    """Build the embedding of total charge and spin; None if nothing is embedded."""
    if not config.embed:
        return None
    kind = GraphEmbedding if config.state_embedding == "gated" else AttentionEmbedding
    return kind(config.embed, n_elements, config.channels)


def correct_contractions(module: nn.Module) -> None:
    """Replace the factors of the invariants by their float64 values.

    The factors are 1 / sqrt(2l + 1) for each component. The blocks compute them in single
    precision, independent of the default dtype.
    """
    contraction = import_so3krates("blocks.so3_conv_invariants").L0Contraction
    for block in module.modules():
        if isinstance(block, contraction):
            sizes = torch.tensor([2 * order + 1 for order in block.degrees])
            block.register_buffer("cg_rep", sizes.double().pow(-0.5).repeat_interleave(sizes))
