r"""Ewald message passing: learned filters of the structure factors of the atomic features.

This is an implementation of A. Kosmala, J. Gasteiger, N. Gao, S. Guennemann, Ewald-based long-range
message passing for molecular graphs, ICML 2023, arXiv:2303.04791, as a baseline for multiscale
blocks. With the transformed features x of the atoms,

.. math:: s_k = \sum_j x_j e^{-i k \cdot r_j}, \qquad
          M_i = \frac{1}{V} \sum_k f(|k|) \mathrm{Re}[s_k e^{i k \cdot r_i}], \qquad
          h_i \leftarrow h_i + \mathrm{MLP}(M_i)

It differs from the paper, whose results depend on the choice of the cell or of the axes:

- In crystals, f is a function of \|k\|. The sum includes all reciprocal lattice vectors inside a
  constant, smooth spherical cutoff, with k = 0, and is divided by the volume. (The paper learns a
  number for each triple of indices and excludes k = 0.) By Poisson summation this is the
  convolution with one kernel F over all periodic images, :math:`\sum_{jL} F(|r_{ij} + L|) x_j`,
  where F is the Fourier transform of f. It is equal for equivalent cells and supercells, and smooth
  under strain.
- Molecules are summed with F directly, which is the limit of an infinite box. The paper uses a grid
  of k along the principal axes of each molecule. It is discontinuous when the order of the axes
  changes, and it couples distant fragments. Here f is smooth at k = 0 as a function of the vector,
  so that F has a finite range (:class:`~muse_lr.multiscale.ewald_sums.FilterBasis`).
- Slabs are summed over the images of their plane, in a cell with a gap larger than the range of F.
- The blocks follow the backbone instead of alternating with its layers.

Time scales with the square of the number of atoms of a structure. So does memory, until the sum is
computed in portions (:mod:`muse_lr.electrostatics.portions`). Sparse cells are summed over pairs
with F (:mod:`muse_lr.structures.sparse`).
"""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from muse_lr.multiscale.base import (
    Multiscale,
    MultiscaleConfig,
    MultiscaleContext,
    MultiscaleInputs,
    MultiscaleOutput,
)
from muse_lr.multiscale.ewald_portions import convolutions
from muse_lr.multiscale.ewald_sums import Convolution, FilterBasis
from muse_lr.multiscale.muse.tensors import dense
from muse_lr.structures.graph import NodeFeatures, sum_nodes


class EwaldMPConfig(MultiscaleConfig):
    """Configuration of Ewald message passing."""

    renamed: ClassVar[dict[str, str]] = {"radial": "num_radial"}

    kind: Literal["ewald_mp"] = "ewald_mp"
    channels: int | None = Field(
        None, ge=1, description="Width of the messages; default: channels of the backbone."
    )
    layers: int = Field(2, ge=1, description="Number of message-passing layers.")
    reciprocal_cutoff: float = Field(
        1.4, gt=0, le=10, description="Cutoff of the filter of |k|, 1/Å."
    )
    num_radial: int = Field(
        16,
        ge=2,
        description="Number of Gaussians in the filter of |k|. More Gaussians have a finer "
        "resolution in k and a longer range.",
    )


class EwaldMessagePassing(Multiscale):
    """Ewald message passing of the scalar features; tensors are not changed."""

    Config: ClassVar[type[MultiscaleConfig]] = EwaldMPConfig
    size_consistent = True

    def __init__(self, config: EwaldMPConfig, context: MultiscaleContext) -> None:
        super().__init__()
        self.config = config
        self.cutoff = 0.0
        self.features = context.features
        scalars = context.features.scalars
        channels = config.channels or context.backbone.channels
        self.basis = FilterBasis(config.num_radial, config.reciprocal_cutoff)
        self.layers = nn.ModuleList(
            EwaldLayer(scalars, channels, config.num_radial) for _ in range(config.layers)
        )
        self.readout = dense(scalars, 1, scalars)

    def forward(self, inputs: MultiscaleInputs) -> MultiscaleOutput:
        """See :meth:`Multiscale.forward`."""
        features, geometry = inputs.features, inputs.geometry
        scalars = features.scalars
        sums = convolutions(geometry, self.basis, scalars.dtype)
        for layer in self.layers:
            scalars = layer(scalars, sums)
        energy = sum_nodes(self.readout(scalars)[:, 0], geometry.graph_index, geometry.num_graphs)
        return MultiscaleOutput(NodeFeatures(scalars, features.tensors), energy)


class EwaldLayer(nn.Module):
    """Layer that computes h_i + MLP(M_i), with the filtered messages M of x = MLP(h)."""

    def __init__(self, scalars: int, channels: int, radial: int) -> None:
        super().__init__()
        self.content = dense(scalars, channels, channels)
        self.filter = nn.Linear(radial, channels, bias=False)
        self.update = dense(channels, scalars, channels)

    def forward(self, scalars: Tensor, sums: list[Convolution]) -> Tensor:
        """Update the scalars, (n, F) -> (n, F)."""
        content = self.content(scalars)
        message = torch.zeros_like(content)
        for part in sums:
            found = part.message(part.padding.fill(content), self.filter.weight)
            message = message.index_put((part.padding.atoms,), part.padding.take(found))
        return scalars + self.update(message)
