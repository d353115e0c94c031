r"""Ewald message passing: learned filters on the structure factors of the atoms' features.

Re-implemented after A. Kosmala, J. Gasteiger, N. Gao, S. Guennemann, Ewald-based long-range message
passing for molecular graphs, ICML 2023, arXiv:2303.04791, as a baseline that fills the multiscale
slot. With x the transformed features of the atoms,

.. math:: s_k = \sum_j x_j e^{-i k \cdot r_j}, \qquad
          M_i = \frac{1}{V} \sum_k f(|k|) \mathrm{Re}[s_k e^{i k \cdot r_i}], \qquad
          h_i \leftarrow h_i + \mathrm{MLP}(M_i)

It departs from the paper where that depends on how a structure is described:

- f is a function of \|k\| in crystals too, over all reciprocal lattice vectors inside a constant,
  smooth spherical cutoff, k = 0 included, and the sum is divided by the volume (the paper learns a
  number for each triple of indices and leaves out k = 0). By Poisson's summation this is the
  convolution with one kernel F over all periodic images, :math:`\sum_{jL} F(|r_{ij} + L|) x_j`, F
  the Fourier transform of f: the same for equivalent cells and supercells, smooth under strain.
- Molecules are summed with F itself, which is that sum in an infinite box. The paper's grid of k in
  the principal axes of each molecule is not smooth where these change places, and lets far
  fragments know of each other; here f is smooth at k = 0 as a function of the vector, so that F has
  a range (:class:`~muse_lr.multiscale.ewald_sums.FilterBasis`).
- Slabs are the sum over the images of their plane, in a cell whose gap outreaches F.
- The blocks follow the backbone instead of alternating with its layers.

Cost and memory grow with the square of the number of atoms of a structure.
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
from muse_lr.multiscale.ewald_sums import FilterBasis, LatticeSum, OpenSum
from muse_lr.multiscale.muse.tensors import dense
from muse_lr.structures.graph import NodeFeatures, sum_nodes


class EwaldMPConfig(MultiscaleConfig):
    """Keys of Ewald message passing."""

    renamed: ClassVar[dict[str, str]] = {"radial": "num_radial"}

    kind: Literal["ewald_mp"] = "ewald_mp"
    channels: int | None = Field(
        None, ge=1, description="Width of the messages; default the backbone's channels."
    )
    layers: int = Field(2, ge=1, description="Number of rounds of messages.")
    reciprocal_cutoff: float = Field(
        1.4, gt=0, le=10, description="Where the filter of |k| ends, 1/A."
    )
    num_radial: int = Field(
        16,
        ge=2,
        description="Gaussians in the filter of |k|; more resolve finer, and reach farther.",
    )


class EwaldMessagePassing(Multiscale):
    """Ewald message passing; tensors are passed through."""

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
        open_graphs = geometry.open_graphs
        sums: list[OpenSum | LatticeSum] = []
        if bool(open_graphs.any()):
            sums.append(OpenSum.of(geometry, open_graphs, self.basis, scalars.dtype))
        if not bool(open_graphs.all()):
            sums.append(LatticeSum.of(geometry, ~open_graphs, self.basis, scalars.dtype))
        for layer in self.layers:
            scalars = layer(scalars, sums)
        energy = sum_nodes(self.readout(scalars)[:, 0], geometry.graph_index, geometry.num_graphs)
        return MultiscaleOutput(NodeFeatures(scalars, features.tensors), energy)


class EwaldLayer(nn.Module):
    """h_i + MLP(M_i), with M the filtered messages of x = MLP(h)."""

    def __init__(self, scalars: int, channels: int, radial: int) -> None:
        super().__init__()
        self.content = dense(scalars, channels, channels)
        self.filter = nn.Linear(radial, channels, bias=False)
        self.update = dense(channels, scalars, channels)

    def forward(self, scalars: Tensor, sums: list[OpenSum | LatticeSum]) -> Tensor:
        """(n, F) -> (n, F)."""
        content = self.content(scalars)
        message = torch.zeros_like(content)
        for part in sums:
            found = part.message(part.padding.fill(content), self.filter.weight)
            message = message.index_put((part.padding.atoms,), part.padding.take(found))
        return scalars + self.update(message)
