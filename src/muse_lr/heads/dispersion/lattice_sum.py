r"""Lattice sums of -C_ij / r^6 and -C_ij / r^8 over all images.

With :math:`x = a r`, the potential is split into two parts,

.. math:: \frac{1}{r^6} = \frac{e^{-x^2} (1 + x^2 + x^4 / 2)}{r^6} + s(r), \qquad
          s(r) = \frac12 \int_0^{a^2} t^2 e^{-t r^2} dt

The first is short-ranged and is cut in real space. The second, s(r), is smooth, so its Fourier
transform decays quickly,

.. math:: \hat s(k) = \frac{\pi^{3/2} a^3}{3} h(b), \quad
          h(b) = (1 - 2 b^2) e^{-b^2} + 2 \sqrt\pi b^3 \mathrm{erfc}(b), \quad b = k / 2a

(N. Karasawa, W. A. Goddard, J. Phys. Chem. 93, 7320 (1989)). For r^-8 the integral is
:math:`\frac16 \int t^3`, which gives the bracket :math:`1 + x^2 + x^4 / 2 + x^6 / 6` and
:math:`\hat s(k) = \frac{\pi^{3/2} a^5}{15} [e^{-b^2} - \frac23 b^2 h(b)]`. The transforms are
finite at k = 0, and crystals include this term. In slabs the waves without an in-plane component
are integrated over k_z instead, which gives a sum over pairs of atoms,

.. math:: \frac{\pi}{2A} \int_0^{a^2} t\, e^{-t z^2} dt \quad\text{or}\quad
          \frac{\pi}{6A} \int_0^{a^2} t^2 e^{-t z^2} dt .

The coefficients are products of weights, :math:`C_{ij} = \sum_{cd} w_{ic} G_{cd} w_{jd}`. For
structures of low density, a is divided by a power of 2 (:mod:`muse_lr.structures.sparse`).
Derivatives of any order are available.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from muse_lr.electrostatics.base import REAL_TAPER
from muse_lr.electrostatics.ewald.gaps import close_gaps
from muse_lr.electrostatics.ewald.lattice import lattice_cells
from muse_lr.electrostatics.ewald.reciprocal_space import ReciprocalSpace
from muse_lr.electrostatics.ewald.waves import phases
from muse_lr.electrostatics.pair_sums import sum_over_pairs
from muse_lr.structures.geometry import Geometry
from muse_lr.structures.graph import sum_nodes
from muse_lr.structures.sparse import rungs_of

#: Iterations of x^2 = log(1 / eps) + log(1 + x^2 + x^4 / 2 + ...), which converge quickly.
ITERATIONS = 50
#: In-plane |k|^2 below which a wave is along the normal, 1/A^2.
ALONG_NORMAL = 1e-10
#: (a z)^2 below which the kernel along the normal uses a power series, and its number of terms.
SERIES_RANGE, SERIES_TERMS = 1.0, 20


@dataclass(frozen=True)
class PowerSplit:
    """Constants of the split. They do not depend on the structure, apart from its rung.

    Attributes
    ----------
    power : int
        6 or 8.
    inverse_length : float
        a, 1/A.
    reciprocal_cutoff : float
        Largest |k| for which the reciprocal sum is complete, 1/A.
    """

    power: Literal[6, 8]
    inverse_length: float
    reciprocal_cutoff: float

    @classmethod
    def within(cls, cutoff: float, accuracy: float, power: Literal[6, 8] = 6) -> PowerSplit:
        """Split whose parts, relative to zero, are below accuracy / 10 at their cutoffs."""
        decay = math.log(10 / accuracy)
        squared = decay
        for _ in range(ITERATIONS):
            squared = decay + math.log(
                sum(squared**n / math.factorial(n) for n in range(power // 2))
            )
        inverse_length = math.sqrt(squared) / (REAL_TAPER * cutoff)
        return cls(power, inverse_length, 2 * inverse_length * math.sqrt(decay))

    def on_rung(self, rung: int) -> PowerSplit:
        """Split for structures of this rung, whose real-space cutoff is larger by 2^rung."""
        scale = 2.0**-rung
        return PowerSplit(self.power, scale * self.inverse_length, scale * self.reciprocal_cutoff)

    def short_range(self, distance: Tensor) -> Tensor:
        """Fraction of 1 / r^p in the short-range part."""
        x = (self.inverse_length * distance).square()
        bracket = 1 + x + x * x / 2
        if self.power == 8:
            bracket = bracket + x**3 / 6
        return torch.exp(-x) * bracket

    def transform(self, squared: Tensor) -> Tensor:
        """Fourier transform of the smooth part in A^(3-p), at nonzero k^2 in 1/A^2."""
        b2 = squared / (4 * self.inverse_length**2)
        b, gauss = b2.sqrt(), torch.exp(-b2)
        value = (1 - 2 * b2) * gauss + 2 * math.sqrt(math.pi) * b2 * b * torch.erfc(b)
        if self.power == 8:
            value = gauss - 2 / 3 * b2 * value
        return self.at_zero_wave * value

    @property
    def at_zero_wave(self) -> float:
        """Fourier transform of the smooth part at k = 0, A^(3-p)."""
        return (
            math.pi**1.5 * self.inverse_length ** (self.power - 3) / (3 if self.power == 6 else 15)
        )

    @property
    def at_zero_distance(self) -> float:
        """The smooth part at r = 0, A^-p."""
        return self.inverse_length**self.power / math.factorial(self.power // 2)

    def sheets(self, height: Tensor) -> Tensor:
        """Interaction of two planar lattices at distance z, times the cell area, A^(2-p)."""
        order = self.power // 2 - 2
        scale = math.pi * self.inverse_length ** (self.power - 2) / math.factorial(order + 1)
        return scale * _moment((self.inverse_length * height).square(), order)


def smooth_energy(
    weights: Tensor, coupling: Tensor, geometry: Geometry, chosen: Tensor, split: PowerSplit
) -> Tensor:
    """Energy of the smooth part with all images, without the self term of each atom.

    Parameters
    ----------
    weights : Tensor
        (n_atoms, channels) w.
    coupling : Tensor
        (channels, channels) G, symmetric; C_ij in eV A^p.
    geometry : Geometry
    chosen : Tensor
        (n_graphs,) bool mask of periodic graphs.
    split : PowerSplit

    Returns
    -------
    Tensor
        (n_graphs,) in eV, float64; 0 for graphs outside the mask.
    """
    if not bool(chosen.any()):
        return geometry.positions.new_zeros(geometry.num_graphs)
    parts = [
        _smooth_energy(weights, coupling, geometry, graphs, split.on_rung(rung))
        for rung, graphs in rungs_of(geometry, chosen)
    ]
    return parts[0] if len(parts) == 1 else torch.stack(parts).sum(0)


def _smooth_energy(
    weights: Tensor, coupling: Tensor, geometry: Geometry, chosen: Tensor, split: PowerSplit
) -> Tensor:
    """(n_graphs,) energies as in :func:`smooth_energy`, for graphs of one rung."""
    space = _Waves(geometry, chosen, split)
    lattice = space.sum(lambda part, own: part.quadratic_form(own, coupling), weights)
    crystals = torch.where(space.cells.slab, 0.0, split.at_zero_wave / space.cells.volume)
    total = sum_nodes(weights, geometry.graph_index, geometry.num_graphs)[chosen]
    lattice = lattice + crystals * _contract(total, coupling, total)
    rows = chosen.nonzero()[:, 0]
    energy = lattice.new_zeros(geometry.num_graphs).index_copy(0, rows, lattice)
    own = split.at_zero_distance * _contract(weights, coupling, weights)
    own = sum_nodes(own, geometry.graph_index, geometry.num_graphs)
    energy = energy - torch.where(chosen, own, 0.0)
    slab = chosen & ~geometry.pbc.all(1)
    if bool(slab.any()):
        normal = geometry.positions.new_zeros((geometry.num_graphs, 3))
        normal = normal.index_copy(0, rows, space.cells.normal)
        area = torch.ones_like(energy).index_copy(0, rows, space.cells.area)
        sheets = _sheet_sum(weights, coupling, geometry, slab, split, normal)
        energy = energy + torch.where(slab, sheets / area, 0.0)
    return -energy / 2


def _sheet_sum(
    weights: Tensor,
    coupling: Tensor,
    geometry: Geometry,
    slab: Tensor,
    split: PowerSplit,
    normal: Tensor,
) -> Tensor:
    """(n_graphs,) sum over ordered pairs of atoms in slabs, self pairs included, eV A^2."""
    z = (geometry.positions * normal[geometry.graph_index]).sum(1)

    def energy(first: Tensor, second: Tensor, heights: Tensor, weights: Tensor) -> Tensor:
        pairs = split.sheets(heights[first] - heights[second])
        pairs = 2 * pairs * _contract(weights[first], coupling, weights[second])
        return sum_nodes(pairs, geometry.graph_index[first], geometry.num_graphs)

    own = split.sheets(torch.zeros_like(z)) * _contract(weights, coupling, weights)
    total = sum_over_pairs(energy, geometry.nodes_per_graph, slab, (z, weights))
    return total + sum_nodes(own, geometry.graph_index, geometry.num_graphs)


def _contract(first: Tensor, coupling: Tensor, second: Tensor) -> Tensor:
    """(n, c), (c, c), (n, c) -> (n,)."""
    return ((first @ coupling) * second).sum(1)


def _moment(u: Tensor, order: int) -> Tensor:
    """int_0^1 s^n exp(-u s) ds for u >= 0, n = 1 or 2."""
    near = u < SERIES_RANGE
    small, large = torch.where(near, u, 0.0), torch.where(near, SERIES_RANGE, u)
    series, power = torch.zeros_like(u), torch.ones_like(u)
    for n in range(SERIES_TERMS):
        series = series + power / (math.factorial(n) * (n + order + 1))
        power = -power * small
    gauss = torch.exp(-large)
    closed = (1 - gauss) / large
    for n in range(1, order + 1):
        closed = (n * closed - gauss) / large
    return torch.where(near, series, closed)


class _Waves(ReciprocalSpace):
    """Structure factors of the weights in crystals and slabs."""

    def __init__(self, geometry: Geometry, chosen: Tensor, split: PowerSplit) -> None:
        splitting = 1 / (2 * split.inverse_length)
        # Planes farther apart are summed as sheets.
        geometry = close_gaps(geometry, chosen, splitting).geometry
        cells = lattice_cells(geometry, chosen, splitting)
        super().__init__(cells, geometry, chosen, split.reciprocal_cutoff, torch.float64)
        self.split = split

    def quadratic_form(self, weights: Tensor, coupling: Tensor) -> Tensor:
        """(G,) sum_k s(k) S(k)* G S(k) / V without k = 0 and without k along the slab normal."""
        sums = self._sums(weights)
        real, imaginary = sums.real, sums.imag
        power = ((real @ coupling) * real + (imaginary @ coupling) * imaginary).sum(2)
        factor = self._window * self.split.transform(self.squared)
        along = (self.waves * self.cells.normal[:, None]).sum(2)
        in_plane = self.waves.square().sum(2) - along.square()
        sheets = self.cells.slab[:, None] & (in_plane.detach() < ALONG_NORMAL)
        factor = torch.where(sheets, 0.0, factor)
        return (factor * power).sum(1) / self.cells.volume

    def _sums(self, weights: Tensor) -> Tensor:
        """(G, K, channels) complex, sum_i w_ic exp(i k.r_i)."""
        padded = self._padded(weights[self._atoms])
        lines, planes = phases(self._fractional, self._numbers)
        lines = (padded[..., None] * lines[:, :, None, :]).flatten(2)
        sums = (lines.mT @ planes).unflatten(1, (weights.shape[1], -1)).flatten(2)
        return sums.mT
