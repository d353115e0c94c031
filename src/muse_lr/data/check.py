"""Check a file of reference data: statistics and a list of all problems."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
from ase import Atoms
from numpy.typing import NDArray

from muse_lr.data.composition import CompositionFit, fit_composition
from muse_lr.data.findings import CheckReport, Finding
from muse_lr.data.formats import Unreadable, scan_file
from muse_lr.data.labels import (
    LABELS,
    applies,
    available_keys,
    bad_value,
    check_label_names,
    conflicting,
    has_key,
    read_label,
)
from muse_lr.data.reading import find_keys, missing_key, state_charge
from muse_lr.data.structures import boundary, find_problems, is_finite_number
from muse_lr.data.suspicions import find_duplicates, find_suspicions
from muse_lr.data.units_check import unit_hints
from muse_lr.errors import InputError

#: An outlier exceeds both thresholds: robust standard deviations and eV/atom.
OUTLIER_SCORE = 12.0
OUTLIER_ENERGY = 0.02
#: Outliers are only searched for with at least this many frames per determined E0.
FEWEST_FRAMES = 4


def check_file(path: str | Path, keys: Mapping[str, str] | None = None) -> CheckReport:
    """Read a file and report everything that is wrong with it.

    Parameters
    ----------
    path : str or Path
    keys : mapping, optional
        Label -> key in the file; default: the first default key that is present.

    Raises
    ------
    InputError
        If ``keys`` contains an unknown label. All other problems are findings of the report.
    """
    keys = dict(keys or {})
    check_label_names(list(keys), "keys")
    report = CheckReport(Path(path))
    structures: dict[int, Atoms] = {}
    index = 0
    for item in scan_file(path):
        if isinstance(item, Unreadable):
            report.findings.append(Finding("error", "unreadable", item.message, item.frame))
            index += item.frame is not None
        else:
            structures[index] = item
            index += 1
    found = find_keys(structures.values(), keys)
    values = {frame: _check_frame(report, frame, a, found) for frame, a in structures.items()}
    _count(report, structures, found)
    if structures:
        _check_presence(report, structures, keys, found)
        _check_energies(report, structures, values)
    report.findings.sort(key=lambda finding: (finding.severity, -finding.size))
    return report


def _check_frame(
    report: CheckReport, frame: int, atoms: Atoms, keys: Mapping[str, str]
) -> dict[str, NDArray[np.float64]]:
    """Return the valid labels of a frame and add its problems to the report."""
    try:
        state_charge(atoms)
    except InputError as error:
        report.findings.append(Finding("error", "charge", str(error), frame))
    problems = list(find_problems(atoms))
    for problem in problems:
        finding = Finding("error", problem.kind, problem.message, frame, problem.atom)
        report.findings.append(finding)
    values: dict[str, NDArray[np.float64]] = {}
    for label, key in keys.items():
        if not applies(label, atoms) or not has_key(atoms, key):
            continue
        try:
            value = read_label(atoms, label, key)
        except InputError as error:
            report.findings.append(Finding("error", f"{label} value", str(error), frame))
            continue
        bad = bad_value(value, label) if value is not None else None
        if bad is not None:
            report.findings.append(Finding("error", f"{label} value", bad[0], frame, bad[1]))
        elif value is not None:
            values[label] = value
        if conflicting(atoms, key):
            text = f"two different values under {key!r}: one in info or arrays, one of a calculator"
            report.findings.append(Finding("error", f"{label} conflict", text, frame))
    if not problems:
        for kind, message, size in find_suspicions(atoms, values):
            report.findings.append(Finding("warning", kind, message, frame, size=size))
    return values


def _count(report: CheckReport, structures: Mapping[int, Atoms], keys: Mapping[str, str]) -> None:
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
    for name, counter in (("total_charge", report.total_charges), ("spin", report.spins)):
        stated = [a.info[name] for a in everything if is_finite_number(a.info.get(name))]
        counter.update(Counter(f"{float(v):g}" for v in sorted(stated)))
    present = Counter(key for atoms in everything for key in available_keys(atoms))
    report.labels = {label: (key, present[key]) for label, key in keys.items() if present[key]}
    used = set(keys.values()) | {"total_charge", "spin"}
    report.keys = {key: n for key, n in sorted(present.items()) if key not in used}


def _check_presence(
    report: CheckReport,
    structures: Mapping[int, Atoms],
    named: Mapping[str, str],
    keys: Mapping[str, str],
) -> None:
    add = report.findings.append
    for label in LABELS:
        concerned = {i: atoms for i, atoms in structures.items() if applies(label, atoms)}
        key = keys.get(label)
        lacking = [i for i, a in concerned.items() if key is None or not has_key(a, key)]
        if key is not None and len(lacking) < len(concerned):
            for i in lacking:
                text = missing_key(concerned[i], label, key)
                add(Finding("error", f"mixed {label}", f"mixed labels: {text}", i))
        elif label in named and concerned:
            text = missing_key(next(iter(concerned.values())), label, named[label])
            add(Finding("error", f"missing {label}", f"on all frames: {text}"))
        elif label == "energy":
            there = ", ".join(report.keys) or "none"
            text = f"no energy under a usual key; give it with --keys energy=KEY; keys: {there}"
            add(Finding("error", "missing energy", text))
        elif label == "forces":
            add(Finding("warning", "missing forces", "there are no forces"))


def _check_energies(
    report: CheckReport,
    structures: Mapping[int, Atoms],
    values: Mapping[int, Mapping[str, NDArray[np.float64]]],
) -> None:
    """Look for outliers, undetermined E0s, wrong units and duplicates."""
    broken = {finding.frame for finding in report.errors}
    indices = [i for i in structures if i not in broken]
    atoms = [structures[i] for i in indices]
    energies = np.array([float(values[i].get("energy", np.nan)) for i in indices])
    forces = [values[i].get("forces") for i in indices]
    known = np.flatnonzero(np.isfinite(energies))
    report.fit = fit_composition([atoms[k] for k in known], energies[known])
    for fit in filter(None, [report.fit]):
        sizes = np.array([len(atoms[k]) for k in known])
        per_atom = energies[known] / sizes
        report.energy_range = (float(per_atom.min()), float(per_atom.max()))
        report.findings += _outliers(fit, [indices[k] for k in known])
    stacked = [f for f in forces if f is not None]
    if stacked:
        together = np.concatenate(stacked)
        report.force_rms = float(np.sqrt(np.mean(together**2)))
        report.force_max = float(np.linalg.norm(together, axis=1).max())
    unique = report.fit is not None and report.fit.rank == len(report.fit.e0)
    e0 = report.fit.e0 if report.fit is not None and unique else {}
    for text in unit_hints(atoms, energies, forces, e0):
        report.findings.append(Finding("warning", "units", text))
    for severity, position, text in find_duplicates(atoms, energies, indices):
        report.findings.append(Finding(severity, "duplicate", text, indices[position]))


def _outliers(fit: CompositionFit, frames: list[int]) -> Iterator[Finding]:
    if fit.rank < len(fit.e0):
        text = (
            f"the compositions have rank {fit.rank} for {len(fit.e0)} elements, so that "
            "least-squares E0s are not unique: give model.e0 to predict other compositions"
        )
        yield Finding("warning", "rank", text)
    if len(frames) < FEWEST_FRAMES * fit.rank:
        return
    center = float(np.median(fit.residuals))
    for k in range(len(frames)):
        excess = float(fit.residuals[k]) - center
        if fit.scores[k] > OUTLIER_SCORE and abs(excess) > OUTLIER_ENERGY:
            text = (
                f"the energy is an outlier: {excess:+.3g} eV/atom from the fit to the composition, "
                f"{fit.scores[k]:.0f} robust standard deviations"
            )
            yield Finding("warning", "energy outlier", text, frames[k], size=abs(excess))
