"""Long range: how energies of far fragments decay, and sums over lattices."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator
from functools import partial
from typing import ClassVar

import numpy as np
from ase import Atoms
from numpy.typing import NDArray

from muse_lr.testing.checks.extensivity import coulomb_energy_between
from muse_lr.testing.exam.bench import NEGLIGIBLE, Bench
from muse_lr.testing.exam.check import Case, Check, Finding, Plot, require
from muse_lr.testing.exam.structures import Named, rock_salt
from muse_lr.testing.measurement import Measurement, NotApplicable
from muse_lr.testing.potentials import Potential
from muse_lr.testing.structures import join
from muse_lr.units import COULOMB_CONSTANT

Array = NDArray[np.float64]
#: Distances of the slopes, A; the slope at infinity is extrapolated from both.
DISTANCES = (100.0, 200.0)
#: Half the step of ln R for a slope.
STEP = 0.1
#: Interactions below this at 200 A drown in rounding errors, eV.
SMALLEST = 1e-9
#: From this Coulomb energy (eV) on, a potential without interaction has lost that of its charges.
VISIBLE = 1e-6
#: Madelung constants for the distance of neighbors (C. Kittel, Introduction to Solid State
#: Physics, 8th ed., chapter 3).
MADELUNG = {"rock salt": 1.7475646, "CsCl": 1.7626748, "zincblende": 1.6380551}
#: Distances of neighbors in the lattices, A: beyond overlap and chemistry.
SPACING = 14.0


class Tail(Check):
    """What the checks of asymptotic energies have in common."""

    tolerance, unit = 0.02, ""
    exponent: ClassVar[int]
    reason = (
        "the terms of the next order are extrapolated from 100 and 200 Å; 2 % of the exponent or "
        "of the strength is visible in no measurement, and wrong physics misses by far more"
    )
    meaning = "Ions, polar molecules and interfaces interact at long range with the wrong law."
    remedy = (
        "Sum charges with 1/r without a cutoff; check the unit constant 14.3996 eV Å, the "
        "sign, and that the charges in the energy are those that are reported."
    )
    needs = ("charges",)

    @abstractmethod
    def fragments(self, bench: Bench) -> tuple[Named, Named]:
        """Both fragments, which are separated along z."""

    def cases(self, bench: Bench) -> Iterator[Case]:
        """One pair of fragments."""
        bench.needs_coulomb()
        (first, a), (second, b) = self.fragments(bench)
        measure = partial(self._measure, bench, a, b)
        yield Case(f"{first} and {second}", joined(a, b, DISTANCES[0]), measure)

    def _measure(self, bench: Bench, a: Atoms, b: Atoms) -> Measurement:
        expected = self._expected(bench, a, b)
        try:
            slope, plot = decay(bench.potential, a, b)
        except NotApplicable:
            if abs(expected) < VISIBLE:
                raise
            what = f"no interaction at {DISTANCES[1]:g} Å; that of the charges is {expected:.2g} eV"
            return Finding(self.name, 1.0, self.tolerance, "", what, bench.inconsistent)
        ratio, what = 1.0, f"exponent {slope:.4f}, expected {self.exponent}"
        if abs(expected) > SMALLEST:
            ratio = interaction(bench.potential, a, b, [DISTANCES[1]])[0] / expected
            what = f"{what}; {ratio:.4f} of the Coulomb energy of the charges"
        value = max(abs(slope / self.exponent - 1), abs(ratio - 1))
        what = f"relative error: {what}"
        return Finding(self.name, value, self.tolerance, "", what, bench.inconsistent, plot)

    def _expected(self, bench: Bench, a: Atoms, b: Atoms) -> float:
        """Coulomb energy of the charges at the largest distance, eV; 0 for one without charges."""
        if bench.potential.coulomb is None:
            return 0.0
        far = joined(a, b, DISTANCES[1])
        out = bench.potential.evaluate([far], ("charges",))
        moments = out.get("charges")[:, None] if out.moments is None else out.moments
        n, at = len(a), far.positions
        return coulomb_energy_between(at[:n], moments[:n], at[n:], moments[n:])


class IonIon(Tail):
    """Two ions attract each other as 1/R."""

    name = "tail_ion_ion"
    equation = "E(R) - E(∞) → k q q' / R"
    exponent = -1

    def fragments(self, bench: Bench) -> tuple[Named, Named]:
        """A positive and a negative ion."""
        return bench.ion(1), bench.ion(-1)


class IonDipole(Tail):
    """An ion and a polar molecule interact as 1/R²."""

    name = "tail_ion_dipole"
    equation = "E(R) - E(∞) → -k q μ cos θ / R²"
    exponent = -2

    def fragments(self, bench: Bench) -> tuple[Named, Named]:
        """An ion and a diatomic molecule along the line."""
        return bench.ion(1), bench.dipolar()


class DipoleDipole(Tail):
    """Two polar molecules interact as 1/R³."""

    name = "tail_dipole_dipole"
    equation = "E(R) - E(∞) → -2 k μ μ' / R³"
    exponent = -3

    def fragments(self, bench: Bench) -> tuple[Named, Named]:
        """Twice the same diatomic molecule along the line."""
        return bench.dipolar(), bench.dipolar()


class NeutralTail(Check):
    """Atoms without charge interact at least as weakly as 1/R⁶."""

    name = "tail_neutral"
    equation = "|E(R) - E(∞)| R⁶ does not grow from 20 to 40 Å"
    tolerance = 1.3
    reason = "1 for a pure 1/R⁶, 2 for 1/R⁵, 8 for 1/R³; damping and retardation change it by less"
    meaning = (
        "Neutral matter has a spurious long-range interaction that charges or dispersion "
        "cannot explain."
    )
    remedy = "Look for charges of neutral atoms, and for messages that do not decay."

    def cases(self, bench: Bench) -> Iterator[Case]:
        """Pairs of neutral atoms."""
        atoms = [Atoms(symbol) for symbol in bench.elements[:4]]
        if "charges" in bench.potential.provides:
            atoms = [one for one in atoms if abs(bench.charges(one).sum()) < 1e-6]
        require(bool(atoms), "every atom has a charge")
        for one in atoms:
            where = f"{one.symbols} and {one.symbols}"
            yield Case(where, joined(one, one, 20.0), partial(self._measure, bench, one))

    def _measure(self, bench: Bench, atoms: Atoms) -> Measurement:
        at = np.array([10.0, 14.0, 20.0, 28.0, 40.0])
        energies = interaction(bench.potential, atoms, atoms, at)
        # Rounding errors of the energies of both atoms limit what can be seen.
        floor = 1e-12 * max(1.0, abs(float(bench.potential.energies([atoms])[0])))
        scaled = np.maximum(np.abs(energies) - floor, 0.0) * at**6
        value = scaled[4] / scaled[2] if scaled[2] > 0 else float(scaled[4] > 0) * np.inf
        value = 0.0 if np.isnan(value) and scaled[4] == 0 else float(value)
        plot = Plot("distance (Å)", "interaction energy (eV)", {"energy": (at, energies)}, True)
        what = "growth of |E| R^6 from 20 to 40 A"
        return Finding(self.name, value, self.tolerance, "", what, plot=plot)


class Madelung(Check):
    """Lattices of fixed charges have the Madelung energies."""

    name = "madelung"
    equation = "E - Σ E(ion) = -k M q² / d per pair; M = 1.74756, 1.76267, 1.63806"
    tolerance, unit = 1e-4, "× Madelung energy"
    reason = "sums of waves converge far below it; a missing image or background is 1 % and more"
    meaning = "Energies of ionic crystals, and all that follows from them, are wrong."
    remedy = (
        "Check the self energy, the background, the unit constant, and for images that are "
        "left out."
    )
    needs = ("charges",)

    def cases(self, bench: Bench) -> Iterator[Case]:
        """Rock salt, CsCl and zincblende, with neighbors too far for other interactions."""
        bench.needs_coulomb()
        for name, atoms in lattices(*opposite_ions(bench)):
            require(bench.refusal(atoms) is None, bench.refusal(atoms) or "")
            yield Case(name, atoms, partial(self._measure, bench, name, atoms))

    def _measure(self, bench: Bench, name: str, atoms: Atoms) -> Measurement:
        constant = next(value for key, value in MADELUNG.items() if name.startswith(key))
        ions = [Atoms(symbol) for symbol in atoms.get_chemical_symbols()]
        crystal = float(bench.potential.energies([atoms])[0])
        isolated = float(bench.potential.energies(ions).sum())
        charge = float(bench.charges(atoms)[0])
        expected = -COULOMB_CONSTANT * constant * charge**2 / SPACING
        what = (
            f"energy {crystal:.6g} eV minus {isolated:.6g} eV of the isolated ions, "
            f"expected {expected:.6g} eV; relative error"
        )
        error = abs((crystal - isolated) / expected - 1)
        return Measurement(self.name, error, self.tolerance, "", what)


def opposite_ions(bench: Bench) -> tuple[str, str]:
    """Two elements with fixed charges of opposite sign.

    Raises
    ------
    NotApplicable
        If the charges are not fixed, or if there are no such elements.
    """
    charge = bench.fixed_charges
    require(bool(charge), "the charges are not fixed for each element")
    for a in charge:
        for b in charge:
            if charge[a] > NEGLIGIBLE and abs(charge[a] + charge[b]) < 1e-9:
                return a, b
    raise NotApplicable("no two elements have opposite charges")


def lattices(first: str, second: str) -> list[Named]:
    """Primitive cells of the lattices of :data:`MADELUNG` with neighbors at :data:`SPACING`."""
    d = SPACING
    symbols = [first, second]
    simple = 2 * d / np.sqrt(3)
    cubic = 4 * d / np.sqrt(3)
    cesium = Atoms(symbols, [[0, 0, 0], [simple / 2] * 3], cell=[simple] * 3, pbc=True)
    cell = cubic / 2 * np.array([[0, 1, 1], [1, 0, 1], [1, 1, 0]])
    zinc = Atoms(symbols, [[0, 0, 0], [cubic / 4] * 3], cell=cell, pbc=True)
    return [
        rock_salt(first, second, "rock salt", d),
        (f"CsCl {first}{second}", cesium),
        (f"zincblende {first}{second}", zinc),
    ]


def joined(first: Atoms, second: Atoms, distance: float) -> Atoms:
    """Both structures, the second one moved along z from center to center, A."""
    moved = second.copy()
    moved.positions += first.positions.mean(0) - second.positions.mean(0)
    moved.positions[:, 2] += distance
    return join(first, moved)


def interaction(potential: Potential, first: Atoms, second: Atoms, distances: object) -> Array:
    """Energies of the pair minus those of its parts, (n,) in eV."""
    pairs = [joined(first, second, float(d)) for d in np.asarray(distances)]
    energies = potential.energies([first, second, *pairs])
    return energies[2:] - energies[:2].sum()


def decay(potential: Potential, first: Atoms, second: Atoms) -> tuple[float, Plot]:
    r"""Exponent of the interaction at infinite distance.

    The slope :math:`s = d \ln |E| / d \ln R` is measured at 100 and 200 A. Terms of the next order
    change it by a/R, so that :math:`2 s(200) - s(100)` has none.

    Raises
    ------
    NotApplicable
        If the energy at 200 A is too small for a slope.
    """
    at = np.outer(DISTANCES, np.exp([-STEP, STEP])).ravel()
    more = np.geomspace(10.0, 400.0, 20)
    energies = interaction(potential, first, second, np.concatenate([at, more]))
    found = energies[: len(at)].reshape(2, 2)
    if np.abs(found).min() < SMALLEST:
        raise NotApplicable(
            f"the interaction at {DISTANCES[1]:g} Å is {np.abs(found).min():.1e} eV, too small"
        )
    slopes = np.diff(np.log(np.abs(found)), axis=1)[:, 0] / (2 * STEP)
    curves = {"energy": (more, energies[len(at) :])}
    plot = Plot("distance (Å)", "interaction energy (eV)", curves, True)
    return float(2 * slopes[1] - slopes[0]), plot
