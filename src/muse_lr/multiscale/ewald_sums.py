r"""Convolutions with radial kernels, band-limited in k, for all boundaries.

.. math:: M_i = \sum_{jL} F(|r_{ij} + L|) x_j = \frac{1}{V} \sum_k f(|k|) \sum_j x_j
          \cos k \cdot (r_i - r_j)

over all images L, or over all reciprocal lattice vectors k. F is the Fourier transform of f.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from muse_lr.electrostatics.ewald.lattice import LatticeCells
from muse_lr.math.switching import switch_off
from muse_lr.structures.geometry import Geometry

#: The filter is switched off between this fraction of its cutoff and the cutoff.
TAPER = 0.9
#: Distance of the last Gaussian from the start of the switching, in widths. It is exp(-18) there.
TAIL = 6.0
#: Range of the kernel in units of 1 / s, at which it is exp(-32).
RANGE = 8.0
#: Typical density of atoms, 1/A^3. Messages of each basis function are of order 1 at this density.
DENSITY = 0.1


class FilterBasis:
    r"""Gaussians of the wavenumber, and their Fourier transforms.

    With evenly spaced centers c_g from 0 on, the width s and a factor n_g,

    .. math::
       f_g(k) &= n_g [e^{-(k - c_g)^2 / 2 s^2} + e^{-(k + c_g)^2 / 2 s^2}] \\
       F_g(r) &= \int \frac{d^3 k}{(2 \pi)^3} f_g(k) e^{i k \cdot r}
               = n_g \frac{s \sqrt{2 \pi}}{2 \pi^2} e^{-s^2 r^2 / 2}
                 \left[c_g^2 \frac{\sin c_g r}{c_g r} + s^2 \cos c_g r\right]

    Since f is even in k, it is smooth at k = 0 as a function of the vector. The factor n_g is such
    that the integral of F_g^2 is the inverse of a typical density.

    Parameters
    ----------
    count : int
        Number of Gaussians.
    cutoff : float
        Cutoff of the filter, 1/A.
    """

    def __init__(self, count: int, cutoff: float) -> None:
        self.cutoff = cutoff
        self.width = TAPER * cutoff / (count - 1 + TAIL)
        self.centers = [self.width * g for g in range(count)]
        self.factors = [self._factor(center) for center in self.centers]

    def _factor(self, center: float) -> float:
        """n_g, from the integral of f_g^2 over k (Parseval)."""
        variance = self.width**2
        overlap = variance * math.exp(-(center**2) / variance)
        square = self.width * math.sqrt(math.pi) * (2 * center**2 + variance + overlap)
        return 1 / math.sqrt(DENSITY * square / (4 * math.pi**2))

    def _constants(self, like: Tensor) -> tuple[Tensor, Tensor]:
        return like.new_tensor(self.centers), like.new_tensor(self.factors)

    def reciprocal(self, wavenumber: Tensor) -> Tensor:
        """f_g (..., count) in A^3 at wavenumbers (...) in 1/A, switched off at the cutoff."""
        centers, factors = self._constants(wavenumber)
        k = wavenumber[..., None]
        window = switch_off(k, TAPER * self.cutoff, self.cutoff)
        exponent = -0.5 / self.width**2
        pair = torch.exp(exponent * (k - centers) ** 2) + torch.exp(exponent * (k + centers) ** 2)
        return factors * window * pair

    def real(self, squared: Tensor) -> Tensor:
        """F_g (..., count), without unit, at squared distances (...) in A^2; constant at 0."""
        centers, factors = self._constants(squared)
        nowhere = (squared.detach() == 0)[..., None]
        r = torch.where(nowhere, 1.0, squared[..., None]).sqrt()
        variance = self.width**2
        shape = centers * torch.sin(centers * r) / r + variance * torch.cos(centers * r)
        decayed = shape * torch.exp(-variance * r.square() / 2)
        scale = self.width * math.sqrt(2 * math.pi) / (2 * math.pi**2)
        return factors * scale * torch.where(nowhere, centers.square() + variance, decayed)


@dataclass(frozen=True)
class Padding:
    """The atoms of G chosen graphs as rows of equal length.

    Attributes
    ----------
    atoms, row, column : Tensor
        (n,) indices of the atoms, and the row and column of each.
    counts : Tensor
        (G,) number of atoms of each row.
    length : int
        Length of the rows.
    """

    atoms: Tensor
    row: Tensor
    column: Tensor
    counts: Tensor
    length: int

    @classmethod
    def of(cls, geometry: Geometry, chosen: Tensor) -> Padding:
        """Padding for the ``chosen`` (n_graphs,) graphs, at least one."""
        atoms = chosen[geometry.graph_index].nonzero()[:, 0]
        graph = geometry.graph_index[atoms]
        row = (torch.cumsum(chosen, 0) - 1)[graph]
        counts = geometry.nodes_per_graph[chosen]
        return cls(atoms, row, atoms - geometry.ptr[graph], counts, int(counts.max()))

    def fill(self, values: Tensor) -> Tensor:
        """(n_atoms, c) -> (G, length, c), with zeros in the padding."""
        empty = values.new_zeros((len(self.counts), self.length, values.shape[1]))
        return empty.index_put((self.row, self.column), values[self.atoms])

    def take(self, values: Tensor) -> Tensor:
        """(G, length, c) -> (n, c)."""
        return values[self.row, self.column]


class Convolution(Protocol):
    """The convolution in some graphs of a batch."""

    @property
    def padding(self) -> Padding: ...

    def message(self, content: Tensor, weight: Tensor) -> Tensor:
        """(G, length, C) of x and the filter's (C, count) to the messages, (G, length, C)."""


@dataclass(frozen=True)
class OpenSum:
    """The convolution in open graphs, as a sum over all pairs.

    Attributes
    ----------
    padding : Padding
    kernels : Tensor
        (G, count, length, length) kernels F_g(r_ij).
    """

    padding: Padding
    kernels: Tensor

    @classmethod
    def of(
        cls, geometry: Geometry, chosen: Tensor, basis: FilterBasis, dtype: torch.dtype
    ) -> OpenSum:
        """The sum for the ``chosen`` graphs."""
        padding = Padding.of(geometry, chosen)
        positions = padding.fill(geometry.positions)
        squared = (positions[:, :, None] - positions[:, None]).square().sum(-1)
        kernels = basis.real(squared).movedim(-1, 1)
        return cls(padding, kernels.to(dtype))

    def message(self, content: Tensor, weight: Tensor) -> Tensor:
        """(G, length, C) of x and the filter's (C, count) to the messages, (G, length, C)."""
        moved = self.kernels @ content[:, None]
        return torch.einsum("bgic,cg->bic", moved, weight)


@dataclass(frozen=True)
class LatticeSum:
    """The convolution in crystals and slabs, as a sum over half of the wave vectors.

    Attributes
    ----------
    padding : Padding
    cosines, sines : Tensor
        (G, length, K) cosines and sines of k.r.
    filters : Tensor
        (G, K, count) f_g(|k|) / V, doubled for k that also represent -k.
    """

    padding: Padding
    cosines: Tensor
    sines: Tensor
    filters: Tensor

    @classmethod
    def of(
        cls,
        padding: Padding,
        cells: LatticeCells,
        positions: Tensor,
        basis: FilterBasis,
        dtype: torch.dtype,
    ) -> LatticeSum:
        """The sum for graphs with these cells."""
        inverse = torch.linalg.inv(cells.cell)
        integers = _half_space(cells.cell, inverse, basis.cutoff)
        origin = (integers == 0).all(1)
        multiplicity = torch.where(origin, 1.0, 2.0)
        found = filters(integers, multiplicity, inverse, cells.volume, basis)
        fractional = padding.fill(positions) @ inverse
        # Whole cells do not change the phase. Removing them keeps the precision of float32.
        fractional = (fractional - fractional.detach().floor()).to(dtype)
        angle = 2 * math.pi * fractional @ integers.to(dtype).mT
        return cls(padding, angle.cos(), angle.sin(), found.to(dtype))

    def message(self, content: Tensor, weight: Tensor) -> Tensor:
        """(G, length, C) of x and the filter's (C, count) to the messages, (G, length, C)."""
        filters = self.filters @ weight.mT
        even = self.cosines @ (filters * (self.cosines.mT @ content))
        return even + self.sines @ (filters * (self.sines.mT @ content))


def filters(
    integers: Tensor, multiplicity: Tensor, inverse: Tensor, volume: Tensor, basis: FilterBasis
) -> Tensor:
    """(G, K, count) f_g(|k|) / V times the multiplicity (K,) of k vectors with integers (K, 3)."""
    # k = 2 pi C^-1 n, so that k.r = 2 pi n.s for the fractional coordinates s.
    waves = 2 * math.pi * torch.einsum("kb,gab->gka", integers, inverse)
    origin = (integers == 0).all(1)
    wavenumber = torch.linalg.vector_norm(torch.where(origin[:, None], 1.0, waves), dim=2)
    values = basis.reciprocal(torch.where(origin, 0.0, wavenumber))
    return values * (multiplicity.to(values.dtype) / volume[:, None])[..., None]


@torch.no_grad()
def _half_space(cell: Tensor, inverse: Tensor, cutoff: float) -> Tensor:
    """(K, 3) indices n, without -n, of the waves within the cutoff in any of the cells."""
    lengths = torch.linalg.vector_norm(cell, dim=2).amax(0)
    limits = (cutoff / (2 * math.pi) * lengths).floor().long().tolist()
    ranges = [
        torch.arange(-limit, limit + 1, device=cell.device, dtype=cell.dtype) for limit in limits
    ]
    ranges[2] = ranges[2][limits[2] :]
    grid = torch.cartesian_prod(*ranges)
    first, second, third = grid.unbind(1)
    half = (third > 0) | (second > 0) | ((second == 0) & (first >= 0))
    grid = grid[half]
    waves = 2 * math.pi * torch.einsum("kb,gab->gka", grid, inverse)
    near = torch.linalg.vector_norm(waves, dim=2) < cutoff
    return grid[near.any(0)]
