"""Structures for a simulation from a file."""

from __future__ import annotations

from ase import Atoms

from muse_lr.data.formats import place, read_indexed


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
