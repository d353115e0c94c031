"""Robust least-squares fit of atomic reference energies (E0s) to the compositions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from ase import Atoms
from ase.data import chemical_symbols
from numpy.typing import NDArray

#: Rows with a residual above this many robust standard deviations are left out of the fit.
TRIM = 10.0
#: If a larger fraction would be left out, the data is a mixture and all rows are kept.
MOST_OUTLIERS = 0.2
ITERATIONS = 30
#: Smallest weight of an element in a combination of numbers of atoms that is always zero.
UNDETERMINED = 1e-6
#: Largest distance of fractions of elements from a combination of others.
COMBINED = 1e-6
#: Converts the median absolute deviation to a standard deviation, for normal errors.
MAD_TO_SIGMA = 1.4826


@dataclass(frozen=True)
class CompositionFit:
    """Result of the fit E(frame) ~ sum over elements of count x E0.

    Attributes
    ----------
    e0 : dict of str to float
        Energy of each element, eV; the least-norm solution if the rank is deficient.
    rank : int
        Rank of the matrix of counts. If it is below ``len(e0)``, the E0s are not unique.
    undetermined : tuple of str
        Elements whose E0 is not unique, because their numbers depend on each other.
    residuals : ndarray
        (n_frames,) energy minus fit, eV/atom.
    scores : ndarray
        (n_frames,) distance of each residual from the median, in robust standard deviations.
    """

    e0: dict[str, float]
    rank: int
    undetermined: tuple[str, ...]
    residuals: NDArray[np.float64]
    scores: NDArray[np.float64]

    @property
    def rms(self) -> float:
        """Root mean square of the residuals, eV/atom."""
        return float(np.sqrt(np.mean(self.residuals**2)))


def fit_composition(
    structures: Sequence[Atoms], energies: NDArray[np.float64]
) -> CompositionFit | None:
    """Fit E0s to energies per atom and leave out gross outliers; None without structures.

    Parameters
    ----------
    structures : sequence of ase.Atoms
    energies : ndarray
        (n_frames,) in eV, finite.
    """
    if not structures:
        return None
    counts = _counts(structures)
    numbers = np.flatnonzero(counts.any(0))
    sizes = counts.sum(1)
    fractions = counts[:, numbers] / sizes[:, None]
    targets = energies / sizes
    rank = int(np.linalg.matrix_rank(fractions))
    kept = _robust_scores(targets - fractions @ _least_absolute(fractions, targets)) < TRIM
    too_many = kept.mean() < 1 - MOST_OUTLIERS
    if too_many or np.linalg.matrix_rank(fractions[kept]) < rank:
        kept[:] = True
    solution = np.linalg.lstsq(fractions[kept], targets[kept], rcond=None)[0]
    residuals = targets - fractions @ solution
    scores = _robust_scores(residuals)
    e0 = {chemical_symbols[z]: float(value) for z, value in zip(numbers, solution, strict=True)}
    undetermined = tuple(chemical_symbols[z] for z in numbers[_undetermined(fractions, rank)])
    return CompositionFit(e0, rank, undetermined, residuals, scores)


def outside_span(train: Sequence[Atoms], others: Sequence[Atoms]) -> list[int]:
    """Positions of the structures whose composition is no linear combination of those of training.

    A fit to the training energies says nothing about the sum of the E0s of such a structure.
    """
    if not train or not others:
        return []
    known, asked = (_fractions(_counts(structures)) for structures in (train, others))
    known = np.unique(known, axis=0)
    _, sizes, directions = np.linalg.svd(known, full_matrices=False)
    basis = directions[sizes > COMBINED * sizes[0]]
    distances = np.linalg.norm(asked - asked @ basis.T @ basis, axis=1)
    return np.flatnonzero(distances > COMBINED).tolist()


def _counts(structures: Sequence[Atoms]) -> NDArray[np.float64]:
    """(n_structures, n_elements) number of atoms of each element, by atomic number."""
    tables = [np.bincount(atoms.numbers, minlength=len(chemical_symbols)) for atoms in structures]
    return np.stack(tables).astype(np.float64)


def _fractions(counts: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(counts / counts.sum(1, keepdims=True))


def _undetermined(rows: NDArray[np.float64], rank: int) -> NDArray[np.bool_]:
    """Columns that take part in a combination of columns that is zero in every row."""
    combinations = np.linalg.svd(rows.T @ rows)[2][rank:]
    return np.asarray(np.any(np.abs(combinations) > UNDETERMINED, axis=0))


def _least_absolute(rows: NDArray[np.float64], targets: NDArray[np.float64]) -> NDArray[np.float64]:
    """Least absolute residuals by reweighted least squares, robust against outliers."""
    weights = np.ones_like(targets)
    solution = np.zeros_like(rows[0])
    for _ in range(ITERATIONS):
        solution = np.linalg.lstsq(rows * weights[:, None], targets * weights, rcond=None)[0]
        weights = np.maximum(np.abs(targets - rows @ solution), 1e-6) ** -0.5
    return solution


def _robust_scores(values: NDArray[np.float64]) -> NDArray[np.float64]:
    distance = np.abs(values - np.median(values))
    sigma = MAD_TO_SIGMA * float(np.median(distance))
    # Identical energies have no spread; the floor keeps rounding errors from being outliers.
    return distance / max(sigma, 1e-6)
