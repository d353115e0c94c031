"""Read structures with their labels; refuse data that cannot be used for training."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from ase import Atoms
from ase.data import chemical_symbols
from numpy.typing import NDArray

from muse_lr.data.formats import place, printable, read_atoms
from muse_lr.data.isolated import must_carry
from muse_lr.data.labels import (
    LABELS,
    applies,
    available_keys,
    bad_value,
    check_label_names,
    key_of,
    read_label,
    refuse_undefined,
)
from muse_lr.data.structures import find_problems
from muse_lr.errors import InputError, nearest

__all__ = ["Frame", "find_keys", "read_atoms", "read_frames"]

#: Largest number of keys that an error message lists.
LISTED = 12


@dataclass(frozen=True)
class Frame:
    """One structure of a file.

    Attributes
    ----------
    atoms : ase.Atoms
        The structure as read, with all of ``info`` and ``arrays``. What it states is read by
        :func:`muse_lr.structures.state.read_state`.
    labels : dict of str to ndarray
        Label -> reference values (:mod:`muse_lr.data.labels`), float64.
    source : str
        ``"file.xyz, frame 12"``, counted from 0.
    """

    atoms: Atoms
    labels: dict[str, NDArray[np.float64]]
    source: str


def read_frames(
    paths: Sequence[str | Path],
    keys: Mapping[str, str | Sequence[str]] | None = None,
    required: Sequence[str] = (),
    partial: Sequence[str] = (),
    elements: Sequence[str] | None = None,
) -> list[Frame]:
    """Read structures and labels, and raise an error for data that cannot be used.

    Parameters
    ----------
    paths : sequence of str or Path
        See :func:`~muse_lr.data.formats.read_atoms`.
    keys : mapping, optional
        Label -> key in the files, or several keys. A frame uses the first one that it has, and
        every frame must have one, unless the label is in ``partial``. Other labels are read from
        their default keys in the same way, where any frame has one of them.
    required : sequence of str
        Labels that every frame must have, or at least one frame for labels in ``partial``.
    partial : sequence of str
        Labels that may be missing on some frames.
    elements : sequence of str, optional
        Elements of the model.

    Notes
    -----
    Total charge, spin, field and groups are read by :func:`muse_lr.structures.state.read_state`.
    The stress of open systems is not defined and is not read.

    Raises
    ------
    InputError
        For the first problem; the message is one line with file, frame, key and atom.
    """
    keys = dict(keys or {})
    for names, what in ((list(keys), "keys"), (required, "required"), (partial, "partial")):
        check_label_names(names, what)
    structures: list[tuple[Atoms, str]] = []
    for path in paths:
        structures += [(atoms, place(path, index)) for index, atoms in enumerate(read_atoms(path))]
    found = find_keys((atoms for atoms, _ in structures), keys)
    frames = [_frame(atoms, source, found, elements, partial) for atoms, source in structures]
    for label in LABELS:
        _check_presence(frames, label, found.get(label), label in keys, label in partial)
        if label in required and not any(label in frame.labels for frame in frames):
            raise InputError(_absent(frames, paths, label, found.get(label)))
    return frames


def find_keys(
    structures: Iterable[Atoms], keys: Mapping[str, str | Sequence[str]]
) -> dict[str, tuple[str, ...]]:
    """Map each label to its keys: the given ones, or all default keys of any structure.

    A structure uses the first of the keys that it has.
    """
    present: set[str] = set()
    for atoms in structures:
        present.update(available_keys(atoms))
    found = {}
    for label, spec in LABELS.items():
        if label in keys:
            given = keys[label]
            found[label] = (given,) if isinstance(given, str) else tuple(given)
        else:
            defaults = tuple(key for key in spec.keys if key in present)
            if defaults:
                found[label] = defaults
    return found


def missing_key(atoms: Atoms, label: str, keys: Sequence[str]) -> str:
    """Error message for a structure without any of ``keys``; it lists the keys that it has."""
    there = available_keys(atoms)
    listed = ", ".join(printable(k) for k in there[:LISTED]) or "none"
    more = f" and {len(there) - LISTED} more" if len(there) > LISTED else ""
    wanted = " or ".join(repr(key) for key in keys)
    hint = nearest(keys[0], there)
    return f"no {label} under the key {wanted}{hint}; its keys: {listed}{more}"


def _frame(
    atoms: Atoms,
    source: str,
    keys: Mapping[str, tuple[str, ...]],
    elements: Sequence[str] | None,
    partial: Sequence[str],
) -> Frame:
    try:
        for problem in find_problems(atoms, elements):
            raise InputError(problem.message)
        labels = {}
        for label, candidates in keys.items():
            key = key_of(atoms, candidates)
            if key is None:
                continue
            if label not in partial:
                refuse_undefined(atoms, label, key)
            values = read_label(atoms, label, key) if applies(label, atoms) else None
            if values is None:
                continue
            bad = bad_value(values, label)
            if bad is not None:
                raise InputError(f"{bad[0]} (key {key!r})")
            labels[label] = values
    except InputError as error:
        raise InputError(f"{source}: {error}") from error
    return Frame(atoms, labels, source)


def _check_presence(
    frames: Sequence[Frame], label: str, keys: tuple[str, ...] | None, named: bool, partial: bool
) -> None:
    """Refuse a label that only some frames have, or configured keys that no frame has."""
    if keys is None or partial:
        return
    concerned = [frame for frame in frames if applies(label, frame.atoms)]
    carrier = next((frame for frame in concerned if label in frame.labels), None)
    if carrier is None and not named:
        return
    for frame in concerned:
        if label not in frame.labels and must_carry(frame.atoms, label):
            message = missing_key(frame.atoms, label, keys)
            if carrier is not None:
                message = f"mixed labels: {message}, but {carrier.source} has it"
            raise InputError(
                f"{frame.source}: {message}; correct the key, or list {label!r} in data.partial"
            )


def _absent(
    frames: Sequence[Frame],
    paths: Sequence[str | Path],
    label: str,
    keys: tuple[str, ...] | None,
) -> str:
    files = ", ".join(printable(path) for path in paths)
    if not frames:
        return f"there are no files to read the label {label} from"
    tried = keys if keys is not None else LABELS[label].keys
    there = ", ".join(printable(k) for k in available_keys(frames[0].atoms)[:LISTED]) or "none"
    return (
        f"{files}: no frame has a label {label}; keys tried: {', '.join(tried)}; "
        f"keys found: {there}; set data.keys.{label} to the right one"
    )


def elements_of(frames: Sequence[Frame]) -> tuple[str, ...]:
    """Chemical symbols of the frames, ordered by atomic number."""
    numbers = sorted({int(z) for frame in frames for z in frame.atoms.numbers})
    return tuple(chemical_symbols[z] for z in numbers)
