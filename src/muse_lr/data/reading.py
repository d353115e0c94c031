"""Read structures with their labels; refuse data that cannot be used for training."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from ase import Atoms
from ase.data import chemical_symbols
from numpy.typing import NDArray

from muse_lr.data.formats import place, printable, read_atoms, read_indexed
from muse_lr.data.isolated import is_isolated, must_carry
from muse_lr.data.keys import describe_keys, find_doubts, find_keys
from muse_lr.data.labels import (
    LABELS,
    applies,
    available_keys,
    bad_value,
    check_label_names,
    key_of,
    read_label,
)
from muse_lr.data.structures import element_problems, find_problems
from muse_lr.data.undefined import refuse_undefined, undefined_text, why_undefined
from muse_lr.errors import InputError, described, nearest

__all__ = ["Frame", "read_atoms", "read_frames"]

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
        ``"file.xyz, frame 12"``: the frame is counted from 0 in the whole file, whatever was
        selected.
    keys : dict of str to str
        Label -> key that it was read from.
    undefined : dict of str to str
        Label -> key of a value that was not read, because the label is not defined for the
        structure.
    """

    atoms: Atoms
    labels: dict[str, NDArray[np.float64]]
    source: str
    keys: dict[str, str] = field(default_factory=dict)
    undefined: dict[str, str] = field(default_factory=dict)


def read_frames(
    paths: str | Path | Sequence[str | Path],
    keys: Mapping[str, str | Sequence[str]] | None = None,
    required: Sequence[str] = (),
    partial: Sequence[str] = (),
    elements: Sequence[str] | None = None,
) -> list[Frame]:
    """Read structures and labels, and raise an error for data that cannot be used.

    Parameters
    ----------
    paths : str, Path or sequence of these
        Files, each with a selection of its frames if there is one; see
        :func:`~muse_lr.data.formats.read_indexed`.
    keys : mapping, optional
        Label -> key in the files, or several keys. A frame uses the first one that it has, and
        every frame must have one, unless the label is in ``partial``. Other labels are read from
        their default keys in the same way, where any frame has one of them. Default keys of
        different meaning are refused (:func:`~muse_lr.data.keys.find_doubts`).
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
    paths = [paths] if isinstance(paths, (str, Path)) else list(paths)
    if keys is not None and not isinstance(keys, Mapping):
        form = "{'energy': 'dft_energy'}"
        raise InputError(f"keys maps labels to keys of the files, {form}, not {described(keys)}")
    keys = dict(keys or {})
    required = (required,) if isinstance(required, str) else required
    partial = (partial,) if isinstance(partial, str) else partial
    for names, what in ((list(keys), "keys"), (required, "required"), (partial, "partial")):
        check_label_names(names, what)
    structures: list[tuple[Atoms, str]] = []
    for path in paths:
        file, found_atoms = read_indexed(path)
        structures += [(atoms, place(file, index)) for index, atoms in found_atoms]
    if elements is not None:
        _refuse_unknown(structures, elements)
    found = find_keys((atoms for atoms, _ in structures), keys)
    frames = [_frame(atoms, source, found, partial) for atoms, source in structures]
    refuse_doubts(frames, keys)
    for label in LABELS:
        _check_presence(frames, label, found.get(label), label in keys, label in partial)
        if label in required and not any(label in frame.labels for frame in frames):
            raise InputError(_absent(frames, paths, label, found.get(label)))
    return frames


def _refuse_unknown(structures: Sequence[tuple[Atoms, str]], elements: Sequence[str]) -> None:
    """Raise an error that names the first frame with an element that the model does not know."""
    known = {*elements, "X"}  # X is another problem
    found = [(a, source) for a, source in structures if not known.issuperset(a.symbols)]
    for atoms, source in found[:1]:
        for problem in element_problems(atoms, elements):
            raise InputError(
                f"{source}: {problem.message}. Frames with such elements: {len(found)} of "
                f"{len(structures)}. Leave them out, or train a model on such elements too"
            )


def refuse_doubts(
    frames: Sequence[Frame], keys: Mapping[str, str | Sequence[str]] | None = None
) -> None:
    """Raise an error for default keys of different meaning, among the frames of all files."""
    keys = dict(keys or {})
    structures = [(frame.atoms, frame.source) for frame in frames]
    found = find_keys((frame.atoms for frame in frames), keys)
    for doubt in find_doubts(structures, found, keys):
        raise InputError(f"{frames[doubt.frame].source}: {doubt.message}")


def label_notes(frames: Sequence[Frame]) -> Iterator[str]:
    """Yield notes on labels that have several keys, or that are not defined for some frames."""
    for label in LABELS:
        counts = Counter(frame.keys[label] for frame in frames if label in frame.keys)
        if len(counts) > 1:
            yield describe_keys(label, counts)
        text = undefined_note(frames, label)
        if text is not None:
            yield text


def undefined_note(frames: Sequence[Frame], label: str) -> str | None:
    """Describe the frames with a value of a label that is not defined for them, or None."""
    found = [
        (frame.undefined[label], reason)
        for frame in frames
        if label in frame.undefined and (reason := why_undefined(label, frame.atoms)) is not None
    ]
    return undefined_text(label, found) if found else None


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
    partial: Sequence[str],
) -> Frame:
    try:
        for problem in find_problems(atoms):
            raise InputError(problem.message)
        labels: dict[str, NDArray[np.float64]] = {}
        used: dict[str, str] = {}
        undefined: dict[str, str] = {}
        for label, candidates in keys.items():
            key = key_of(atoms, candidates)
            if key is None:
                continue
            if label not in partial:
                refuse_undefined(atoms, label, key)
            values = read_label(atoms, label, key) if applies(label, atoms) else None
            if values is None:
                undefined[label] = key
                continue
            bad = bad_value(values, label)
            if bad is not None:
                raise InputError(f"{bad[0]} (key {key!r})")
            labels[label], used[label] = values, key
    except InputError as error:
        raise InputError(f"{source}: {error}") from error
    return Frame(atoms, labels, source, used, undefined)


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
    undefined = undefined_note(frames, label)
    if undefined is not None:
        return f"{files}: the label {label} is not defined for these structures: {undefined}"
    if all(is_isolated(frame.atoms) for frame in frames):
        return (
            f"{files}: no frame has a label {label}, since all are isolated atoms, which only give "
            "the E0s: add other structures"
        )
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
