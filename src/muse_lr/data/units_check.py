"""Detect energies and forces that are probably not in eV and eV/A."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from ase import Atoms
from ase.units import Bohr, Hartree, kcal, mol
from numpy.typing import NDArray

#: RMS forces outside this range give a warning, eV/A.
USUAL_FORCES = (1e-3, 30.0)
#: Largest displacement between consecutive frames that are compared, A.
LARGEST_STEP = 0.2
FEWEST_PAIRS = 8
LEAST_CORRELATION = 0.95
USUAL_SLOPES = (0.7, 1.4)

#: Slope of energy differences against the work of the forces -> its explanation.
SLOPES = {
    1 / Hartree: "energies in Hartree with forces in eV/A",
    1 / Bohr: "atomic units, or forces per Bohr",
    Hartree / Bohr: "energies in eV with forces in Hartree/Bohr",
    mol / kcal: "energies in kcal/mol with forces in eV/A",
    kcal / mol: "energies in eV with forces in kcal/mol/A",
    -1.0: "gradients instead of forces",
}
#: Range of the fitted energy of hydrogen (number in the unit of the file) -> probable unit.
HYDROGEN = {(-0.62, -0.45): "Hartree", (-380.0, -285.0): "kcal/mol"}


def unit_hints(
    structures: Sequence[Atoms],
    energies: NDArray[np.float64],
    forces: Sequence[NDArray[np.float64] | None],
    e0: Mapping[str, float],
) -> Iterator[str]:
    """Yield a warning for each sign of wrong units.

    Parameters
    ----------
    structures : sequence of ase.Atoms
    energies : ndarray
        (n_frames,) in eV if the units are right; NaN for a frame without energy.
    forces : sequence of ndarray or None
        (n_atoms, 3) for each frame, in eV/A if the units are right.
    e0 : mapping
        Fitted energy of each element; empty if the fit is not unique.
    """
    squares = [np.mean(f**2) for f in forces if f is not None]
    if squares:
        rms = float(np.sqrt(np.mean(squares)))
        low, high = USUAL_FORCES
        # A few frames on a repulsive wall can dominate the mean.
        if np.sqrt(np.median(squares)) > high:
            yield f"forces of {rms:.3g} eV/A RMS are unusually large: are they in kcal/mol/A?"
        elif 0 < rms < low:
            text = f"forces of {rms:.3g} eV/A RMS are unusually small"
            yield f"{text}: are the structures relaxed, or are the forces in Hartree/Bohr?"
    for (low, high), unit in HYDROGEN.items():
        if low < e0.get("H", 0.0) < high:
            yield f"the fitted energy of H is {e0['H']:.3g} eV: are the energies in {unit}?"
    slope = energy_force_slope(structures, energies, forces)
    if slope is not None and not USUAL_SLOPES[0] < slope < USUAL_SLOPES[1]:
        yield _explain(slope, structures)


def energy_force_slope(
    structures: Sequence[Atoms],
    energies: NDArray[np.float64],
    forces: Sequence[NDArray[np.float64] | None],
) -> float | None:
    """Slope of E2 - E1 against -(F1 + F2)/2 . (r2 - r1) for consecutive similar frames.

    The slope is 1 if energies and forces are consistent. It is None if too few frames are similar
    enough, or if the two quantities do not correlate.
    """
    work, change = [], []
    for i in range(len(structures) - 1):
        first, second = forces[i], forces[i + 1]
        if first is None or second is None or not np.isfinite(energies[i : i + 2]).all():
            continue
        step = _step(structures[i], structures[i + 1])
        if step is not None:
            work.append(-0.5 * float(np.sum((first + second) * step)))
            change.append(float(energies[i + 1] - energies[i]))
    if len(work) < FEWEST_PAIRS or not np.std(work) or not np.std(change):
        return None
    if abs(np.corrcoef(work, change)[0, 1]) < LEAST_CORRELATION:
        return None
    return float(np.dot(work, change) / np.dot(work, work))


def _step(first: Atoms, second: Atoms) -> NDArray[np.float64] | None:
    """Displacements (n_atoms, 3) between two similar frames, or None if they differ more."""
    same = (
        np.array_equal(first.numbers, second.numbers)
        and np.array_equal(first.pbc, second.pbc)
        and np.allclose(first.cell.array, second.cell.array, atol=1e-6)
    )
    if not same:
        return None
    step = second.positions - first.positions
    if first.pbc.all():
        fractional = step @ np.linalg.inv(first.cell.array)
        step = step - np.round(fractional) @ first.cell.array
    largest = float(np.linalg.norm(step, axis=1).max())
    return step if 0 < largest < LARGEST_STEP else None


def _explain(slope: float, structures: Sequence[Atoms]) -> str:
    text = f"energies change by {slope:.3g} times the work of the forces"
    candidates = dict(SLOPES)
    candidates[1 / len(structures[0])] = "energies per atom instead of totals"
    for value, meaning in candidates.items():
        if abs(slope / value - 1) < 0.1:
            return f"{text}: {meaning}?"
    return f"{text}: do energies and forces belong together, in eV and eV/A?"
