"""How far the composition alone explains the energies: a robust least-squares fit of E0s."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from ase import Atoms
from ase.data import chemical_symbols
from numpy.typing import NDArray

#: Rows whose residual is beyond so many robust standard deviations are left out of the fit.
TRIM = 10.0
#: If more than this share is left out, the data is a mixture rather than spoilt.
MOST_OUTLIERS = 0.2
ITERATIONS = 30
#: Makes the median absolute deviation a standard deviation for normal errors.
MAD_TO_SIGMA = 1.4826


@dataclass(frozen=True)
class CompositionFit:
    """E(frame) ~ sum over elements of count x E0.

    Attributes
    ----------
    e0 : dict of str to float
        Energy by element, eV; of least norm where the rank is deficient.
    rank : int
        Of the matrix of counts; below ``len(e0)`` the E0s are not unique.
    residuals : ndarray
        (n_frames,) in eV/atom.
    scores : ndarray
        (n_frames,) distance of each residual from the median in robust standard deviations.
    """

    e0: dict[str, float]
    rank: int
    residuals: NDArray[np.float64]
    scores: NDArray[np.float64]

    @property
    def rms(self) -> float:
        """Root mean square of the residuals, eV/atom."""
        return float(np.sqrt(np.mean(self.residuals**2)))


def fit_composition(
    structures: Sequence[Atoms], energies: NDArray[np.float64]
) -> CompositionFit | None:
    """Fit E0s to energies per atom, leaving out gross outliers; None without structures.

    Parameters
    ----------
    structures : sequence of ase.Atoms
    energies : ndarray
        (n_frames,) in eV, finite.
    """
    if not structures:
        return None
    tables = [np.bincount(atoms.numbers, minlength=len(chemical_symbols)) for atoms in structures]
    counts = np.stack(tables).astype(np.float64)
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
    return CompositionFit(e0, rank, residuals, scores)


def _least_absolute(rows: NDArray[np.float64], targets: NDArray[np.float64]) -> NDArray[np.float64]:
    """Solution of least absolute residuals, which outliers hardly move (reweighted squares)."""
    weights = np.ones_like(targets)
    solution = np.zeros_like(rows[0])
    for _ in range(ITERATIONS):
        solution = np.linalg.lstsq(rows * weights[:, None], targets * weights, rcond=None)[0]
        weights = np.maximum(np.abs(targets - rows @ solution), 1e-6) ** -0.5
    return solution


def _robust_scores(values: NDArray[np.float64]) -> NDArray[np.float64]:
    distance = np.abs(values - np.median(values))
    sigma = MAD_TO_SIGMA * float(np.median(distance))
    # Identical energies have no spread: rounding errors are no outliers then.
    return distance / max(sigma, 1e-6)
