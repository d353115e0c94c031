"""Dimers: structures of two fragments, whose interaction energy is of interest.

A frame is a dimer if it has ``info["size_first"]``, the number of atoms of the first fragment.
``info["fragment_total_charges"]`` has the total charges of the fragments, and
``info["REF_interaction_energy"]`` the reference energy minus those of the fragments, eV.
"""

from __future__ import annotations

import warnings

import numpy as np
from ase import Atoms

from muse_lr.errors import InputError
from muse_lr.structures.state import (
    COARSE_INDEX,
    FIELD_KEY,
    SAME,
    finite_number,
    is_whole,
    read_state,
)

#: Key of the reference interaction energy.
REFERENCE_INTERACTION = "REF_interaction_energy"


def fragments(atoms: Atoms) -> list[Atoms]:
    """Split a dimer into its two fragments, with their total charges if given."""
    size, charges = int(atoms.info["size_first"]), _fragment_charges(atoms)
    parts = []
    for index, part in enumerate((slice(0, size), slice(size, None))):
        fragment = Atoms(atoms.numbers[part], atoms.positions[part], cell=atoms.cell, pbc=atoms.pbc)
        if COARSE_INDEX in atoms.arrays:
            fragment.arrays[COARSE_INDEX] = atoms.arrays[COARSE_INDEX][part]
        if FIELD_KEY in atoms.info:
            fragment.info[FIELD_KEY] = atoms.info[FIELD_KEY]
        if charges is not None:
            fragment.info["total_charge"] = charges[index]
        parts.append(fragment)
    return parts


def has_fragments(atoms: Atoms) -> bool:
    """Whether a frame is a dimer whose fragments have known charges."""
    if "size_first" not in atoms.info:
        return False
    size = finite_number(atoms.info["size_first"])
    if size is None or not is_whole(size) or not 0 < size < len(atoms):
        raise InputError(
            f"size_first of a dimer is {atoms.info['size_first']!s}: it is the number of atoms of "
            f"the first fragment, from 1 to {len(atoms) - 1}"
        )
    known = _fragment_charges(atoms) is not None or read_state(atoms).total_charge == 0
    if not known:
        warnings.warn(
            "a charged dimer has no interaction energy, because it has no fragment_total_charges",
            UserWarning,
            stacklevel=1,
        )
    return known


def _fragment_charges(atoms: Atoms) -> list[float] | None:
    """Total charges of the two fragments of a dimer, or None if they are not stated."""
    given = atoms.info.get("fragment_total_charges")
    if given is None:
        return None
    charges = [finite_number(value) for value in np.ravel(given)]
    known = [charge for charge in charges if charge is not None]
    total = read_state(atoms).total_charge
    if len(charges) != 2 or len(known) != 2 or abs(sum(known) - total) > SAME:
        raise InputError(
            f"fragment_total_charges of a dimer are {given!s}, but its total charge is "
            f"{total:g} e: give two charges that sum to it"
        )
    return known
