"""Detect polarizations, polarizabilities and dielectric tensors in other units or conventions."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise

import numpy as np
from ase import Atoms
from ase.units import Bohr, Debye
from numpy.typing import NDArray

from muse_lr.heads.dispersion.free_atoms import FREE_ATOMS
from muse_lr.structures.lattice import modulo_cell
from muse_lr.units import COULOMB_CONSTANT

Labels = Mapping[str, NDArray[np.float64]]

#: Usual polarizability relative to the sum of those of the free atoms.
USUAL_POLARIZABILITY = (0.03, 4.0)
#: Polarizability in the unit of the file / e A^2/V -> unit.
POLARIZABILITIES = {COULOMB_CONSTANT: "A^3", COULOMB_CONSTANT / Bohr**3: "Bohr^3"}
#: Largest displacement between frames whose polarizations are compared, A.
LARGEST_STEP = 1.0
FEWEST_PAIRS, MOST_PAIRS = 3, 100
#: Largest part of the change of the polarization that Born charges need not explain.
UNEXPLAINED = 0.3
#: Largest difference of two statements of the dielectric tensor, relative to its distance from 1.
SAME_DIELECTRIC = 0.1
#: e/A^2 in C/m^2.
COULOMB_PER_SQUARE_METER = 16.021766


def response_hints(structures: Sequence[Atoms], labels: Sequence[Labels]) -> Iterator[str]:
    """Yield a warning for each sign of other units or conventions than those of the labels."""
    pairs = list(zip(structures, labels, strict=True))
    yield from _polarizabilities([(a, v) for a, v in pairs if "polarizability" in v])
    yield from _dielectric([(a, v) for a, v in pairs if "dielectric" in v])
    hint = _polarization([(a, v) for a, v in pairs if {"polarization", "bec"} <= set(v)])
    if hint is not None:
        yield hint


def _polarizabilities(frames: Sequence[tuple[Atoms, Labels]]) -> Iterator[str]:
    if not frames:
        return
    low, high = USUAL_POLARIZABILITY
    known = set(FREE_ATOMS)
    shares = [
        _share_of_free_atoms(atoms, values["polarizability"])
        for atoms, values in frames
        if set(atoms.get_chemical_symbols()) <= known
    ]
    if not shares:
        return
    share = float(np.median(shares))
    if low <= share <= high:
        return
    text = f"the polarizabilities are {share:.3g} times those of the free atoms"
    units = [
        f"in {unit} (divide by {factor:.6g})"
        for factor, unit in POLARIZABILITIES.items()
        if low <= share / factor <= high
    ]
    yield f"{text}: are they {' or '.join(units) or 'in another unit'}? e A^2/V is needed"


def _share_of_free_atoms(atoms: Atoms, tensor: NDArray[np.float64]) -> float:
    free = sum(FREE_ATOMS[symbol][0] for symbol in atoms.get_chemical_symbols())  # Bohr^3
    return float(np.trace(tensor)) / 3 / (free * Bohr**3 / COULOMB_CONSTANT)


def _dielectric(frames: Sequence[tuple[Atoms, Labels]]) -> Iterator[str]:
    if not frames:
        return
    tensors = np.array([values["dielectric"] for _, values in frames])
    if np.linalg.eigvalsh((tensors + tensors.swapaxes(1, 2)) / 2).min() < 1:
        yield "a dielectric tensor has an eigenvalue below 1: is it a susceptibility (add 1)?"
    for atoms, values in frames:
        if "polarizability" not in values:
            continue
        volume = atoms.get_volume()
        expected = 4 * math.pi * COULOMB_CONSTANT * values["polarizability"] / volume
        found = values["dielectric"] - np.eye(3)
        if np.abs(found - expected).max() > SAME_DIELECTRIC * np.abs(expected).max():
            ratio = float(np.trace(expected) / np.trace(found))
            units = [u for f, u in POLARIZABILITIES.items() if abs(ratio / f - 1) < SAME_DIELECTRIC]
            question = "is the polarizability that of the cell, in e A^2/V?"
            if units:
                question = f"is the polarizability in {units[0]} instead of e A^2/V?"
            yield (
                "dielectric tensor and polarizability do not belong together: 1 + 4 pi 14.3996 "
                f"alpha / V is {1 + np.trace(expected) / 3:.3g} on average, the tensor "
                f"{1 + np.trace(found) / 3:.3g}: {question}"
            )
            return


def _polarization(frames: Sequence[tuple[Atoms, Labels]]) -> str | None:
    """Compare changes of the polarization with those that the Born charges give."""
    pairs = list(pairwise(frames))[:MOST_PAIRS]
    changes = [_changes(a, b) for a, b in pairs]
    known = [change for change in changes if change is not None]
    if len(known) < FEWEST_PAIRS:
        return None
    atoms = known[0][0]
    volume = abs(float(np.linalg.det(atoms.cell.array))) or 1.0
    units = {
        1.0: "",
        -1.0: "in the opposite sign (from positive to negative charge, or of electrons)",
        1 / Debye: "in Debye (multiply by 0.208194)",
        1 / Bohr: "in e Bohr (multiply by 0.529177)",
        1 / volume: "in e/A^2 (multiply by the volume)",
        COULOMB_PER_SQUARE_METER / volume: "in C/m^2 (multiply by the volume / 16.0218)",
    }
    left = {unit: _unexplained(known, unit) for unit in units}
    best = min(left, key=lambda unit: left[unit])
    if left[1.0] <= UNEXPLAINED or best == 1.0:
        return None
    text = (
        "the Born charges do not explain the changes of the polarization "
        f"({100 * left[1.0]:.0f} % remain)"
    )
    if left[best] < UNEXPLAINED:
        return f"{text}: is it {units[best]}? The dipole of the cell in e A is needed"
    return f"{text}: is it the dipole of the cell in e A?"


def _changes(
    first: tuple[Atoms, Labels], second: tuple[Atoms, Labels]
) -> tuple[Atoms, NDArray[np.float64], NDArray[np.float64]] | None:
    """Structure, change of the polarization and change by the Born charges; None if unlike."""
    (one, before), (two, after) = first, second
    same = np.array_equal(one.numbers, two.numbers) and np.array_equal(one.pbc, two.pbc)
    if not same or not np.allclose(one.cell.array, two.cell.array, atol=1e-6):
        return None
    steps = modulo_cell(two.positions - one.positions, one)
    if np.linalg.norm(steps, axis=1).max() > LARGEST_STEP:
        return None
    expected = np.einsum("nab,nb->a", (before["bec"] + after["bec"]) / 2, steps)
    return one, after["polarization"] - before["polarization"], expected


def _unexplained(
    changes: Sequence[tuple[Atoms, NDArray[np.float64], NDArray[np.float64]]], unit: float
) -> float:
    """Part of the changes that Born charges do not explain if ``unit`` is 1 e A in the file's."""
    rest = [modulo_cell(found / unit - expected, atoms) for atoms, found, expected in changes]
    total = np.linalg.norm([expected for _, _, expected in changes])
    return float(np.linalg.norm(rest) / max(float(total), 1e-12))
