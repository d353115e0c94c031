"""Convolutions of :mod:`muse_lr.multiscale.ewald_sums` in large structures and in sparse cells."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from muse_lr.electrostatics.ewald.gaps import close_gaps
from muse_lr.electrostatics.ewald.lattice import SLAB_GAP, LatticeCells, lattice_cells
from muse_lr.electrostatics.ewald.waves import (
    WaveNumbers,
    check_number_of_waves,
    highest_numbers,
    many_numbers,
)
from muse_lr.electrostatics.portions import PORTION_BYTES, sum_portions
from muse_lr.multiscale.ewald_sums import (
    RANGE,
    Convolution,
    FilterBasis,
    LatticeSum,
    OpenSum,
    Padding,
    filters,
)
from muse_lr.structures.geometry import Geometry
from muse_lr.structures.sparse import rungs_of, with_pairs

#: Rung of the density from which a sum over pairs has fewer terms than that over k vectors.
PAIR_RUNG = 3
#: Memory in bytes of a k vector or pair with its derivatives: for each atom, and for each basis
#: function or channel.
ATOM_BYTES, BASIS_BYTES = 32, 64


def convolutions(geometry: Geometry, basis: FilterBasis, dtype: torch.dtype) -> list[Convolution]:
    """Convolutions that together contain each graph of the batch once.

    Raises
    ------
    InputError
        If a graph has too many k vectors.
    """
    found: list[Convolution] = []
    opened = geometry.open_graphs
    if bool(opened.any()):
        found.append(open_sum(geometry, opened, basis, dtype))
    if bool(opened.all()):
        return found
    dense = torch.zeros_like(opened)
    for rung, graphs in rungs_of(geometry, ~opened):
        if rung >= PAIR_RUNG:
            found.append(PairSum.of(geometry, graphs, rung, basis, dtype))
        else:
            dense = dense | graphs
    if bool(dense.any()):
        found.append(lattice_sum(geometry, dense, basis, dtype))
    return found


def open_sum(
    geometry: Geometry, chosen: Tensor, basis: FilterBasis, dtype: torch.dtype
) -> Convolution:
    """The sum over all pairs of the ``chosen`` graphs, at once if it fits in one portion."""
    padding = Padding.of(geometry, chosen)
    pairs = len(padding.counts) * padding.length**2
    if pairs * len(basis.centers) * BASIS_BYTES > PORTION_BYTES:
        return PortionedOpenSum(padding, padding.fill(geometry.positions), basis, dtype)
    return OpenSum.of(geometry, chosen, basis, dtype)


def lattice_sum(
    geometry: Geometry, chosen: Tensor, basis: FilterBasis, dtype: torch.dtype
) -> Convolution:
    splitting = RANGE / (basis.width * SLAB_GAP)
    # The filters end within the gap to the images.
    geometry = close_gaps(geometry, chosen, splitting).geometry
    cells = lattice_cells(geometry, chosen, splitting)
    padding = Padding.of(geometry, chosen)
    n1, n2, n3 = highest_numbers(cells.cell, torch.zeros_like(cells.slab), basis.cutoff)
    waves = len(cells.cell) * (2 * n1 + 1) * (2 * n2 + 1) * (n3 + 1)
    size = padding.length * ATOM_BYTES + len(basis.centers) * BASIS_BYTES
    if waves * size > PORTION_BYTES:
        return PortionedSum.of(padding, cells.reduced(), geometry.positions, basis, dtype)
    return LatticeSum.of(padding, cells, geometry.positions, basis, dtype)


@dataclass(frozen=True)
class PortionedSum:
    """The convolution of a :class:`LatticeSum` in portions of k vectors, with bounded memory.

    Attributes
    ----------
    padding : Padding
    fractional : Tensor
        (G, length, 3) fractional coordinates.
    cell : Tensor
        (G, 3, 3) in A.
    numbers : WaveNumbers
        Integers of the k vectors.
    basis : FilterBasis
    """

    padding: Padding
    fractional: Tensor
    cell: Tensor
    numbers: WaveNumbers
    basis: FilterBasis

    @classmethod
    def of(
        cls,
        padding: Padding,
        cells: LatticeCells,
        positions: Tensor,
        basis: FilterBasis,
        dtype: torch.dtype,
    ) -> PortionedSum:
        """The sum for cells with short vectors."""
        everywhere = torch.zeros_like(cells.slab)
        check_number_of_waves(cells.cell, everywhere, padding.counts, basis.cutoff)
        inverse = torch.linalg.inv(cells.cell)
        numbers = many_numbers(cells.cell, everywhere, inverse, basis.cutoff)
        fractional = padding.fill(positions) @ inverse
        fractional = (fractional - fractional.detach().floor()).to(dtype)
        return cls(padding, fractional, cells.cell, numbers, basis)

    def message(self, content: Tensor, weight: Tensor) -> Tensor:
        """(G, length, C) of x and the filter's (C, count) to the messages, (G, length, C)."""
        atom = ATOM_BYTES * content.shape[1] + BASIS_BYTES * (weight.shape[0] + weight.shape[1])
        line = atom * len(content) * len(self.numbers.first)
        size, count = max(1, PORTION_BYTES // line), len(self.numbers.pairs)
        portions = [slice(start, start + size) for start in range(0, count, size)]
        tensors = self.fractional, self.cell, content, weight
        return sum_portions(self._of_portion, portions, tensors)

    def _of_portion(
        self, pairs: slice, fractional: Tensor, cell: Tensor, content: Tensor, weight: Tensor
    ) -> Tensor:
        integers = self.numbers.keep(pairs).all
        # Of k and -k, only one is included if n_3 is not zero.
        multiplicity = torch.where(integers[:, 2] > 0, 2.0, 1.0)
        volume = torch.linalg.det(cell).abs()
        inverse = torch.linalg.inv(cell)
        values = filters(integers, multiplicity, inverse, volume, self.basis)
        angle = 2 * math.pi * fractional @ integers.to(fractional.dtype).mT
        part = LatticeSum(self.padding, angle.cos(), angle.sin(), values.to(fractional.dtype))
        return part.message(content, weight)


@dataclass(frozen=True)
class PortionedOpenSum:
    """The convolution of an :class:`OpenSum` in portions of receiving atoms, with bounded memory.

    Attributes
    ----------
    padding : Padding
    positions : Tensor
        (G, length, 3) in A.
    basis : FilterBasis
    dtype : torch.dtype
        Precision of the messages.
    """

    padding: Padding
    positions: Tensor
    basis: FilterBasis
    dtype: torch.dtype

    def message(self, content: Tensor, weight: Tensor) -> Tensor:
        """(G, length, C) of x and the filter's (C, count) to the messages, (G, length, C)."""
        graphs, length, _ = content.shape
        row = graphs * length * len(self.basis.centers) * BASIS_BYTES
        size = max(1, PORTION_BYTES // row)
        portions = [slice(start, start + size) for start in range(0, length, size)]
        return sum_portions(self._of_portion, portions, (self.positions, content, weight))

    def _of_portion(
        self, rows: slice, positions: Tensor, content: Tensor, weight: Tensor
    ) -> Tensor:
        squared = (positions[:, rows, None] - positions[:, None]).square().sum(-1)
        kernels = self.basis.real(squared).movedim(-1, 1).to(self.dtype)
        found = OpenSum(self.padding, kernels).message(content, weight)
        after = content.shape[1] - rows.start - found.shape[1]
        return torch.nn.functional.pad(found, (0, 0, rows.start, after))


@dataclass(frozen=True)
class PairSum:
    """The convolution in sparse crystals and slabs, as a sum over pairs and images.

    Attributes
    ----------
    padding : Padding
    receiver, sender : Tensor
        (p,) places of the atoms of each pair in the flat padded array.
    vectors : Tensor
        (p, 3) in A.
    basis : FilterBasis
    dtype : torch.dtype
        Precision of the messages.
    """

    padding: Padding
    receiver: Tensor
    sender: Tensor
    vectors: Tensor
    basis: FilterBasis
    dtype: torch.dtype

    @classmethod
    def of(
        cls, geometry: Geometry, chosen: Tensor, rung: int, basis: FilterBasis, dtype: torch.dtype
    ) -> PairSum:
        """The sum for the ``chosen`` graphs, which have the same rung."""
        padding = Padding.of(geometry, chosen)
        wide = with_pairs(geometry, rung, RANGE / basis.width)
        place = torch.zeros_like(geometry.graph_index)
        place = place.index_copy(0, padding.atoms, padding.row * padding.length + padding.column)
        sender, receiver = wide.edge_index
        edges = chosen[geometry.graph_index[receiver]].nonzero()[:, 0]
        sender, receiver = place[sender[edges]], place[receiver[edges]]
        return cls(padding, receiver, sender, wide.edge_vectors[edges], basis, dtype)

    def message(self, content: Tensor, weight: Tensor) -> Tensor:
        """(G, length, C) of x and the filter's (C, count) to the messages, (G, length, C)."""
        shape = content.shape
        flat = content.flatten(0, 1)
        own = self.basis.real(self.vectors.new_zeros(1)).to(self.dtype) @ weight.mT
        size = max(1, PORTION_BYTES // (BASIS_BYTES * sum(weight.shape)))
        pairs = range(0, max(1, len(self.receiver)), size)
        portions = [slice(start, start + size) for start in pairs]
        moved = sum_portions(self._of_portion, portions, (self.vectors, flat, weight))
        return (own * flat + moved).unflatten(0, shape[:2])

    def _of_portion(self, pairs: slice, vectors: Tensor, content: Tensor, weight: Tensor) -> Tensor:
        kernel = self.basis.real(vectors[pairs].square().sum(1)).to(self.dtype) @ weight.mT
        values = kernel * content.index_select(0, self.sender[pairs])
        return torch.zeros_like(content).index_add(0, self.receiver[pairs], values)
