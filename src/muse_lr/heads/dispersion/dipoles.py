r"""Dipole interaction tensors as dense matrices, with a damping at short range.

The tensor :math:`T_{ab} = \partial_a \partial_b (-1 / r) = (\delta_{ab} r^2 - 3 r_a r_b) / r^5` is
split by the Fermi function f of A. Ambrosetti, A. M. Reilly, R. A. DiStasio, A. Tkatchenko, J.
Chem. Phys. 140, 18A508 (2014). The parts are the long-range f T and the short-range (1 - f) T of
Gaussian dipoles. In crystals the long-range part is computed by Ewald summation at a wave vector q,

.. math:: T_{ij}(q) = \sum_R T(r_{ij} + R)\, e^{-i q (r_{ij} + R)} ,

where the terms with f - 1 are added for the near pairs.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from muse_lr.electrostatics.base import REAL_TAPER, RECIPROCAL_TAPER
from muse_lr.electrostatics.portions import PORTION_BYTES, sum_portions
from muse_lr.errors import InputError
from muse_lr.math.switching import switch_off
from muse_lr.structures.geometry import Geometry
from muse_lr.structures.open_pairs import all_pairs

#: Steepness of the Fermi function.
STEEPNESS = 6.0
#: Relative value of the Gaussians of the Ewald sum at their cutoffs.
ACCURACY = 1e-10
#: Largest number of k vectors of a box, whose sum takes a minute for a small molecule.
MOST_WAVES = 2_000_000
#: Approximate memory of a k vector in bytes for each atom, with the derivatives.
WAVE_BYTES = 256


@dataclass(frozen=True)
class DipolePairs:
    """Pairs of atoms in both directions and their positions in dense matrices.

    Attributes
    ----------
    first, second : Tensor
        (p,) atom indices.
    vectors : Tensor
        (p, 3) vectors from the image of the second atom to the first atom, A.
    slot : Tensor
        (p,) index of the block in a flattened (G, n, n) array.
    window : Tensor or None
        (p,) switching function at the cutoff; None if the pairs have no cutoff.
    """

    first: Tensor
    second: Tensor
    vectors: Tensor
    slot: Tensor
    window: Tensor | None

    @property
    def distances(self) -> Tensor:
        """(p,) distances, A."""
        return torch.linalg.vector_norm(self.vectors, dim=1)


@dataclass(frozen=True)
class Padding:
    """Map from the atoms of selected structures to padded rows of equal length.

    Attributes
    ----------
    atoms : Tensor
        (m,) atoms of the selected structures.
    row, column : Tensor
        (m,) row and column of each of these atoms.
    shape : tuple of int
        Number of structures G and of columns n.
    start : Tensor
        (n_atoms,) flat index row * n + column of every atom; -1 if not selected.
    """

    atoms: Tensor
    row: Tensor
    column: Tensor
    shape: tuple[int, int]
    start: Tensor

    @classmethod
    def of(cls, geometry: Geometry, chosen: Tensor) -> Padding:
        """Create the padding of the selected structures."""
        atoms = chosen[geometry.graph_index].nonzero()[:, 0]
        graph = geometry.graph_index[atoms]
        row = (torch.cumsum(chosen, 0) - 1)[graph]
        column = atoms - geometry.ptr[graph]
        counts = geometry.nodes_per_graph[chosen]
        shape = (len(counts), int(counts.max()))
        start = torch.full_like(geometry.graph_index, -1)
        start[atoms] = row * shape[1] + column
        return cls(atoms, row, column, shape, start)

    def pad(self, values: Tensor, fill: float) -> Tensor:
        """Pad (n_atoms, ...) values to (G, n, ...)."""
        chosen = values[self.atoms]
        empty = chosen.new_full((*self.shape, *values.shape[1:]), fill)
        return empty.index_put((self.row, self.column), chosen)

    def slots(self, first: Tensor, second: Tensor) -> Tensor:
        """(p,) index of the block of each pair."""
        return self.start[first] * self.shape[1] + self.start[second] % self.shape[1]

    def matrix(self, blocks: Tensor, pairs: DipolePairs) -> Tensor:
        """Sum (p, 3, 3) blocks into (G, 3n, 3n) matrices."""
        graphs, size = self.shape
        dense = blocks.new_zeros((graphs * size * size, 3, 3)).index_add(0, pairs.slot, blocks)
        dense = dense.view(graphs, size, size, 3, 3).transpose(2, 3)
        return dense.reshape(graphs, 3 * size, 3 * size)


def open_pairs(geometry: Geometry, chosen: Tensor, padding: Padding) -> DipolePairs:
    """All pairs of open structures."""
    first, second = all_pairs(geometry.nodes_per_graph, chosen)
    first, second = torch.cat([first, second]), torch.cat([second, first])
    vectors = geometry.positions[first] - geometry.positions[second]
    return DipolePairs(first, second, vectors, padding.slots(first, second), None)


def near_pairs(geometry: Geometry, chosen: Tensor, padding: Padding, cutoff: float) -> DipolePairs:
    """Pairs of crystals within a cutoff, images included."""
    near = (geometry.edge_lengths < cutoff) & chosen[geometry.graph_index[geometry.edge_index[1]]]
    first, second = geometry.edge_index[:, near]
    window = switch_off(geometry.edge_lengths[near], REAL_TAPER * cutoff, cutoff)
    slots = padding.slots(first, second)
    return DipolePairs(first, second, geometry.edge_vectors[near], slots, window)


def damped_share(distance: Tensor, radius: Tensor) -> Tensor:
    """(p,) 1 - f, which is 1 at short range, 1/2 at ``radius`` and 0 at long range."""
    return torch.sigmoid(STEEPNESS * (1 - distance / radius))


def tensors(vectors: Tensor, radial: Tensor, axial: Tensor) -> Tensor:
    """(p, 3, 3) radial * 1 - axial * r r^T."""
    identity = torch.eye(3, dtype=vectors.dtype, device=vectors.device)
    outer = vectors[:, :, None] * vectors[:, None, :]
    return radial[:, None, None] * identity - axial[:, None, None] * outer


def open_tensors(pairs: DipolePairs, radius: Tensor) -> Tensor:
    """(p, 3, 3) f T in A^-3; ``radius`` is (p,) in A."""
    distance = pairs.distances
    share = 1 - damped_share(distance, radius)
    return tensors(pairs.vectors, share / distance**3, 3 * share / distance**5)


def gaussian_tensors(pairs: DipolePairs, radius: Tensor, width: Tensor) -> Tensor:
    """(p, 3, 3) (1 - f) T of Gaussian dipoles; ``width`` is (p,) sqrt(s_i^2 + s_j^2) in A."""
    distance = pairs.distances
    zeta = distance / width
    theta = 2 / math.sqrt(math.pi) * zeta * torch.exp(-zeta.square())
    inside = torch.erf(zeta) - theta
    share = damped_share(distance, radius)
    if pairs.window is not None:
        share = share * pairs.window
    radial = share * inside / distance**3
    axial = share * (3 * inside - 2 * zeta.square() * theta) / distance**5
    return tensors(pairs.vectors, radial, axial)


class CrystalDipoles:
    """Tensors f T of crystals for any wave vector.

    Parameters
    ----------
    geometry : Geometry
    chosen : Tensor
        (n_graphs,) bool mask of crystals.
    padding : Padding
    pairs : DipolePairs
        Pairs within the cutoff.
    radius : Tensor
        (p,) damping radius, A.
    cutoff : float
        Cutoff of the pairs, A.
    """

    def __init__(
        self,
        geometry: Geometry,
        chosen: Tensor,
        padding: Padding,
        pairs: DipolePairs,
        radius: Tensor,
        cutoff: float,
    ) -> None:
        decay = math.sqrt(-math.log(ACCURACY))
        self.inverse_length = decay / (REAL_TAPER * cutoff)
        self.reciprocal_cutoff = 2 * self.inverse_length * decay
        self.padding, self.pairs = padding, pairs
        self._near = self._near_tensors(radius)
        cell = geometry.cell[chosen]
        self._volume = torch.linalg.det(cell).abs()
        self._inverse = torch.linalg.inv(cell)
        row_of_atom = geometry.graph_index[padding.atoms]
        row = (torch.cumsum(chosen, 0) - 1)[row_of_atom]
        scaled = torch.einsum("ia,iab->ib", geometry.positions[padding.atoms], self._inverse[row])
        fractional = geometry.positions.new_zeros((len(geometry.positions), 3))
        self._fractional = padding.pad(fractional.index_copy(0, padding.atoms, scaled), 0.0)
        lengths = torch.linalg.vector_norm(cell.detach(), dim=2).amax(0)
        reach = RECIPROCAL_TAPER * self.reciprocal_cutoff / (2 * math.pi) * lengths
        highest = (reach.floor().long() + 1).tolist()
        count = math.prod(2 * n + 1 for n in highest)
        if count > MOST_WAVES:
            graph = int(self._volume.argmax())
            lengths = torch.linalg.vector_norm(cell[graph], dim=1).tolist()
            box = " x ".join(f"{length:.4g}" for length in lengths)
            raise InputError(
                f"the mbd head needs {count:.2g} k vectors in a periodic box of {box} Å, but at "
                f"most {MOST_WAVES:.0e} are supported: use a smaller box or open boundaries "
                "(pbc=False)"
            )
        ranges = [torch.arange(-n, n + 1) for n in highest]
        self._integers = torch.cartesian_prod(*ranges).to(cell)

    def at(self, fraction: Tensor) -> Tensor:
        """Matrices f T at one wave vector, (G, 3n, 3n), complex and Hermitian.

        Parameters
        ----------
        fraction : Tensor
            (3,) wave vector in reciprocal lattice vectors. It must not be a lattice vector itself.
        """
        waves = 2 * math.pi * torch.einsum("b,gab->ga", fraction, self._inverse)
        wave_of_pair = waves[self.pairs.slot // self.padding.shape[1] ** 2]
        angle = -(wave_of_pair * self.pairs.vectors).sum(1)
        phase = torch.polar(torch.ones_like(angle), angle)
        dense = self.padding.matrix(self._near * phase[:, None, None], self.pairs)
        own = 4 * self.inverse_length**3 / (3 * math.sqrt(math.pi))
        identity = torch.eye(dense.shape[1], dtype=dense.dtype, device=dense.device)
        return dense + self._reciprocal(fraction) - own * identity

    def _near_tensors(self, radius: Tensor) -> Tensor:
        """(p, 3, 3) erfc part of T minus (1 - f) T."""
        assert self.pairs.window is not None  # crystals have a cutoff
        distance = self.pairs.distances
        x = self.inverse_length * distance
        gauss = 2 / math.sqrt(math.pi) * x * torch.exp(-x.square())
        share = damped_share(distance, radius)
        radial = torch.erfc(x) + gauss - share
        axial = 3 * torch.erfc(x) + gauss * (3 + 2 * x.square()) - 3 * share
        radial, axial = self.pairs.window * radial, self.pairs.window * axial
        return tensors(self.pairs.vectors, radial / distance**3, axial / distance**5)

    def _reciprocal(self, fraction: Tensor) -> Tensor:
        """(G, 3n, 3n) sum over reciprocal lattice vectors."""
        size = max(1, PORTION_BYTES // (WAVE_BYTES * math.prod(self.padding.shape)))
        starts = range(0, len(self._integers), size)
        portions = [slice(start, start + size) for start in starts]
        tensors = self._fractional, self._inverse, self._volume
        return sum_portions(partial(self._of_portion, fraction), portions, tensors)

    def _of_portion(
        self, fraction: Tensor, part: slice, fractional: Tensor, inverse: Tensor, volume: Tensor
    ) -> Tensor:
        """(G, 3n, 3n) sum over some of the reciprocal lattice vectors."""
        integers = self._integers[part]
        waves = 2 * math.pi * torch.einsum("kb,gab->gka", integers + fraction, inverse)
        squared = waves.square().sum(2)
        cutoff = self.reciprocal_cutoff
        weight = switch_off(squared.sqrt(), cutoff, RECIPROCAL_TAPER * cutoff)
        keep = (weight > 0).any(0)
        waves, squared, weight = waves[:, keep], squared[:, keep], weight[:, keep]
        weight = weight * torch.exp(-squared / (4 * self.inverse_length**2)) / squared
        weight = 4 * math.pi * weight / volume[:, None]
        angle = 2 * math.pi * fractional @ integers[keep].T  # (G, n, K)
        phase = torch.polar(torch.ones_like(angle), angle)
        dipoles = (phase[:, :, None] * waves.mT[:, None]).flatten(1, 2)  # (G, 3n, K)
        return (dipoles * weight[:, None]) @ dipoles.mH
