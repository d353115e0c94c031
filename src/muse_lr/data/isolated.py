"""Isolated atoms: neutral frames of one atom, whose energies are the E0s of a data set."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from ase import Atoms

from muse_lr.errors import InputError
from muse_lr.structures.state import State, read_state

#: Shortest distance between the periodic images of an atom that counts as isolated, A.
FAR = 8.0
#: Value of ``info["config_type"]``, in lower case without separators, that marks isolated atoms.
MARK = "isolatedatom"
#: Largest difference of two energies of the same isolated atom, eV.
SAME_ENERGY = 1e-5
#: Largest number of sources that a message lists.
LISTED = 6


@dataclass(frozen=True)
class IsolatedAtom:
    """Energy of one isolated atom.

    Attributes
    ----------
    symbol : str
    energy : float
        eV.
    source : str
        Where it comes from, for messages.
    """

    symbol: str
    energy: float
    source: str


def is_free_atom(atoms: Atoms) -> bool:
    """Whether a structure is one atom without charge or electric field, at any image distance."""
    state = _state_of_one(atoms)
    return state is not None and state.total_charge == 0 and not any(state.field)


def is_isolated(atoms: Atoms) -> bool:
    """Whether a structure is one neutral atom without a field, far from its periodic images.

    A periodic structure of one atom is a crystal unless its images are at least :data:`FAR` away,
    or its ``info["config_type"]`` is ``IsolatedAtom``.
    """
    return is_free_atom(atoms) and _is_far(atoms)


def must_carry(atoms: Atoms, label: str) -> bool:
    """Whether a structure must have a label that others have.

    The forces on an isolated atom or ion are zero, unless a field acts on the charge of an ion.
    Without a field it may have no label but its energy.
    """
    state = _state_of_one(atoms)
    if label == "energy" or state is None or not _is_far(atoms):
        return True
    return any(state.field) and (label != "forces" or state.total_charge != 0)


def _state_of_one(atoms: Atoms) -> State | None:
    """State of a structure of one atom; None for all others and for an invalid state."""
    if len(atoms) != 1:
        return None
    try:
        return read_state(atoms)
    except InputError:  # reported elsewhere
        return None


def _is_far(atoms: Atoms) -> bool:
    """Whether a structure of one atom is no crystal."""
    mark = str(atoms.info.get("config_type", "")).lower()
    if not atoms.pbc.any() or "".join(filter(str.isalnum, mark)) == MARK:
        return True
    return _image_distance(atoms) >= FAR


def isolated_energies(found: Iterable[IsolatedAtom]) -> dict[str, float]:
    """Energy of each element, eV.

    Raises
    ------
    InputError
        If two atoms of one element have different energies. The message names both.
    """
    first: dict[str, IsolatedAtom] = {}
    for atom in found:
        known = first.setdefault(atom.symbol, atom)
        if abs(known.energy - atom.energy) > SAME_ENERGY:
            raise InputError(
                f"the isolated atoms of {atom.symbol} differ: {known.energy:.10g} eV in "
                f"{known.source} and {atom.energy:.10g} eV in {atom.source}; remove one, or give "
                "numbers in model.e0"
            )
    return {symbol: atom.energy for symbol, atom in first.items()}


def listed(found: Sequence[IsolatedAtom]) -> str:
    """Elements and sources of isolated atoms, for messages; each source once."""
    sources: dict[str, str] = {}
    for atom in found:
        sources.setdefault(atom.source, atom.symbol)
    parts = [f"{symbol}: {source}" for source, symbol in sources.items()]
    more = f" and {len(parts) - LISTED} more" * (len(parts) > LISTED)
    return ", ".join(parts[:LISTED]) + more


def _image_distance(atoms: Atoms) -> float:
    """Shortest distance between periodic images, A."""
    from ase.geometry import minkowski_reduce

    if not atoms.cell.array[atoms.pbc].any(axis=1).all():
        return 0.0
    reduced = minkowski_reduce(atoms.cell.array, atoms.pbc)[0][atoms.pbc]
    return float(np.linalg.norm(reduced, axis=1).min())
