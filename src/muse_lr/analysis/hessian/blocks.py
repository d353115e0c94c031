r"""Comparison of Hessians by their 3 x 3 blocks, which couple two atoms.

With the blocks M of the model and R of the reference, and means over the pairs of a group,

.. math::
   \text{norm} = \sqrt{\langle |R|^2 \rangle}, \quad
   \text{error} = \sqrt{\langle |M - R|^2 \rangle}, \quad
   \cos = \frac{\langle M \cdot R \rangle}{\sqrt{\langle |M|^2 \rangle \langle |R|^2 \rangle}}

where \|.\| is the Frobenius norm. The norm is also the error of the zero model, whose blocks
vanish: a model whose error is larger knows less than nothing about these blocks.

The reference is made symmetric first. Its noise is the RMS norm of half the difference of R and its
transpose. For a matrix of finite differences this is the error that is left in the symmetric part,
as far as the errors of its rows are independent.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
from ase import Atoms
from ase.data import chemical_symbols
from numpy.typing import NDArray

Array = NDArray[np.float64]

#: Default bounds of the distances, A.
BINS = (0.0, 2.0, 4.0, 6.0, 8.0, 10.0, 12.0, 15.0, 20.0, 30.0)


@dataclass(frozen=True)
class BlockSums:
    """Sums over the blocks of a group of pairs, (eV/A^2)^2.

    Attributes
    ----------
    count : int
        Number of pairs.
    reference, model, product, difference, noise_squared : float
        Sums of R.R, M.M, M.R, (M - R).(M - R), and of the squares of half the asymmetry of R.
    """

    count: int
    reference: float
    model: float
    product: float
    difference: float
    noise_squared: float

    @property
    def norm(self) -> float:
        """RMS norm of the blocks of the reference, eV/A^2: the error of the zero model."""
        return self._rms(self.reference)

    @property
    def model_norm(self) -> float:
        """RMS norm of the blocks of the model, eV/A^2."""
        return self._rms(self.model)

    @property
    def error(self) -> float:
        """RMS norm of the differences of the blocks, eV/A^2."""
        return self._rms(self.difference)

    @property
    def relative_error(self) -> float:
        """Error over that of the zero model; NaN if the reference vanishes."""
        return self.error / self.norm if self.norm > 0 else math.nan

    @property
    def cosine(self) -> float:
        """Cosine of the blocks with the reference; NaN if either vanishes."""
        product = math.sqrt(self.reference * self.model)
        return self.product / product if product > 0 else math.nan

    @property
    def noise(self) -> float:
        """RMS norm of half the asymmetry of the reference, eV/A^2."""
        return self._rms(self.noise_squared)

    def values(self) -> dict[str, float]:
        """All measures by name."""
        names = ("norm", "model_norm", "error", "relative_error", "cosine", "noise")
        return {"pairs": self.count} | {name: getattr(self, name) for name in names}

    def _rms(self, total: float) -> float:
        return math.sqrt(total / self.count) if self.count else math.nan


@dataclass(frozen=True)
class PairBlocks:
    """Squares of the blocks of all pairs of atoms; each pair once, and each atom with itself.

    Attributes
    ----------
    frame : ndarray
        (n,) index of the frame of each pair.
    elements : ndarray
        (n, 2) atomic numbers, the smaller one first.
    distance : ndarray
        (n,) A; to the nearest image in periodic structures, 0 for an atom with itself.
    reference, model, product, difference, noise_squared : ndarray
        (n,) terms of :class:`BlockSums`.
    """

    frame: NDArray[np.int64]
    elements: NDArray[np.int64]
    distance: Array
    reference: Array
    model: Array
    product: Array
    difference: Array
    noise_squared: Array

    def sums(self, chosen: NDArray[np.bool_]) -> BlockSums:
        """Sums over the (n,) chosen pairs."""
        names = [f.name for f in fields(BlockSums)][1:]
        sums = [float(getattr(self, name)[chosen].sum()) for name in names]
        return BlockSums(int(chosen.sum()), *sums)

    @property
    def different(self) -> NDArray[np.bool_]:
        """(n,) whether a pair is of two different atoms."""
        return self.distance > 0

    def of_frames(self, frames: Sequence[int]) -> PairBlocks:
        """The pairs of some frames."""
        return self._only(np.isin(self.frame, frames))

    def farther_than(self, distance: float) -> PairBlocks:
        """The pairs of different atoms beyond a distance, A."""
        return self._only(self.different & (self.distance > distance))

    def by_distance(self, edges: Sequence[float]) -> list[tuple[float, float, BlockSums]]:
        """Sums over pairs of different atoms between edges (A), lower edge included.

        Ranges without pairs are left out.
        """
        found = []
        for low, high in itertools.pairwise(edges):
            inside = (self.distance >= low) & (self.distance < high) & self.different
            if inside.any():
                found.append((low, high, self.sums(inside)))
        return found

    def by_elements(self) -> list[tuple[str, BlockSums]]:
        """Sums over pairs of different atoms, by pair of elements such as ``C-H``."""
        found = []
        for first, second in np.unique(self.elements[self.different], axis=0).tolist():
            chosen = (self.elements == (first, second)).all(1) & self.different
            name = "-".join(sorted((chemical_symbols[first], chemical_symbols[second])))
            found.append((name, self.sums(chosen)))
        return sorted(found, key=lambda item: item[0])

    def same_atom(self) -> BlockSums:
        """Sums over the atoms with themselves: the diagonal blocks."""
        return self.sums(~self.different)

    def within(self, distance: float) -> BlockSums:
        """Sums over pairs of different atoms up to a distance, A."""
        return self.sums(self.different & (self.distance <= distance))

    def beyond(self, distance: float) -> BlockSums:
        """Sums over pairs of different atoms beyond a distance, A."""
        return self.sums(self.different & (self.distance > distance))

    def _only(self, chosen: NDArray[np.bool_]) -> PairBlocks:
        return PairBlocks(*(getattr(self, f.name)[chosen] for f in fields(self)))


def pair_blocks(atoms: Atoms, model: Array, reference: Array, frame: int = 0) -> PairBlocks:
    """Compare all blocks of two Hessians.

    Parameters
    ----------
    atoms : ase.Atoms
    model, reference : ndarray
        (3 n_atoms, 3 n_atoms), eV/A^2. The antisymmetric part of the reference is its noise.
    frame : int
        Index that the pairs are given.
    """
    first, second = np.triu_indices(len(atoms))
    symmetric = (reference + reference.T) / 2
    ours, theirs, noise = (
        _blocks(matrix)[first, second] for matrix in (model, symmetric, reference - symmetric)
    )
    numbers = np.sort(np.stack([atoms.numbers[first], atoms.numbers[second]], axis=1), axis=1)
    distance = atoms.get_all_distances(mic=bool(atoms.pbc.any()))[first, second]
    return PairBlocks(
        np.full(len(first), frame),
        numbers.astype(np.int64),
        np.where(first == second, 0.0, distance),
        _product(theirs, theirs),
        _product(ours, ours),
        _product(ours, theirs),
        _product(ours - theirs, ours - theirs),
        _product(noise, noise),
    )


def distance_edges(
    pairs: PairBlocks, bins: Sequence[float] = BINS, reaches: Sequence[float] = ()
) -> list[float]:
    """Edges of the ranges of distance that cover all pairs, A.

    Parameters
    ----------
    pairs : PairBlocks
    bins : sequence of float
        Ascending edges.
    reaches : sequence of float
        Further edges, so that no range lies on both sides of them.
    """
    farthest = float(pairs.distance.max(initial=0.0))
    inner = {edge for edge in (*bins, *reaches) if edge <= farthest}
    outer = [edge for edge in (*bins, *reaches) if edge > farthest]
    return sorted({0.0, *inner, min(outer, default=math.floor(farthest) + 1.0)})


def joined(parts: Sequence[PairBlocks]) -> PairBlocks:
    """The pairs of several frames."""
    columns = (np.concatenate([getattr(p, f.name) for p in parts]) for f in fields(PairBlocks))
    return PairBlocks(*columns)


def _blocks(matrix: Array) -> Array:
    """(n, n, 3, 3) blocks of a Hessian."""
    n = len(matrix) // 3
    blocks: Array = matrix.reshape(n, 3, n, 3).transpose(0, 2, 1, 3)
    return blocks


def _product(a: Array, b: Array) -> Array:
    found: Array = np.einsum("pab,pab->p", a, b)
    return found
