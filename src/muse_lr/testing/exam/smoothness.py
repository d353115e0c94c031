"""Smoothness and stiffness: derivatives are continuous, and of a size that dynamics resolves."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from itertools import combinations_with_replacement

import numpy as np
from ase import Atoms
from numpy.typing import NDArray

from muse_lr.testing import checks
from muse_lr.testing.checks.smoothness import Path
from muse_lr.testing.checks.stiffness import check_curvature
from muse_lr.testing.exam.bench import Bench
from muse_lr.testing.exam.check import Case, Check, Finding, Plot, each
from muse_lr.testing.exam.structures import bond_length
from muse_lr.testing.measurement import CheckFailed, Measurement, NotApplicable

Array = NDArray[np.float64]
#: Distances up to which pairs are separated if the cutoff is not known, and the length of a piece.
FARTHEST, PIECE = 13.0, 2.0
#: Names of the coordinates of paths.
DISPLACEMENT, STRAIN = "coordinate (Å)", "strain"
#: Distance (bond lengths) and energy (eV) of pairs outside of their repulsive wall.
OUTSIDE, WALL = 1.3, 1.0
#: Expansions of a crystal from the distances of covalent radii, among which the lowest energy is.
EXPANSIONS = np.linspace(1.0, 1.5, 11)
#: Points of the curves.
POINTS = 121


class Smooth(Check):
    """What the checks of smoothness have in common."""

    tolerance = 5e-3
    unit = "× max(0.01 eV/Å², second derivative nearby)"
    reason = (
        "half a percent of the second derivative, or 5e-5 eV/Å² where it is small: a jump below it "
        "changes no frequency, and the differences of float64 energies resolve it"
    )
    meaning = (
        "Forces or force constants jump where neighbors, nodes or waves come and go: "
        "dynamics heats up, relaxations do not converge."
    )
    remedy = "Let every weight reach zero with two derivatives at its cutoff."
    cost = 6.0


class SmoothSeparation(Smooth):
    """Force and force constant of a pair are continuous through every cutoff."""

    name = "smooth_separation"
    equation = "E(r), dE/dr and d²E/dr² are continuous in r"

    def cases(self, bench: Bench) -> Iterator[Case]:
        """Pairs of atoms around the known cutoffs, else at all distances in pieces."""
        potential = bench.potential
        for where, bond, path in pairs(bench):
            for low, high in _pieces(bench, 1.05 * bond):
                yield Case(
                    f"{where} from {low:.1f} to {high:.1f} Å",
                    path(low),
                    partial(smooth_along, bench, path, (low, high), self.tolerance),
                )
        cutoff = potential.cutoff
        for where, atoms in bench.named("molecules")[:2] if cutoff else ():
            assert cutoff is not None
            path = partial(_leaving, atoms, cutoff)
            measure = partial(smooth_along, bench, path, (-0.5, 0.5), self.tolerance)
            yield Case(f"an atom of {where} through {cutoff:.1f} Å", path(0.0), measure)


class SmoothDisplacement(Smooth):
    """Moving one atom among others changes force and force constant continuously."""

    name = "smooth_displacement"
    equation = "E, dE/dt and d²E/dt² are continuous in r₁ + t u"

    def cases(self, bench: Bench) -> Iterator[Case]:
        """All structures, 0.4 A each."""
        found = bench.sample("molecules", "crystals", "slabs")
        return each(found, partial(_displaced, bench, self.tolerance))


class SmoothStrain(Smooth):
    """Stress and elastic constants are continuous while neighbors and waves change."""

    name = "smooth_strain"
    equation = "E, dE/dε and d²E/dε² are continuous in the strain ε"
    unit = "× max(0.01 eV, second derivative nearby)"
    remedy = "Let the sum of waves end with a smooth weight of |k|; keep a fixed splitting."

    def cases(self, bench: Bench) -> Iterator[Case]:
        """Crystals strained by 8 % in both directions."""

        def measure(atoms: Atoms) -> Measurement:
            path = checks.strain_path(atoms, seed=1)
            return smooth_along(bench, path, (-0.08, 0.08), self.tolerance, STRAIN)

        return each(bench.sample("crystals"), measure)


class Curvature(Check):
    """No force constant is larger than that of the stiffest bond."""

    name = "curvature"
    equation = "-600 ≤ d²E/dt² ≤ 300 eV/Å² from 1.3 bond lengths on, below 1 eV"
    tolerance, unit = 300.0, "eV/Å²"
    reason = (
        "twice the stiffest bond (N₂, 143 eV/Å²); a hydrogen atom then moves with 170 THz. The top "
        "of a barrier sets no frequency, so that negative values count half; 1 eV is 40 kT"
    )
    meaning = (
        "The energy is smooth on paper, but steps and narrow ridges throw atoms out: any time "
        "step is too long, and relaxations stop on them."
    )
    remedy = (
        "Look for weights that switch over a very short distance, and for near ties between "
        "sites or neighbors."
    )
    cost = 6.0

    def cases(self, bench: Bench) -> Iterator[Case]:
        """Pairs from contact outward, and atoms of all structures along random directions."""
        for where, bond, path in pairs(bench):
            start = _outside(bench, path, OUTSIDE * bond)
            measure = partial(self.measure, bench, path, (start, FARTHEST))
            yield Case(where, path(start), measure)
        for where, atoms in bench.sample("molecules", "crystals", "slabs"):
            path = checks.displacement_path(atoms, seed=2)
            yield Case(where, atoms, partial(self.measure, bench, path, (-0.1, 0.1)))

    def measure(self, bench: Bench, path: Path, span: tuple[float, float]) -> Measurement:
        """The largest second derivative between two coordinates of a path."""
        points = max(40, round((span[1] - span[0]) / (0.04 if bench.quick else 0.02)))
        engine = partial(check_curvature, bench.potential, path, span=span, points=points)
        return _with_plot(bench, path, span, DISPLACEMENT, partial(engine, self.tolerance))


class Harmonicity(Check):
    """The force constant of an atom of a crystal does not depend on the displacement."""

    name = "harmonicity"
    equation = "|k(u) - k(0.001 Å)| ≤ 0.1 max(k, 0.3 eV/Å²) for u ≤ 0.02 Å"
    tolerance = 0.1
    reason = (
        "harmonic crystals change their force constants by a few percent over 0.02 Å; each is "
        "expanded to its lowest energy, since a crystal under pressure shows the repulsive wall"
    )
    meaning = "Phonons depend on the displacement that is chosen for them."
    remedy = "Look for features that vary over less than 0.1 Å, and for near ties of coarse sites."
    needs = ("forces",)

    def cases(self, bench: Bench) -> Iterator[Case]:
        """Perfect crystals at their own volume, their supercells, and both slightly distorted."""
        found = []
        for where, dense in bench.named("perfect"):
            atoms = at_own_volume(bench, dense)
            large = atoms.repeat(2)
            found.append((f"{where}, 2 × 2 × 2 cells", large))
            if not bench.quick:
                found.append((where, atoms))
                near = large.copy()
                near.rattle(0.002, seed=3)
                found.append((f"{where}, distorted by 0.002 Å", near))
        engine = partial(checks.check_force_constant, bench.potential, tolerance=self.tolerance)
        return each(found, partial(engine, displacements=(0.001, 0.005, 0.02)))


def at_own_volume(bench: Bench, atoms: Atoms) -> Atoms:
    """Copy of a crystal, expanded to the lowest energy.

    Phonons are those of a crystal without pressure. Where the potential binds at larger distances
    than those of the covalent radii, its repulsive wall would be judged instead.
    """
    expanded = []
    for scale in EXPANSIONS:
        copy = atoms.copy()
        copy.set_cell(scale * copy.cell.array, scale_atoms=True)
        expanded.append(copy)
    return expanded[int(np.argmin(bench.potential.energies(expanded)))]


def pairs(bench: Bench) -> list[tuple[str, float, Path]]:
    """Pairs of elements with their bond length (A), and the path by distance."""
    found = list[tuple[str, float, Path]]()
    for symbols in combinations_with_replacement(bench.elements[: 2 if bench.quick else 4], 2):
        bond = bond_length(*symbols)
        path = partial(separated, Atoms(symbols, np.zeros((2, 3))))
        reason = bench.refusal(path(1.05 * bond))
        if reason is not None:
            raise NotApplicable(reason)
        found.append((f"pair {''.join(symbols)}", bond, path))
    return found


def separated(atoms: Atoms, distance: float) -> Atoms:
    """Copy with the second atom at a distance along a fixed direction, A."""
    copy = atoms.copy()
    copy.positions[1] = copy.positions[0] + distance * np.array([2, 1, 2]) / 3
    return copy


def _outside(bench: Bench, path: Path, start: float) -> float:
    """Distance from which on the energy of a pair stays below the wall, at least ``start`` A."""
    grid = np.linspace(start, FARTHEST, POINTS)
    energies = bench.potential.energies([path(float(d)) for d in grid])
    high = np.flatnonzero(energies - energies[-1] > WALL)
    return float(grid[min(high[-1] + 1, POINTS - 1)]) if len(high) else start


def _pieces(bench: Bench, start: float) -> list[tuple[float, float]]:
    cutoff = bench.potential.cutoff
    if cutoff is not None:
        return [(max(start, cutoff - 0.5), max(start, cutoff - 0.5) + 1.0)]
    edges = np.arange(max(start, 2.0), FARTHEST, PIECE)
    return [(float(low), float(low) + PIECE) for low in edges]


def _leaving(atoms: Atoms, cutoff: float, t: float) -> Atoms:
    """The atom that is farthest from the others, at ``cutoff + t`` from the nearest of them."""
    center = atoms.positions.mean(0)
    atom = int(np.argmax(np.linalg.norm(atoms.positions - center, axis=1)))
    rest = np.delete(atoms.positions, atom, axis=0)
    direction = atoms.positions[atom] - rest.mean(0)
    direction /= np.linalg.norm(direction)
    nearest = rest[int(np.argmax(rest @ direction))]
    copy = atoms.copy()
    copy.positions[atom] = nearest + (cutoff + t) * direction
    return copy


def _displaced(bench: Bench, tolerance: float, atoms: Atoms) -> Measurement:
    path = checks.displacement_path(atoms, seed=1)
    return smooth_along(bench, path, (-0.2, 0.2), tolerance)


def smooth_along(
    bench: Bench,
    path: Path,
    span: tuple[float, float],
    tolerance: float,
    label: str = DISPLACEMENT,
) -> Measurement:
    """The jump of the second derivative along a path (:func:`~muse_lr.testing.check_smooth`).

    Parameters
    ----------
    bench : Bench
    path : callable
        ``path(t)`` is a structure.
    span : tuple of float
        First and last coordinate.
    tolerance : float
        As a share of the second derivative nearby.
    label : str
        Name of the coordinate.
    """
    points = 20 if bench.quick else 40
    engine = partial(checks.check_smooth, bench.potential, path, span=span, points=points)
    return _with_plot(bench, path, span, label, partial(engine, tolerance=tolerance))


def _with_plot(
    bench: Bench, path: Path, span: tuple[float, float], label: str, engine: partial[Measurement]
) -> Finding:
    """The measurement of an engine, with the second derivative along its path."""
    try:
        found = engine()
    except CheckFailed as failure:
        found = failure.measurement
    at = np.linspace(*span, POINTS)
    energies = bench.potential.energies([path(float(t)) for t in at])
    curvature = np.diff(energies, 2) / (at[1] - at[0]) ** 2
    curves = {"second derivative": (at[1:-1], curvature)}
    unit = "eV" if label == STRAIN else "eV/A^2"
    plot = Plot(label, f"second derivative ({unit.replace('A^2', 'Å²')})", curves)
    return Finding(**{**vars(found), "unit": unit}, plot=plot)
