"""Check a file of reference data: statistics and a list of all problems."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np
from ase import Atoms
from numpy.typing import NDArray

from muse_lr.data.charge_kinds import charge_hint, spin_hint
from muse_lr.data.energy_check import check_energies
from muse_lr.data.findings import CheckReport, Finding
from muse_lr.data.formats import Unreadable, choose, printable, scan_file
from muse_lr.data.info_keys import dividing_keys
from muse_lr.data.isolated import is_isolated, must_carry
from muse_lr.data.keys import describe_keys, find_doubts, find_keys, likely_forces
from muse_lr.data.labels import (
    LABELS,
    applies,
    available_keys,
    bad_value,
    check_label_names,
    conflicting,
    key_of,
    read_label,
)
from muse_lr.data.reading import missing_key
from muse_lr.data.selection import parse_source
from muse_lr.data.structures import boundary, find_problems
from muse_lr.data.suspicions import find_suspicions
from muse_lr.data.trajectory import find_trajectory, trajectory_note
from muse_lr.data.undefined import refuse_undefined, undefined_text, why_undefined
from muse_lr.data.vacuum import gap_question
from muse_lr.errors import InputError
from muse_lr.structures.state import STATE_KEYS, State, read_state


def check_file(
    path: str | Path, keys: Mapping[str, str] | None = None, alone: bool = True
) -> CheckReport:
    """Read a file and report everything that is wrong with it.

    Parameters
    ----------
    path : str or Path
        A file, with a selection of its frames if there is one (:mod:`muse_lr.data.selection`).
    keys : mapping, optional
        Label -> key in the file; default: the first default key that is present.
    alone : bool
        Whether the file is divided into training and test frames; False if it is a test set or has
        one.

    Raises
    ------
    InputError
        If ``keys`` contains an unknown label, or if the file does not have what the selection of
        its frames names. All other problems are findings of the report.
    """
    keys = dict(keys or {})
    check_label_names(list(keys), "keys")
    report = CheckReport(Path(path))
    source = parse_source(path)
    structures: dict[int, Atoms] = {}
    index = 0
    for item in scan_file(source.file):
        if isinstance(item, Unreadable):
            report.findings.append(Finding("error", "unreadable", item.message, item.frame))
            index += item.frame is not None
        else:
            structures[index] = item
            index += 1
    if source.selections:  # of a file that can be read whole
        every = [] if report.findings else choose(source, list(structures.values()))
        structures = dict(every)
    found = find_keys(structures.values(), keys)
    values = {frame: _check_frame(report, frame, a, found) for frame, a in structures.items()}
    _count(report, structures, found)
    if structures:
        _check_presence(report, structures, keys, found)
        _check_keys(report, structures, keys, found)
        check_energies(report, structures, values)
        _suggest(report, structures, alone)
    order = ("error", "warning", "note")
    report.findings.sort(key=lambda finding: (order.index(finding.severity), -finding.size))
    return report


def _check_frame(
    report: CheckReport, frame: int, atoms: Atoms, keys: Mapping[str, tuple[str, ...]]
) -> dict[str, NDArray[np.float64]]:
    """Return the valid labels of a frame and add its problems to the report."""
    problems = list(find_problems(atoms))
    for problem in problems:
        finding = Finding("error", problem.kind, problem.message, frame, problem.atom)
        report.findings.append(finding)
    values: dict[str, NDArray[np.float64]] = {}
    if any(problem.kind == "state" for problem in problems):
        return values  # labels depend on the total charge
    for label, candidates in keys.items():
        key = key_of(atoms, candidates)
        if key is None:
            continue
        try:
            refuse_undefined(atoms, label, key)
            value = read_label(atoms, label, key) if applies(label, atoms) else None
        except InputError as error:
            report.findings.append(Finding("error", f"{label} value", str(error), frame))
            continue
        bad = bad_value(value, label) if value is not None else None
        if bad is not None:
            report.findings.append(Finding("error", f"{label} value", bad[0], frame, bad[1]))
        elif value is not None:
            values[label] = value
        if value is not None and conflicting(atoms, key):
            text = f"two different values under {key!r}: one in info or arrays, one of a calculator"
            report.findings.append(Finding("error", f"{label} conflict", text, frame))
    if not problems:
        for kind, message, size in find_suspicions(atoms, values):
            report.findings.append(Finding("warning", kind, message, frame, size=size))
    return values


def _count(
    report: CheckReport, structures: Mapping[int, Atoms], keys: Mapping[str, tuple[str, ...]]
) -> None:
    everything = list(structures.values())
    report.n_frames = len(everything)
    if not everything:
        return
    sizes = [len(atoms) for atoms in everything]
    report.sizes = (min(sizes), max(sizes))
    numbers = np.concatenate([atoms.numbers for atoms in everything])
    symbols = Atoms(numbers=np.unique(numbers)).get_chemical_symbols()
    counts = np.unique(numbers, return_counts=True)[1]
    report.elements = {s: int(n) for s, n in zip(symbols, counts, strict=True)}
    report.boundaries = dict(Counter(boundary(atoms) for atoms in everything))
    states = list(filter(None, map(_state_of, everything)))
    charges = sorted(state.total_charge for state in states if state.charge_stated)
    report.total_charges.update(Counter(f"{charge:g}" for charge in charges))
    spins = sorted(state.spin for state in states if state.spin_stated)
    report.spins.update(Counter(f"{spin:g}" for spin in spins))
    present = Counter(key for atoms in everything for key in available_keys(atoms))
    for label, candidates in keys.items():
        used_keys = Counter(filter(None, (key_of(atoms, candidates) for atoms in everything)))
        if used_keys:
            report.labels[label] = {key: used_keys[key] for key in candidates if used_keys[key]}
    used = {key for candidates in keys.values() for key in candidates} | set(STATE_KEYS)
    report.keys = {key: n for key, n in sorted(present.items()) if key not in used}
    report.dividing = dividing_keys([atoms.info for atoms in everything], used)


def _state_of(atoms: Atoms) -> State | None:
    """State of a structure, or None if it is invalid, which is another finding."""
    try:
        return read_state(atoms)
    except InputError:
        return None


def _check_presence(
    report: CheckReport,
    structures: Mapping[int, Atoms],
    named: Mapping[str, str],
    keys: Mapping[str, tuple[str, ...]],
) -> None:
    add = report.findings.append
    valid = {i: atoms for i, atoms in structures.items() if _state_of(atoms) is not None}
    for label in LABELS:
        concerned = {i: atoms for i, atoms in valid.items() if applies(label, atoms)}
        candidates = keys.get(label, ())
        lacking = [i for i, a in concerned.items() if key_of(a, candidates) is None]
        if len(lacking) < len(concerned):
            for i in (i for i in lacking if must_carry(concerned[i], label)):
                text = missing_key(concerned[i], label, candidates)
                add(Finding("error", f"mixed {label}", f"mixed labels: {text}", i))
        elif label in named and concerned:
            text = missing_key(next(iter(concerned.values())), label, (named[label],))
            add(Finding("error", f"missing {label}", f"on all frames: {text}"))
        elif label == "energy":
            there = ", ".join(report.keys) or "none"
            text = f"no energy under a usual key; give it with --keys energy=KEY; keys: {there}"
            add(Finding("error", "missing energy", text))
        elif label == "forces":
            add(Finding("warning", "missing forces", _no_forces(valid.values())))


def _no_forces(structures: Iterable[Atoms]) -> str:
    """Say that there are no forces, and which arrays may be meant."""
    text, names = "there are no forces", likely_forces(structures)
    if not names:
        return text
    shown = " or ".join(f"`{printable(name)}`" for name in names)
    return f"{text}; is it {shown}? give --keys forces={printable(names[0])}"


def _check_keys(
    report: CheckReport,
    structures: Mapping[int, Atoms],
    named: Mapping[str, str],
    keys: Mapping[str, tuple[str, ...]],
) -> None:
    """Report keys of different meaning, several keys, and labels that are not defined."""
    add = report.findings.append
    valid = {i: atoms for i, atoms in structures.items() if _state_of(atoms) is not None}
    frames = list(valid)
    pairs = [(valid[i], f"frame {i}") for i in frames]
    for doubt in find_doubts(pairs, keys, named):
        kind = f"{doubt.kind} {doubt.label}"
        add(Finding("error", kind, doubt.message, frames[doubt.frame]))
    for label, candidates in keys.items():
        counts = report.labels.get(label, {})
        if len(counts) > 1:
            add(Finding("note", f"keys of {label}", describe_keys(label, counts)))
        found = [
            (key, reason)
            for atoms in valid.values()
            if (key := key_of(atoms, candidates)) is not None
            and (reason := why_undefined(label, atoms)) is not None
        ]
        if found:
            add(Finding("note", f"undefined {label}", undefined_text(label, found)))


def _suggest(report: CheckReport, structures: Mapping[int, Atoms], alone: bool) -> None:
    """Ask about empty cells and similar frames, and say what uses total charges and spins."""
    broken = {finding.frame for finding in report.errors}
    valid = [atoms for frame, atoms in structures.items() if frame not in broken]
    report.trajectory = find_trajectory(valid)
    if report.trajectory is not None and alone:
        text = trajectory_note(report.trajectory, printable(report.path), len(structures))
        report.findings.append(Finding("note", "trajectory", text))
    for frame, atoms in structures.items():
        question = None if frame in broken or is_isolated(atoms) else gap_question(atoms)
        if question is not None:
            kind = f"gap, {question.boundary}"
            finding = Finding("warning", kind, question.text, frame, size=question.width)
            report.findings.append(finding)
    if any(float(charge) for charge in report.total_charges):
        report.findings.append(Finding("note", "charges", charge_hint()))
    if any(float(spin) > 2 for spin in report.spins):
        report.findings.append(Finding("note", "spin", spin_hint()))
