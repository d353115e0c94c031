"""Energies relative to the mean of their composition.

An error of total energies is often for the most part one constant for each composition, such as
that of inexact E0s. It cancels in every difference of two structures of one composition, and so in
forces, barriers and dynamics. Relative energies are what is left: the energy of a frame minus the
mean energy of all frames with the same numbers of atoms of each element, for references and
predictions alike. Frames that are alone with their composition have none.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from muse_lr.reporting.breakdown.quantity import Quantity

Array = NDArray[np.float64]
Index = NDArray[np.int64]

#: Differences from the mean below this fraction of the largest energy are rounding.
ROUNDING = 1e-12


def relative_energies(energy: Quantity, composition: Array) -> Quantity | None:
    """Energies minus the mean energy of their composition.

    Parameters
    ----------
    energy : Quantity
        Total energies, eV.
    composition : Array
        (n_frames, n_elements) number of atoms of each element.

    Returns
    -------
    Quantity or None
        Of the frames that share their composition with another frame; None if there are none.
    """
    _, group, counts = np.unique(
        composition[energy.frame], axis=0, return_inverse=True, return_counts=True
    )
    group = group.reshape(-1)
    shared = counts[group] > 1
    if not shared.any():
        return None
    reference, predicted = (
        _about_mean(values, group, counts)[shared]
        for values in (energy.reference, energy.predicted)
    )
    indices = (energy.frame, energy.atom, energy.element, energy.component)
    return Quantity(reference, predicted, *(index[shared] for index in indices))


def _about_mean(values: Array, group: Index, counts: Index) -> Array:
    """Values (n,) minus the mean of their group."""
    differences: Array = values - (np.bincount(group, values) / counts)[group]
    exact = np.abs(differences) <= ROUNDING * np.abs(values).max()
    return np.where(exact, 0.0, differences)
