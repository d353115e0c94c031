"""Structure factors of Gaussian multipoles in crystals and slabs."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from dataclasses import replace
from functools import cached_property
from typing import Self

import torch
from torch import Tensor

from muse_lr.electrostatics.ewald.lattice import LatticeCells
from muse_lr.electrostatics.ewald.wave_sums import wave_energy
from muse_lr.electrostatics.ewald.waves import (
    KeptWaves,
    Waves,
    check_number_of_waves,
    highest_numbers,
    lattice_waves,
    many_numbers,
    phases,
    waves_of,
)
from muse_lr.electrostatics.portions import PORTION_BYTES, sum_portions
from muse_lr.math.harmonics import solid_harmonics
from muse_lr.structures.geometry import Geometry

#: Approximate memory in bytes of a k vector of one graph, with the derivatives by positions and
#: cell: without moments, and for each component of the moments.
WAVE_BYTES, COMPONENT_BYTES = 512, 96
#: Approximate memory in bytes of the phases of an atom for one pair (n_2, n_3).
PHASE_BYTES = 64


class ReciprocalSpace:
    """Structure factors of the selected graphs, computed in one batch.

    exp(i k.r) factorizes over the three fractional coordinates, so that a structure factor is a
    matrix product instead of a sine and cosine for each atom and k vector. Only the k vectors with
    n3 >= 0 are included; those with n3 > 0 also represent their inverses -k.

    Parameters
    ----------
    cells : LatticeCells
    geometry : Geometry
    chosen : Tensor
        (n_graphs,) of bool.
    cutoff : float
        |k| up to which the sum is complete for crystals, 1/A.
    dtype : torch.dtype
        dtype of the phases.
    kept : KeptWaves, optional
        Cache of the k vectors of constant cells.
    """

    def __init__(
        self,
        cells: LatticeCells,
        geometry: Geometry,
        chosen: Tensor,
        cutoff: float,
        dtype: torch.dtype,
        kept: KeptWaves | None = None,
    ) -> None:
        self.dtype = dtype
        n1, n2, n3 = highest_numbers(cells.cell, cells.slab, cutoff)
        many = (2 * n1 + 1) * (2 * n2 + 1) * (n3 + 1) * len(cells.cell) * WAVE_BYTES > PORTION_BYTES
        if many:
            check_number_of_waves(cells.cell, cells.slab, geometry.nodes_per_graph[chosen], cutoff)
            cells = cells.reduced()
        self.cells, self._cutoff = cells, cutoff
        self._inverse = torch.linalg.inv(cells.cell)
        self._index_atoms(geometry, chosen)
        self._fractional = self._fractional_coordinates(geometry, self._inverse)
        options = cells.cell, cells.slab, self._inverse, cutoff
        self._found: Waves | None = None
        if many:
            numbers = many_numbers(*options)
        else:
            self._found = (lattice_waves if kept is None else kept.find)(*options)
            numbers = self._found.numbers
        self._integers, self._numbers = numbers, numbers.to(dtype)

    @property
    def _waves(self) -> Waves:
        if self._found is None:
            options = self.cells.slab, self._inverse, self._cutoff
            self._found = waves_of(self._integers, *options)
        return self._found

    @property
    def squared(self) -> Tensor:
        """(G, K) k^2 in 1/A^2; 1 for k = 0."""
        return self._waves.squared

    @property
    def _window(self) -> Tensor:
        return self._waves.window

    def portions(self, components: int) -> list[slice]:
        """Parts of the pairs (n_2, n_3), each with a memory of about ``PORTION_BYTES``.

        Parameters
        ----------
        components : int
            Number of components of all moments in the sum.
        """
        graphs, atoms = self._shape
        wave = WAVE_BYTES + COMPONENT_BYTES * components
        pair = graphs * (len(self._integers.first) * wave + atoms * PHASE_BYTES)
        size, count = max(1, PORTION_BYTES // pair), len(self._integers.pairs)
        return [slice(start, start + size) for start in range(0, count, size)]

    def sum(self, term: Callable[..., Tensor], *moments: Tensor) -> Tensor:
        """(G,) sum of a function over the k vectors, in portions of bounded memory.

        Parameters
        ----------
        term : callable
            Function of a space with some of the k vectors and of the moments, which returns (G,)
            sums. It must not depend on other tensors that require gradients.
        moments : Tensor
            (n_atoms, components) each.
        """
        portions = self.portions(sum(values.shape[1] for values in moments))
        if len(portions) == 1:
            return term(self, *moments)

        def one(
            pairs: slice, fractional: Tensor, cell: Tensor, normal: Tensor, *moments: Tensor
        ) -> Tensor:
            return term(self.part(pairs, fractional, cell, normal), *moments)

        inputs = self._fractional, self.cells.cell, self.cells.normal, *moments
        return sum_portions(one, portions, inputs)

    def part(
        self,
        pairs: slice,
        fractional: Tensor | None = None,
        cell: Tensor | None = None,
        normal: Tensor | None = None,
    ) -> Self:
        """Space with some of the pairs (n_2, n_3); other tensors replace the own ones."""
        part = copy.copy(self)
        part.__dict__.pop("waves", None)
        if fractional is not None and cell is not None and normal is not None:
            part._fractional = fractional
            part.cells = replace(self.cells, cell=cell, normal=normal)
            part._inverse = torch.linalg.inv(cell)
        part._found = None
        part._integers = self._integers.keep(pairs)
        part._numbers = part._integers.to(self.dtype)
        return part

    def _index_atoms(self, geometry: Geometry, chosen: Tensor) -> None:
        graph, counts = geometry.graph_index, geometry.nodes_per_graph
        self._atoms: Tensor | slice = slice(None)
        self._row = graph
        if len(self.cells.cell) < len(chosen):
            self._atoms = chosen[graph].nonzero()[:, 0]
            graph, counts = graph[self._atoms], counts[chosen]
            self._row = (torch.cumsum(chosen, 0) - 1)[graph]
        self._shape = (len(counts), int(counts.max()))
        self._full = len(graph) == self._shape[0] * self._shape[1]
        if not self._full:
            atoms = torch.arange(len(geometry.graph_index), device=graph.device)
            self._column = atoms[self._atoms] - geometry.ptr[graph]

    def _padded(self, values: Tensor) -> Tensor:
        """(n_chosen_atoms, c) -> (G, n_max, c), padded with zeros."""
        if self._full:
            return values.unflatten(0, self._shape)
        empty = values.new_zeros((*self._shape, values.shape[1]))
        return empty.index_put((self._row, self._column), values)

    def _fractional_coordinates(self, geometry: Geometry, inverse: Tensor) -> Tensor:
        """(G, n_max, 3) fractional coordinates, wrapped into the cell."""
        positions = geometry.positions[self._atoms]
        fractional = torch.einsum("ia,iab->ib", positions, inverse[self._row])
        # Lattice translations do not change the phases. Removing them preserves float32 precision.
        return self._padded(fractional - fractional.detach().floor()).to(self.dtype)

    @cached_property
    def waves(self) -> Tensor:
        """(G, K, 3) k = 2 pi C^-1 n in 1/A, so that k.r = 2 pi n.s for fractional coordinates s."""
        grid = self._integers.all
        return 2 * math.pi * torch.einsum("kb,gab->gka", grid, self._inverse)

    def structure_factor(self, moments: Tensor) -> Tensor:
        r"""S(k) = sum_i [q_i + i k.mu_i - (1/3) sum_m R_2m(k) Q_i,2m] exp(i k.r_i), (G, K) complex.

        The Fourier transform of a unit multipole is :math:`(-i)^l R_{lm}(k) / (2l - 1)!!` times the
        Gaussian factor, which is part of the weights.

        Parameters
        ----------
        moments : Tensor
            (n_atoms, (l_max + 1)^2) of all atoms of the batch.
        """
        moments = self._padded(moments[self._atoms].to(self.dtype))
        channels = moments.shape[2]
        lines, planes = phases(self._fractional, self._numbers)
        # (G, n, c k1): only the phases of the first axis are multiplied with the moments.
        lines = (moments[..., None] * lines[:, :, None, :]).flatten(2)
        sums = (lines.mT @ planes).unflatten(1, (channels, -1)).flatten(2)
        sums = sums.mT  # (G, K, c)
        factor = sums[..., 0]
        if channels > 1:
            along = (solid_harmonics(1, self.waves).to(self.dtype) * sums[..., 1:4]).sum(-1)
            factor = factor + 1j * along
        if channels > 4:
            second = solid_harmonics(2, self.waves).to(self.dtype)
            factor = factor - (second * sums[..., 4:9]).sum(-1) / 3
        return factor

    def phases(self, waves: Tensor) -> Tensor:
        """(G, n_max, K) exp(i k.r) for k vectors with the indices (K,); 1 for padded atoms."""
        lines, planes = phases(self._fractional, self._numbers)
        return lines[:, :, waves // planes.shape[2]] * planes[:, :, waves % planes.shape[2]]

    def energy(self, moments: Tensor, splitting: float) -> Tensor:
        """(G,) sum_k w(k) |S(k)|^2 of the (n_atoms, 1) charges, in e^2/A."""
        charges = self._padded(moments[self._atoms].to(self.dtype))[:, :, 0]
        return wave_energy(self._fractional, charges, self.weights(splitting), self._numbers)

    def weights(self, splitting: float) -> Tensor:
        """(G, K) 2 pi exp(-eta^2 k^2) / V k^2 times the window, in 1/A; 0 for k = 0."""
        decay = torch.exp(-(splitting**2) * self.squared) / self.squared
        return 2 * math.pi * self._window * decay / self.cells.volume[:, None]
