"""Check the energies of a file: outliers, E0s, isolated atoms, units and duplicates."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

import numpy as np
from ase import Atoms
from numpy.typing import NDArray

from muse_lr.data.composition import CompositionFit, fit_composition
from muse_lr.data.findings import RELATIVE_ENERGIES, CheckReport, Finding
from muse_lr.data.isolated import IsolatedAtom, is_isolated, isolated_energies, listed
from muse_lr.data.response_check import response_hints
from muse_lr.data.suspicions import find_duplicates
from muse_lr.data.units_check import unit_hints
from muse_lr.data.vacuum import enumerated
from muse_lr.data.walls import find_walls
from muse_lr.errors import InputError

#: An outlier exceeds both thresholds: robust standard deviations and eV/atom.
OUTLIER_SCORE = 12.0
OUTLIER_ENERGY = 0.02
#: Outliers are only searched for with at least this many frames per determined E0.
FEWEST_FRAMES = 4
#: Names of energies from which those of the atoms or of the fragments are already subtracted.
RELATIVE = re.compile(
    r"interact|binding|formation|atomi[sz]ation|cohesi|adsorption|reaction|relative|difference"
    r"|(^|_)((e|energy)_?(int|ads|bind|coh|form|rel|diff|delta)"
    r"|(int|ads|bind|coh|form|rel|diff|delta|d|Δ)_?(e|en|energy|energies))($|_)",
    re.IGNORECASE,
)
#: Energies below this are too small for total energies, eV/atom.
SMALL_ENERGY = 0.3

Labels = Mapping[int, Mapping[str, NDArray[np.float64]]]


def check_energies(report: CheckReport, structures: Mapping[int, Atoms], values: Labels) -> None:
    """Look for outliers, isolated atoms, undetermined E0s, wrong units and duplicates."""
    broken = {finding.frame for finding in report.errors}
    indices = [i for i in structures if i not in broken]
    atoms = [structures[i] for i in indices]
    energies = np.array([float(values[i].get("energy", np.nan)) for i in indices])
    forces = [values[i].get("forces") for i in indices]
    known = np.flatnonzero(np.isfinite(energies))
    single = [k for k in known if is_isolated(atoms[k])]
    found = [(indices[k], atoms[k], float(energies[k])) for k in single]
    _report_isolated(report, found)
    if len(single) < len(known):  # isolated atoms give the E0s and are no outliers
        known = np.array([k for k in known if k not in set(single)])
    report.fit = fit_composition([atoms[k] for k in known], energies[known])
    if report.fit is not None:
        per_atom = energies[known] / np.array([len(atoms[k]) for k in known])
        report.energy_range = (float(per_atom.min()), float(per_atom.max()))
        report.findings += _relative_energies(report, per_atom)
        chosen = {indices[k]: structures[indices[k]] for k in known}
        report.findings += _undetermined(report.fit, atoms[known[0]])
        report.findings += _outliers(report.fit, chosen, values)
    stacked = [f for f in forces if f is not None]
    if stacked:
        together = np.concatenate(stacked)
        report.force_rms = float(np.sqrt(np.mean(together**2)))
        report.force_max = float(np.linalg.norm(together, axis=1).max())
    unique = report.fit is not None and report.fit.rank == len(report.fit.e0)
    e0 = report.fit.e0 if report.fit is not None and unique else {}
    for text in unit_hints(atoms, energies, forces, e0):
        report.findings.append(Finding("warning", "units", text))
    for text in response_hints(atoms, [values[i] for i in indices]):
        report.findings.append(Finding("warning", "units", text))
    for severity, position, text in find_duplicates(atoms, energies, indices):
        report.findings.append(Finding(severity, "duplicate", text, indices[position]))


def _report_isolated(report: CheckReport, single: list[tuple[int, Atoms, float]]) -> None:
    """Name the isolated atoms, and whether they give the E0s of all elements."""
    found = [
        IsolatedAtom(atoms.get_chemical_symbols()[0], energy, f"frame {frame}")
        for frame, atoms, energy in single
    ]
    if not found:
        return
    text = f"there are isolated atoms ({listed(found)})"
    try:
        report.isolated = isolated_energies(found)
    except InputError as error:
        report.findings.append(Finding("warning", "isolated atoms", str(error)))
        return
    missing = [symbol for symbol in report.elements if symbol not in report.isolated]
    if missing:
        text += f", but none of {', '.join(missing)}: without it they are trained on like others"
    else:
        text += ": model.e0: isolated takes the E0s from them"
    if len(found) == report.n_frames:
        text += (
            "; there is nothing else to train on, so that this is a file for data.isolated_atoms"
        )
    report.findings.append(Finding("note", "isolated atoms", text))


def _relative_energies(report: CheckReport, per_atom: NDArray[np.float64]) -> Iterator[Finding]:
    """Suggest E0s of zero for energies that are no total energies."""
    named = [key for key in report.labels.get("energy", {}) if RELATIVE.search(key)]
    largest = float(np.abs(per_atom).max())
    if named:
        report.relative_energies = True
        text = f"the key {named[0]} names a difference of energies: set model.e0: zero"
        yield Finding("note", RELATIVE_ENERGIES, text)
    elif largest < SMALL_ENERGY:
        text = (
            f"the energies are at most {largest:.2g} eV/atom, too small for total energies: if "
            "those of the atoms or fragments are subtracted, set model.e0: zero"
        )
        yield Finding("note", RELATIVE_ENERGIES, text)


def _undetermined(fit: CompositionFit, example: Atoms) -> Iterator[Finding]:
    """Say that E0s are not unique; for one composition this is of no consequence."""
    if fit.rank == len(fit.e0):
        return
    elements = enumerated(fit.undetermined)
    others = "give model.e0 (energies of isolated atoms) to predict other ones"
    if fit.rank == 1:
        formula = example.get_chemical_formula(empirical=True)
        text = f"all frames have the composition {formula}, which cannot tell the E0s of {elements}"
        yield Finding("note", "rank", f"{text} apart. This does not matter here; {others}")
    else:
        text = (
            f"the E0s of {elements} cannot be told apart, because the numbers of these atoms vary "
            f"together ({fit.rank} independent compositions of {len(fit.e0)} elements). "
            f"This does not matter for such compositions; {others}"
        )
        yield Finding("warning", "rank", text)


def _outliers(
    fit: CompositionFit, structures: Mapping[int, Atoms], values: Labels
) -> Iterator[Finding]:
    frames = list(structures)
    if len(frames) < FEWEST_FRAMES * fit.rank:
        return
    excesses = fit.residuals - np.median(fit.residuals)
    outside = (fit.scores > OUTLIER_SCORE) & (np.abs(excesses) > OUTLIER_ENERGY)
    forces = {frame: values[frame].get("forces") for frame in frames}
    above = {frames[k]: float(excesses[k]) for k in np.flatnonzero(outside & (excesses > 0))}
    below = {frames[k] for k in np.flatnonzero(outside & (excesses < 0))}
    compared = {frame: atoms for frame, atoms in structures.items() if frame not in below}
    walls = find_walls(compared, forces, above)
    for k in np.flatnonzero(outside):
        frame, excess = frames[k], float(excesses[k])
        text = (
            f"the energy is {excess:+.3g} eV/atom from the fit to the composition, "
            f"{fit.scores[k]:.0f} robust standard deviations"
        )
        wall = walls.get(frame)
        if wall is not None:
            text += (
                f", and {wall.text}: this may be physics, a repulsive wall as in a scan, or a "
                "broken structure"
            )
        kind, size = "repulsive wall", excess
        if wall is None or not wall.likely:
            kind, size = "energy outlier" + (" of close atoms" if wall else ""), abs(excess)
            text = text.replace("the energy is", "the energy is an outlier:", 1)
        yield Finding("warning", kind, text, frame, size=size)
