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
from muse_lr.data.labels import (
    LABELS,
    applies,
    available_keys,
    bad_value,
    check_label_names,
    has_key,
    read_label,
)
from muse_lr.data.structures import find_problems, is_finite_number
from muse_lr.errors import InputError, nearest

__all__ = ["Frame", "find_keys", "read_atoms", "read_frames", "state_charge"]

#: Largest number of keys that an error message lists.
LISTED = 12


@dataclass(frozen=True)
class Frame:
    """One structure of a file.

    Attributes
    ----------
    atoms : ase.Atoms
        The structure as read, with all of ``info`` and ``arrays``. Total charge and spin are
        ``info["total_charge"]`` and ``info["spin"]``, if the file gives them.
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
    keys: Mapping[str, str] | None = None,
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
        Label -> key in the files. Every frame must have this key, unless the label is in
        ``partial``. Other labels are read from the first of their default keys that any frame
        has; every frame must then have it.
    required : sequence of str
        Labels that every frame must have, or at least one frame for labels in ``partial``.
    partial : sequence of str
        Labels that may be missing on some frames.
    elements : sequence of str, optional
        Elements of the model.

    Notes
    -----
    An integer ``info["charge"]`` is used as total charge if ``total_charge`` is not given. The
    stress of open systems is not defined and is not read.

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
    frames = [_frame(atoms, source, found, elements) for atoms, source in structures]
    for label in LABELS:
        _check_presence(frames, label, found.get(label), label in keys, label in partial)
        if label in required and not any(label in frame.labels for frame in frames):
            raise InputError(_absent(frames, paths, label, keys.get(label)))
    return frames


def find_keys(structures: Iterable[Atoms], keys: Mapping[str, str]) -> dict[str, str]:
    """Map each label to its key: the given one, or the first default key of any structure."""
    present: set[str] = set()
    for atoms in structures:
        present.update(available_keys(atoms))
    found = {}
    for label, spec in LABELS.items():
        if label in keys:
            found[label] = keys[label]
        else:
            defaults = [key for key in spec.keys if key in present]
            if defaults:
                found[label] = defaults[0]
    return found


def state_charge(atoms: Atoms) -> None:
    """Copy ``info["charge"]`` to ``info["total_charge"]``, in place, if it is unambiguous.

    Raises
    ------
    InputError
        If it differs from ``total_charge``; or if it is not an integer and there is no
        ``total_charge``.
    """
    charge = atoms.info.get("charge")
    if charge is None:
        return
    stated = atoms.info.get("total_charge")
    if not is_finite_number(charge) or float(charge) != round(float(charge)):
        if stated is not None:
            return
        text = printable(repr(charge))[:40]
        raise InputError(
            f"info['charge'] is {text}: give the total charge in e as info['total_charge']"
        )
    if stated is None:
        atoms.info["total_charge"] = charge
    elif is_finite_number(stated) and float(stated) != float(charge):
        raise InputError(
            f"info['total_charge'] is {stated} but info['charge'] is {charge}: remove one"
        )


def missing_key(atoms: Atoms, label: str, key: str) -> str:
    """Error message for a structure without ``key``; it lists the keys of the structure."""
    there = available_keys(atoms)
    listed = ", ".join(printable(k) for k in there[:LISTED]) or "none"
    more = f" and {len(there) - LISTED} more" if len(there) > LISTED else ""
    return f"no {label} under the key {key!r}{nearest(key, there)}; its keys: {listed}{more}"


def _frame(
    atoms: Atoms, source: str, keys: Mapping[str, str], elements: Sequence[str] | None
) -> Frame:
    try:
        state_charge(atoms)
        for problem in find_problems(atoms, elements):
            raise InputError(problem.message)
        labels = {}
        for label, key in keys.items():
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
    frames: Sequence[Frame], label: str, key: str | None, named: bool, partial: bool
) -> None:
    """Refuse a key that only some frames have, or a configured key that no frame has."""
    if key is None or partial:
        return
    concerned = [frame for frame in frames if applies(label, frame.atoms)]
    carrier = next((frame for frame in concerned if has_key(frame.atoms, key)), None)
    if carrier is None and not named:
        return
    for frame in concerned:
        if label not in frame.labels:
            message = missing_key(frame.atoms, label, key)
            if carrier is not None:
                message = f"mixed labels: {message}, but {carrier.source} has it"
            raise InputError(
                f"{frame.source}: {message}; correct the key, or list {label!r} in data.partial"
            )


def _absent(
    frames: Sequence[Frame], paths: Sequence[str | Path], label: str, key: str | None
) -> str:
    files = ", ".join(printable(path) for path in paths)
    if not frames:
        return f"there are no files to read the label {label} from"
    tried = [key] if key is not None else LABELS[label].keys
    there = ", ".join(printable(k) for k in available_keys(frames[0].atoms)[:LISTED]) or "none"
    return (
        f"{files}: no frame has a label {label}; keys tried: {', '.join(tried)}; "
        f"keys found: {there}; set data.keys.{label} to the right one"
    )


def elements_of(frames: Sequence[Frame]) -> tuple[str, ...]:
    """Chemical symbols of the frames, ordered by atomic number."""
    numbers = sorted({int(z) for frame in frames for z in frame.atoms.numbers})
    return tuple(chemical_symbols[z] for z in numbers)
