"""Limits: contact, infinity, compression; no holes where no data are."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import numpy as np
from ase import Atoms
from numpy.typing import NDArray

from muse_lr.testing.checks.derivatives import strained
from muse_lr.testing.exam.bench import Bench
from muse_lr.testing.exam.check import Case, Check, Finding, Plot, require
from muse_lr.testing.exam.smoothness import pairs
from muse_lr.testing.measurement import Measurement

Array = NDArray[np.float64]
#: Shortest and longest distances of pairs that must give numbers, A.
CONTACT, FAR = 0.5, 100.0
#: A hole behind a barrier of this height is not reached, eV (per atom for crystals).
BARRIER = 20.0
#: Share of the bond length within which no energy may be below those outside.
CORE = 0.7


class Finite(Check):
    """Two atoms 0.5 Å or 100 Å apart have finite energies and forces."""

    name = "finite_at_extremes"
    equation = "E and F are finite at r = 0.5 Å and r = 100 Å"
    tolerance, unit = 0.5, "values that are not finite"
    reason = "a single NaN ends a run"
    meaning = "One bad collision or an evaporated atom ends dynamics with NaN."
    remedy = "Look for roots and divisions at zero neighbors, and for overflow of repulsion."

    def cases(self, bench: Bench) -> Iterator[Case]:
        """All pairs of elements."""
        for where, _, path in pairs(bench):
            for distance in (CONTACT, FAR):
                atoms = path(distance)
                measure = partial(self._measure, bench, atoms)
                yield Case(f"{where} at {distance:g} Å", atoms, measure)

    def _measure(self, bench: Bench, atoms: Atoms) -> Measurement:
        compute = bench.potential.offered(atoms, ("forces",))
        out = bench.potential.evaluate([atoms], compute)
        values = [out.energy] + ([out.forces.ravel()] if out.forces is not None else [])
        broken = float((~np.isfinite(np.concatenate(values))).sum())
        what = "numbers of energy and forces that are not finite"
        return Measurement(self.name, broken, self.tolerance, "", what)


class Holes(Check):
    """What the checks of the repulsive core have in common."""

    tolerance, unit = 0.5, "eV"
    reason = (
        "0.5 eV is 20 kT at room temperature: a hole of this depth is not left again; holes behind "
        "a barrier of 20 eV are not reached"
    )
    meaning = (
        "Atoms that come too close fuse and never part: dynamics collapses, and searches for "
        "structures find nonsense."
    )
    remedy = "Add a repulsion of the nuclei (zbl), or short distances to the data."


class DimerHoles(Holes):
    """The energy of two atoms has no hole at short distance."""

    name = "dimer_holes"
    equation = "min E(r < 0.7 d) ≥ min E(r ≥ 0.7 d) - 0.5 eV, d = bond length"

    def cases(self, bench: Bench) -> Iterator[Case]:
        """All pairs of elements from 0.25 bond lengths to 8 A."""
        for where, bond, path in pairs(bench):
            distances = np.geomspace(0.25 * bond, 8.0, 60 if bench.quick else 120)
            core = distances < CORE * bond
            structures = [path(float(d)) for d in distances]
            measure = partial(hole, bench, self.name, distances, core, structures, "distance (Å)")
            yield Case(where, structures[0], measure)


class CompressionHoles(Holes):
    """The energy of a compressed crystal has no hole."""

    name = "compression_holes"
    equation = "min E(V < 0.5 V₀) ≥ min E(V ≥ 0.5 V₀) - 0.5 eV per atom"
    unit = "eV/atom"

    def cases(self, bench: Bench) -> Iterator[Case]:
        """Perfect crystals and one distorted crystal, from a sixth of the volume to twice."""
        found = [
            pair for pair in bench.named("perfect", "crystals")[:2] if _neutral(bench, pair[1])
        ]
        require(bool(found), "no crystal of fixed charges is neutral")
        for where, atoms in found:
            volumes = np.geomspace(1 / 6, 2.0, 24 if bench.quick else 40)
            scales = np.cbrt(volumes) - 1
            structures = [strained(atoms, float(s) * np.eye(3)) for s in scales]
            core = volumes < 0.5
            label = "volume / V₀"
            measure = partial(hole, bench, self.name, volumes, core, structures, label)
            yield Case(where, structures[0], measure)


def _neutral(bench: Bench, atoms: Atoms) -> bool:
    """Whether fixed charges sum to zero; a background would collapse a crystal otherwise."""
    fixed = bench.fixed_charges
    return abs(sum(fixed.get(symbol, 0.0) for symbol in atoms.symbols)) < 1e-6


def hole(
    bench: Bench, name: str, at: Array, core: NDArray[np.bool_], structures: list[Atoms], label: str
) -> Measurement:
    """Depth of the lowest energy of the core below the lowest one outside, per structure or atom.

    The core is followed inward until the energy exceeds :data:`BARRIER`.

    Parameters
    ----------
    bench : Bench
    name : str
        Name of the check.
    at : ndarray
        (n,) coordinate of the structures, ascending.
    core : ndarray of bool
        (n,) which of them belong to the core.
    structures : list of ase.Atoms
    label : str
        Name of the coordinate.
    """
    energies = bench.potential.energies(structures)
    unit = "eV"
    if structures[0].pbc.all():
        energies, unit = energies / len(structures[0]), "eV/atom"
    energies = energies - energies[~core].min()
    high = np.flatnonzero(core & (energies > BARRIER))
    reached = core & (np.arange(len(at)) > (high[-1] if len(high) else -1))
    depth = -float(energies[reached].min(initial=0.0))
    value = depth if np.isnan(depth) else max(depth, 0.0)
    # The repulsive wall is cut off, so that the region around the minimum is seen.
    plot = Plot(label, f"energy ({unit})", {"energy": (at, np.minimum(energies, BARRIER))})
    lowest = at[reached | ~core][int(np.argmin(energies[reached | ~core]))]
    what = f"depth of the hole, lowest at {label} = {lowest:.3g}"
    return Finding(name, value, Holes.tolerance, unit, what, plot=plot)
