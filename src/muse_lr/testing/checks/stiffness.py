"""Check of the size of derivatives: force constants that displacements of phonons see."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from ase import Atoms

from muse_lr.testing.checks.smoothness import Path
from muse_lr.testing.measurement import Measurement, judge
from muse_lr.testing.potentials import Subject, as_potential

#: Displacements u of one atom, A. The first one gives the force constant.
DISPLACEMENTS = (0.001, 0.01, 0.03)
#: Force constants below this are compared with it, eV/A^2.
SMALLEST = 0.3


def check_force_constant(
    subject: Subject,
    atoms: Atoms,
    atom: int = 0,
    *,
    displacements: Sequence[float] = DISPLACEMENTS,
    tolerance: float = 0.1,
) -> Measurement:
    r"""Check that the force constant of an atom does not depend on the size of its displacement.

    .. math:: k(u) = -\frac{F(u) - F(-u)}{2 u}, \qquad
              \frac{|k(u) - k(u_0)|}{\max(|k(u_0)|, 0.3\ \mathrm{eV/\AA^2})} \le tolerance

    along each axis, with the force on the displaced atom. A potential can be smooth and still be so
    stiff that finite displacements, relaxations and the time step of an integrator do not resolve
    it. Phonons by displacements need the same force constant at 0.005 and 0.02 A.

    Parameters
    ----------
    subject : Subject
        Model or calculator.
    atoms : ase.Atoms
        A structure near a minimum, for example a crystal.
    atom : int
        Index of the displaced atom.
    displacements : sequence of float
        Displacements u in A; the first one is u_0.
    tolerance : float
        Largest relative deviation.

    Raises
    ------
    CheckFailed
        If the deviation is larger.
    """
    potential = as_potential(subject)
    worst, where = 0.0, ""
    for axis in range(3):
        moved = [_moved(atoms, atom, axis, s * u) for u in displacements for s in (1, -1)]
        outputs = potential.evaluate(moved, ("forces",))
        forces = outputs.get("forces").reshape(len(moved), len(atoms), 3)[:, atom, axis]
        constants = -(forces[::2] - forces[1::2]) / (2 * np.array(displacements))
        scale = max(abs(constants[0]), SMALLEST)
        deviations = np.abs(constants - constants[0]) / scale
        if deviations.max() >= worst:
            worst = float(deviations.max())
            at = displacements[int(deviations.argmax())]
            where = f"{constants[0]:.3g} eV/A^2 changes by a factor at u = {at:g} A"
    what = f"relative change of the force constant of atom {atom} ({where})"
    return judge("force constant", worst, tolerance, "", what)


def _moved(atoms: Atoms, atom: int, axis: int, step: float) -> Atoms:
    moved = atoms.copy()
    moved.positions[atom, axis] += step
    return moved


def check_curvature(
    subject: Subject,
    path: Path,
    tolerance: float,
    *,
    span: tuple[float, float],
    points: int = 100,
    levels: int = 4,
) -> Measurement:
    r"""Check the size of the second derivative along a path.

    .. math:: -2\, tolerance \le \frac{E(t+h) - 2 E(t) + E(t-h)}{h^2} \le tolerance

    The path is scanned, and the place of the largest value is scanned again with h/4, h/16, ... as
    long as rounding errors stay small. A step of height A and width w appears with A / w^2 although
    the energy is smooth. The top of a barrier has a negative second derivative, which sets no
    frequency and no time step: negative values count half.

    Parameters
    ----------
    subject : Subject
        Model or calculator.
    path : callable
        ``path(t)`` is a structure; see :func:`~muse_lr.testing.separation_path`.
    tolerance : float
        Largest positive value, eV per square of the path's unit.
    span : tuple of float
        First and last coordinate.
    points : int
        Number of intervals of the scan.
    levels : int
        Number of finer scans.

    Raises
    ------
    CheckFailed
        If the size is larger, or if an energy is not finite.
    """
    potential = as_potential(subject)
    low, high = span
    largest, where = 0.0, low
    for _ in range(levels + 1):
        grid = np.linspace(low, high, points + 1)
        h = float(grid[1] - grid[0])
        energies = potential.energies([path(float(t)) for t in grid])
        second = np.diff(energies, 2) / h**2
        sizes = np.maximum(second, -second / 2)
        noise = 64 * np.finfo(float).eps * max(1.0, float(np.abs(energies).max())) / h**2
        if largest and noise > 0.01 * tolerance:
            break
        found = int(np.argmax(sizes))
        if not sizes[found] <= largest:
            largest, where = float(sizes[found]), float(grid[found + 1])
        points, low, high = 24, max(where - 3 * h, span[0]), min(where + 3 * h, span[1])
    what = f"largest second derivative, at coordinate {where:.4f} of a path"
    return judge("curvature", largest, tolerance, "eV/A^2", what)
