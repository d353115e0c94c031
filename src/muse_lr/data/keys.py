"""Keys of the labels in a file, and values that contradict each other under several keys."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from ase import Atoms
from numpy.typing import NDArray

from muse_lr.data.formats import printable
from muse_lr.data.labels import LABELS, applies, available_keys, has_key, key_of, read_label
from muse_lr.errors import InputError

#: Largest absolute and relative difference of two values of the same quantity.
SAME_VALUE, SAME_RELATIVE = 1e-4, 2e-7
#: The same for a stress and a virial, which are often written with few digits; eV/A^3.
SAME_STRESS, SAME_STRESS_RELATIVE = 1e-5, 1e-2
#: Largest relative deviation of the ratio of a stress and a virial from that of a known mistake.
RATIO_TOLERANCE = 0.02
#: Start of the keys that hold references; ASE's own names are then results of a calculator.
REFERENCE = "REF_"
#: Labels that one calculation gives as an energy and its derivatives.
OF_ENERGY = ("energy", "forces", "stress")

#: Names of arrays that are forces: with "force", or with an F of its own, such as ``F_dft``.
FORCES = re.compile(r"force|(^|_)f(_|$)", re.IGNORECASE)

Keys = Mapping[str, Sequence[str]]


@dataclass(frozen=True)
class Doubt:
    """A label that a frame has under keys of different meaning.

    Attributes
    ----------
    frame : int
        Position of the frame.
    label : str
    kind : str
        "ambiguous" for another level of theory, "contradictory" for a stress and a virial.
    message : str
        One line, without the name of the frame.
    """

    frame: int
    label: str
    kind: str
    message: str


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


def likely_forces(structures: Iterable[Atoms]) -> list[str]:
    """Arrays of three numbers for each atom whose names say that they are forces."""
    found = {
        name: None
        for atoms in structures
        for name, values in atoms.arrays.items()
        if FORCES.search(name) and values.shape == (len(atoms), 3) and values.dtype.kind == "f"
    }
    return list(found)


def find_doubts(
    structures: Sequence[tuple[Atoms, str]], keys: Keys, named: Collection[str]
) -> Iterator[Doubt]:
    """Yield labels whose default keys have different meanings; a configured key is never doubted.

    Joined sets may use several keys, such as a stress in some frames and a virial in others. Two
    keys of a label are of different meaning if some frame has different values under both. A frame
    with only the later key is then ambiguous, since its value may be of another level of theory.

    Parameters
    ----------
    structures : sequence of (Atoms, str)
        Structures and their names for messages.
    keys : mapping
        Result of :func:`find_keys`.
    named : collection of str
        Labels whose keys were given.
    """
    several = {label: k for label, k in keys.items() if label not in named and len(k) > 1}
    for label, candidates in several.items():
        yield from _other_meanings(structures, label, candidates)
    if "stress" in several:
        for frame, (atoms, _) in enumerate(structures):
            message = _contradiction(atoms, several["stress"])
            if message is not None:
                yield Doubt(frame, "stress", "contradictory", message)
    for frame, (atoms, _) in enumerate(structures):
        yield from _other_calculation(frame, atoms, keys, named)


def _other_meanings(
    structures: Sequence[tuple[Atoms, str]], label: str, candidates: Sequence[str]
) -> Iterator[Doubt]:
    different: dict[str, tuple[str, str]] = {}  # later key -> earlier key and frame that differ
    for atoms, source in structures:
        key = key_of(atoms, candidates)
        if key is None or not applies(label, atoms):
            continue
        for later in candidates[candidates.index(key) + 1 :]:
            unknown = later not in different and has_key(atoms, later)
            if unknown and not _is_pair(key, later) and not _same(atoms, label, key, later):
                different[later] = (key, source)
    if not different:
        return
    for frame, (atoms, _) in enumerate(structures):
        key = key_of(atoms, candidates)
        if key in different and applies(label, atoms):
            first, source = different[key]
            yield Doubt(
                frame,
                label,
                "ambiguous",
                f"mixed labels: the {label} is only under {key!r}, which is another quantity than "
                f"{first!r}: {source} has both, with different values; set data.keys.{label} to "
                f"one of them, or to [{first}, {key}] if both are meant",
            )


def _other_calculation(
    frame: int, atoms: Atoms, keys: Keys, named: Collection[str]
) -> Iterator[Doubt]:
    """Doubt results of a calculator beside references that it does not agree with."""
    used = {label: key_of(atoms, keys.get(label, ())) for label in OF_ENERGY}
    results = [k for k in OF_ENERGY if used[k] == k and k not in named and applies(k, atoms)]
    if not results:
        return
    for label, key in used.items():
        if key is None or not key.startswith(REFERENCE) or not has_key(atoms, label):
            continue
        if not applies(label, atoms) or _same(atoms, label, key, label):
            continue
        for other in results:
            yield Doubt(
                frame,
                other,
                "ambiguous",
                f"mixed labels: the {other} is only under {other!r}, from another calculation than "
                f"{key!r}, since this frame has another {label} under {label!r}; set "
                f"data.keys.{other} to the key that is meant",
            )
        return


def _contradiction(atoms: Atoms, candidates: Sequence[str]) -> str | None:
    """Describe a stress and a virial of one structure that contradict each other, or None."""
    key = key_of(atoms, candidates)
    if key is None or not applies("stress", atoms):
        return None
    for other in candidates:
        if not _is_pair(key, other) or not has_key(atoms, other):
            continue
        stress, virial = sorted((key, other), key=lambda name: "virial" in name.lower())
        try:
            first, second = (read_label(atoms, "stress", name) for name in (stress, virial))
        except InputError:  # reported with the value
            continue
        if first is None or second is None or not np.isfinite([first, second]).all():
            continue
        limit = SAME_STRESS + SAME_STRESS_RELATIVE * max(np.abs(first).max(), np.abs(second).max())
        if np.abs(first - second).max() > limit:
            reason = _explain(first, second, atoms.get_volume())
            return (
                f"the stress under {stress!r} and the virial under {virial!r} contradict each "
                f"other: {reason}; stress = -virial / volume is needed: set data.keys.stress to "
                "the right one"
            )
    return None


def _explain(stress: NDArray[np.float64], other: NDArray[np.float64], volume: float) -> str:
    if not stress.any() or not other.any():
        return f"the {'virial' if stress.any() else 'stress'} is zero"
    ratio = float(np.sum(stress * other) / np.sum(other**2))
    text = f"the stress is {ratio:.4g} times -virial / volume"
    if np.abs(stress - ratio * other).max() > RATIO_TOLERANCE * np.abs(stress).max():
        largest = np.abs(stress - other).max()
        return f"stress and -virial / volume differ by up to {largest:.3g} eV/Å^3"
    reasons = {
        -1.0: "one has the opposite sign",
        volume: "the stress is not divided by the volume",
        -volume: "the stress is not divided by the volume, and one has the opposite sign",
        1 / volume: "the virial is already divided by the volume",
        -1 / volume: "the virial is already divided by the volume, and one has the opposite sign",
    }
    for value, reason in reasons.items():
        if abs(ratio / value - 1) < RATIO_TOLERANCE:
            return f"{text}: {reason}"
    return text


def _is_pair(first: str, second: str) -> bool:
    """Whether one key holds a stress and the other a virial."""
    return ("virial" in first.lower()) != ("virial" in second.lower())


def _same(atoms: Atoms, label: str, first: str, second: str) -> bool:
    """Whether a structure has the same value under two keys."""
    try:
        one, two = (read_label(atoms, label, key) for key in (first, second))
    except InputError:
        return False
    assert one is not None
    assert two is not None
    limit = SAME_STRESS if label == "stress" else SAME_VALUE
    return np.allclose(one, two, rtol=SAME_RELATIVE, atol=limit, equal_nan=True)


def describe_keys(label: str, counts: Mapping[str, int]) -> str:
    """Say how many frames use each key of a label; usual keys first, in order of priority."""
    usual = LABELS[label].keys
    order = sorted(counts, key=lambda key: (usual.index(key) if key in usual else len(usual), key))
    parts = [f"{printable(key)} ({counts[key]} frames)" for key in order]
    return f"the {label} is read from several keys: {', '.join(parts)}"
