"""Predictions from the composition alone, as a scale for errors.

A small error means little for a label that hardly varies. Errors are therefore compared with those
of the best predictor that knows the number of atoms of each element and nothing else. It is fitted
to the same references by least squares:

==============  ==================================================  ==========================
label           mean predictor                                      its RMSE is
==============  ==================================================  ==========================
energy          a sum of one constant for each element              the standard deviation per
                                                                    atom, in data of one
                                                                    composition
relative        zero                                                the standard deviation
energy                                                              within the compositions
forces, dipole  zero, the mean over all orientations                the RMS of the reference
quadrupole
charges,        the mean of the element                             the standard deviation
potential                                                           within the elements
bec             the mean of the element times the unit matrix
stress,         the mean times the unit matrix
dielectric
polarizability  a sum of one constant for each element, times the
                unit matrix
==============  ==================================================  ==========================

A polarization is known up to e times a lattice vector only, so that it has no mean.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from muse_lr.reporting.breakdown.quantity import Quantity
from muse_lr.reporting.predictions import Predictions

Array = NDArray[np.float64]

#: What the mean predictor of a label is, for tables and captions.
MEAN_PREDICTORS = {
    "energy": "one constant for each element, fitted to these energies",
    "relative_energy": "zero, the mean of the composition",
    "forces": "zero",
    "stress": "the mean pressure",
    "dipole": "zero",
    "quadrupole": "zero",
    "charges": "the mean of the element",
    "potential": "the mean of the element",
    "bec": "the mean of the element, isotropic",
    "polarizability": "one constant for each element, fitted to these values, isotropic",
    "dielectric": "the mean, isotropic",
}
#: What the RMSE of the mean predictor is, for sentences.
SCALES = {
    "energy": "the standard deviation per atom at fixed composition",
    "relative_energy": "the standard deviation within the compositions",
    "forces": "the RMS of the reference",
    "stress": "the standard deviation about the mean pressure",
    "dipole": "the RMS of the reference",
    "quadrupole": "the RMS of the reference",
    "charges": "the standard deviation within the elements",
    "potential": "the standard deviation within the elements",
    "bec": "the standard deviation within the elements",
    "polarizability": "the standard deviation at fixed composition",
    "dielectric": "the standard deviation",
}
#: Labels with a constant for each element, and the frames for each constant from which on the mean
#: predictor is a fair scale: few frames are fitted too well.
FITTED, FRAMES_PER_CONSTANT = ("energy", "polarizability"), 3
#: Components of a 3 x 3 tensor on its diagonal.
DIAGONAL = (0, 4, 8)
#: Differences from the mean below this fraction of the largest reference are rounding.
ROUNDING = 1e-12


def mean_prediction(predictions: Predictions, label: str) -> Array | None:
    """Predict a label from the composition alone.

    Parameters
    ----------
    predictions : Predictions
    label : str
        A label of ``predictions.quantities``.

    Returns
    -------
    Array or None
        (n_components,) in the units of the data. None for a label without a mean, and if there are
        not more values than fitted constants, since these would then reproduce the references.
    """
    quantity = predictions.quantities[label]
    reference = quantity.reference
    if label not in MEAN_PREDICTORS:
        return None
    found: Array | None = np.zeros_like(reference)
    if label == "energy":
        atoms = predictions.num_atoms[quantity.frame]
        found = _fitted(predictions.composition[quantity.frame] / atoms[:, None], reference / atoms)
        found = None if found is None else found * atoms
    elif label in ("charges", "potential"):
        found = _means(reference, quantity.element)
    elif label == "polarizability":
        found = _on_diagonal(quantity, predictions.composition[quantity.frame])
    elif label == "bec":
        found = _on_diagonal(quantity, (quantity.element[:, None] == predictions.elements) * 1.0)
    elif label in ("stress", "dielectric"):
        found = _on_diagonal(quantity, np.ones((len(reference), 1)))
    if found is None:
        return None
    exact = np.abs(found - reference) <= ROUNDING * np.abs(reference).max()
    return np.where(exact, reference, found)


def is_fair(predictions: Predictions, label: str) -> bool:
    """Whether a model that is worse than the mean predictor says something about the model."""
    frames = len(np.unique(predictions.quantities[label].frame))
    return label not in FITTED or frames >= FRAMES_PER_CONSTANT * len(predictions.elements)


def _means(values: Array, element: NDArray[np.int64]) -> Array:
    """Replace each value by the mean of its element."""
    _, which = np.unique(element, return_inverse=True)
    means: Array = np.bincount(which, values) / np.bincount(which)
    return means[which]


def _fitted(rows: Array, values: Array) -> Array | None:
    """Least-squares fit of ``values`` (n,) to the columns of ``rows`` (n, m), or None."""
    solution, _, rank, _ = np.linalg.lstsq(rows, values, rcond=None)
    fitted: Array = rows @ solution
    return fitted if len(values) > rank else None


def _on_diagonal(quantity: Quantity, rows: Array) -> Array:
    """Fit the diagonal components to the columns of ``rows``; the others are predicted as zero."""
    diagonal = np.isin(quantity.component, DIAGONAL)
    found = np.zeros_like(quantity.reference)
    chosen, values = rows[diagonal], quantity.reference[diagonal]
    if len(values):
        found[diagonal] = chosen @ np.linalg.lstsq(chosen, values, rcond=None)[0]
    return found
