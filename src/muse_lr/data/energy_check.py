"""Check the energies of a file: outliers, E0s, isolated atoms, units and duplicates."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

import numpy as np
from ase import Atoms
from ase.data import covalent_radii
from numpy.typing import NDArray

from muse_lr.data.composition import CompositionFit, fit_composition
from muse_lr.data.findings import CheckReport, Finding
from muse_lr.data.isolated import IsolatedAtom, is_isolated, isolated_energies, listed
from muse_lr.data.response_check import response_hints
from muse_lr.data.suspicions import find_duplicates
from muse_lr.data.units_check import unit_hints
from muse_lr.errors import InputError
from muse_lr.structures.neighbors import complete_cell, neighbor_list

#: An outlier exceeds both thresholds: robust standard deviations and eV/atom.
OUTLIER_SCORE = 12.0
OUTLIER_ENERGY = 0.02
#: Outliers are only searched for with at least this many frames per determined E0.
FEWEST_FRAMES = 4
#: Atoms are on a repulsive wall if they push each other apart by this multiple of the usual push,
#: which is at least the second number, eV/A.
PUSH, LEAST_PUSH = 3.0, 0.3
#: Largest energy of a wall relative to the push, in A per atom; that of Exp(-r / 0.3 A) is 0.3 A.
WALL_WIDTH = 2.0
#: Atoms are on a wall too if their distance is below SHORT times the shortest one of all but a FEW
#: of the other frames, relative to the covalent radii.
SHORT, FEW = 0.9, 0.1
#: Number of frames from which the usual shortest distance is taken.
SAMPLED = 64
#: Names of energies from which those of the atoms or of the fragments are already subtracted.
RELATIVE = re.compile(
    r"interact|binding|formation|atomi[sz]ation|cohesive|adsorption|reaction|(^|_)e_?int($|_)",
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
    report.findings.append(Finding("note", "isolated atoms", text))


def _relative_energies(report: CheckReport, per_atom: NDArray[np.float64]) -> Iterator[Finding]:
    """Suggest E0s of zero for energies that are no total energies."""
    named = [key for key in report.labels.get("energy", {}) if RELATIVE.search(key)]
    largest = float(np.abs(per_atom).max())
    if named:
        report.relative_energies = True
        text = f"the key {named[0]} names a difference of energies: set model.e0: zero"
        yield Finding("note", "relative energies", text)
    elif largest < SMALL_ENERGY:
        text = (
            f"the energies are at most {largest:.2g} eV/atom, too small for total energies: if "
            "those of the atoms or fragments are subtracted, set model.e0: zero"
        )
        yield Finding("note", "relative energies", text)


def _outliers(
    fit: CompositionFit, structures: Mapping[int, Atoms], values: Labels
) -> Iterator[Finding]:
    if fit.rank < len(fit.e0):
        text = (
            f"the compositions have rank {fit.rank} for {len(fit.e0)} elements, so that "
            "least-squares E0s are not unique: give model.e0 to predict other compositions"
        )
        yield Finding("warning", "rank", text)
    frames = list(structures)
    if len(frames) < FEWEST_FRAMES * fit.rank:
        return
    excesses = fit.residuals - np.median(fit.residuals)
    outside = (fit.scores > OUTLIER_SCORE) & (np.abs(excesses) > OUTLIER_ENERGY)
    others = {
        frame: structures[frame] for frame, out in zip(frames, outside, strict=True) if not out
    }
    usual = _usual_contact(others, values) if outside.any() else (0.0, 0.0)
    for k in np.flatnonzero(outside):
        frame, excess = frames[k], float(excesses[k])
        wall = _wall(structures[frame], values[frame].get("forces"), excess, usual)
        text = (
            f"the energy is {excess:+.3g} eV/atom from the fit to the composition, "
            f"{fit.scores[k]:.0f} robust standard deviations"
        )
        if wall is None:
            text = text.replace("the energy is", "the energy is an outlier:")
            yield Finding("warning", "energy outlier", text, frame, size=abs(excess))
        else:
            text += (
                f", and {wall}: this may be physics, a repulsive wall as in a scan, or a broken "
                "structure"
            )
            yield Finding("warning", "repulsive wall", text, frame, size=excess)


def _wall(
    atoms: Atoms,
    forces: NDArray[np.float64] | None,
    excess: float,
    usual: tuple[float, float],
) -> str | None:
    """Describe two atoms whose repulsion explains an energy above the fit, or None."""
    if excess <= 0:
        return None
    first, second, vectors, ratios = _contacts(atoms)
    if not len(ratios):
        return None
    lengths = np.linalg.norm(vectors, axis=1)
    if forces is not None:
        pull = _pushes(forces, first, second, vectors)
        k = int(pull.argmax())
        if pull[k] >= PUSH * usual[1] and excess <= WALL_WIDTH * pull[k]:
            return (
                f"atoms {first[k]} and {second[k]}, {lengths[k]:.2f} A apart, push each other "
                f"away with {pull[k]:.3g} eV/A"
            )
    k = int(ratios.argmin())
    if ratios[k] < SHORT * usual[0]:
        return f"atoms {first[k]} and {second[k]} are only {lengths[k]:.2f} A apart"
    return None


def _usual_contact(structures: Mapping[int, Atoms], values: Labels) -> tuple[float, float]:
    """Shortest relative distance of most frames, and the median of their strongest push, eV/A."""
    ratios, pushes = [], []
    for frame in list(structures)[:: max(1, len(structures) // SAMPLED)]:
        first, second, vectors, found = _contacts(structures[frame])
        if not len(found):
            continue
        ratios.append(found.min())
        forces = values[frame].get("forces")
        if forces is not None:
            pushes.append(_pushes(forces, first, second, vectors).max())
    shortest = float(np.quantile(ratios, FEW)) if ratios else 0.0
    return shortest, max(float(np.median(pushes)) if pushes else 0.0, LEAST_PUSH)


def _pushes(
    forces: NDArray[np.float64],
    first: NDArray[np.int64],
    second: NDArray[np.int64],
    vectors: NDArray[np.float64],
) -> NDArray[np.float64]:
    """(n_pairs,) mean force that drives the atoms of each pair apart, eV/A."""
    lengths = np.linalg.norm(vectors, axis=1)
    pushes: NDArray[np.float64] = np.sum((forces[second] - forces[first]) * vectors, axis=1)
    return pushes / (2 * lengths)


def _contacts(
    atoms: Atoms,
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64], NDArray[np.float64]]:
    """Pairs (first, second), vectors to the second, and distances relative to covalent radii."""
    radii = covalent_radii[atoms.numbers]
    cell = complete_cell(atoms.cell.array, atoms.pbc)
    edges, shifts = neighbor_list(atoms.positions, cell, atoms.pbc, 3.0 * float(radii.max()))
    second, first = edges
    vectors = atoms.positions[second] - atoms.positions[first] + shifts @ cell
    ratios = np.linalg.norm(vectors, axis=1) / (radii[first] + radii[second])
    return first, second, vectors, ratios
