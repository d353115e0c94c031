"""Predicted charges of the atoms of a test set, by element."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from ase import Atoms
from numpy.typing import NDArray

Array = NDArray[np.float64]

#: Array of the predicted charges in a file of predictions.
CHARGES = "muse_charges"


def predicted_charges(frames: Sequence[Atoms]) -> dict[int, Array]:
    """Collect the predicted charges of all frames.

    Returns
    -------
    dict of int to Array
        Atomic number -> (n_atoms,) finite charges in e of all atoms of this element, in the order
        of the frames; elements in ascending order. Empty for a model without charges.
    """
    having = [atoms for atoms in frames if CHARGES in atoms.arrays]
    if not having:
        return {}
    numbers = np.concatenate([atoms.numbers for atoms in having])
    charges = np.concatenate([atoms.arrays[CHARGES].astype(np.float64) for atoms in having])
    finite = np.isfinite(charges)
    return {int(z): charges[finite & (numbers == z)] for z in np.unique(numbers[finite])}
