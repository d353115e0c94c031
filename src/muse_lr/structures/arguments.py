"""Arguments that users give: structures, cutoffs and labels of the right type."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import PurePath
from typing import Any

import numpy as np
from ase import Atoms
from numpy.typing import NDArray

from muse_lr.errors import InputError, described

LAST_ELEMENT = 118


def check_atoms(atoms: Any, what: str = "") -> Atoms:
    """Return ``atoms``, or raise an error that says how to get a structure.

    Parameters
    ----------
    atoms : object
        What a user gave as a structure.
    what : str
        Start of the message, such as ``"crystal: "``.
    """
    if isinstance(atoms, Atoms):
        return atoms
    hint = "; read a file with ase.io.read" if isinstance(atoms, (str, PurePath)) else ""
    raise InputError(f"{what}an ase.Atoms is needed, not {described(atoms)}{hint}")


def check_cutoff(cutoff: Any) -> float:
    """Return a cutoff in A as a number; 0 means no edges. Anything else is an error."""
    try:
        radius = math.nan if isinstance(cutoff, str) else float(cutoff)
    except (TypeError, ValueError, RuntimeError):
        radius = math.nan
    if not 0 <= radius < math.inf:
        raise InputError(
            f"the cutoff is {described(cutoff)}: a distance in A is needed, model.cutoff"
        )
    return radius


def check_elements(numbers: NDArray[Any]) -> NDArray[np.int64]:
    """Copy atomic numbers to int64; a number that is no element is an error."""
    wrong = np.flatnonzero(~((numbers >= 1) & (numbers <= LAST_ELEMENT) & (numbers % 1 == 0)))
    if len(wrong):
        raise InputError(f"atom {wrong[0]} has the atomic number {numbers[wrong[0]]}: no element")
    return np.array(numbers, dtype=np.int64, order="C")


def label_mappings(labels: Any, count: int) -> Sequence[Mapping[str, Any]]:
    """Labels of each of ``count`` structures, from the argument of ``AtomsBatch.from_ase``.

    Raises
    ------
    InputError
        If it is not one mapping for each structure.
    """
    if labels is None:
        return [{}] * count
    form = "labels takes the values of each structure, [{'energy': -76.3, 'forces': array}, ...]"
    if not isinstance(labels, (list, tuple)):
        raise InputError(f"{form}, not {described(labels)}")
    for index, values in enumerate(labels):
        if not isinstance(values, Mapping):
            raise InputError(f"{form}; item {index} is {described(values)}")
    if len(labels) != count:
        raise InputError(f"labels has {len(labels)} items for {count} structures; {form}")
    return labels
