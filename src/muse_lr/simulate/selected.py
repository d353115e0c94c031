"""Structures for a simulation from a file."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from ase import Atoms

from muse_lr.data.formats import place, read_indexed
from muse_lr.data.structures import boundary
from muse_lr.structures.state import read_state

#: Largest number of structures that are described.
MOST_SHOWN = 4


def read_starts(source: str) -> tuple[list[Atoms], list[str], int]:
    """Structures from which copies start: the first of a file, or the selected ones.

    Parameters
    ----------
    source : str
        A file, or a file with a selection (:mod:`muse_lr.data.selection`).

    Returns
    -------
    structures : list of ase.Atoms
    sources : list of str
        Description of each for messages.
    left_out : int
        Number of frames of a file without a selection that are not used.

    Raises
    ------
    InputError
        If the file cannot be read.
    """
    file, found = read_indexed(source)
    used = found[:1] if file == source else found
    return (
        [atoms for _, atoms in used],
        [place(file, index) for index, _ in used],
        len(found) - len(used),
    )


def describe_start(atoms: Atoms) -> str:
    """``"H2O, 3 atoms, FFF, total charge 0 e (not stated)"``."""
    state = read_state(atoms)
    stated = "" if state.charge_stated else " (not stated)"
    count = f"{len(atoms)} atom{'s' * (len(atoms) != 1)}"
    return (
        f"{atoms.get_chemical_formula('hill')}, {count}, {boundary(atoms)}, total charge "
        f"{state.total_charge:g} e{stated}"
    )


def start_lines(structures: Sequence[Atoms], sources: Sequence[str]) -> Iterator[str]:
    """What each structure is; of many, the first ones."""
    for atoms, source in list(zip(structures, sources, strict=True))[:MOST_SHOWN]:
        yield f"start: {source}: {describe_start(atoms)}"
    if len(structures) > MOST_SHOWN:
        yield f"start: {len(structures) - MOST_SHOWN} more"
