"""Check of smoothness along paths on which neighbors, coarse nodes or k-vectors change."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise

import numpy as np
from ase import Atoms
from numpy.typing import NDArray

from muse_lr.testing.checks.derivatives import strained
from muse_lr.testing.measurement import Measurement, NotApplicable, judge
from muse_lr.testing.potentials import Potential, Subject, as_potential

Array = NDArray[np.float64]

#: Number of additional levels that confirm a jump.
CONFIRMATIONS = 2

#: Maps the coordinate of a path to a structure.
Path = Callable[[float], Atoms]


def displacement_path(atoms: Atoms, atom: int = 0, *, seed: int = 0) -> Path:
    """Path that moves one atom along a random direction; the coordinate is in A."""
    direction = np.random.default_rng(seed).normal(size=3)
    direction /= np.linalg.norm(direction)

    def path(t: float) -> Atoms:
        moved = atoms.copy()
        moved.positions[atom] += t * direction
        return moved

    return path


def separation_path(atoms: Atoms, cutoff: float, atom: int = 0) -> Path:
    """Path that separates two atoms; at coordinate 0 their distance is ``cutoff`` A.

    Raises
    ------
    NotApplicable
        For a single atom.
    """
    if len(atoms) < 2:
        raise NotApplicable("a single atom has no neighbor")
    other = (atom + 1) % len(atoms)
    vector = atoms.positions[atom] - atoms.positions[other]
    direction = vector / np.linalg.norm(vector)

    def path(t: float) -> Atoms:
        moved = atoms.copy()
        moved.positions[atom] = moved.positions[other] + (cutoff + t) * direction
        return moved

    return path


def strain_path(atoms: Atoms, *, seed: int = 0) -> Path:
    """Path that strains positions and cell along a random symmetric direction.

    The set of k-vectors below a cutoff changes along this path.

    Raises
    ------
    NotApplicable
        Without periodic directions.
    """
    if not atoms.pbc.any():
        raise NotApplicable("open boundaries have no cell to strain")
    direction = np.random.default_rng(seed).normal(size=(3, 3))
    direction = direction + direction.T
    direction /= np.linalg.norm(direction)
    return lambda t: strained(atoms, t * direction)


def check_smooth(
    subject: Subject,
    path: Path,
    *,
    span: tuple[float, float] = (-0.5, 0.5),
    points: int = 50,
    levels: int = 3,
    look_at: Sequence[float] = (),
    tolerance: float = 5e-3,
) -> Measurement:
    r"""Check that the second derivative along a path is continuous (the energy is C2).

    The second difference is :math:`D_h(t) = [E(t+h) - 2E(t) + E(t-h)] / h^2` and its step is
    :math:`J_h(t) = |D_h(t+h) - D_h(t-h)|`. For a C2 energy the step shrinks linearly with h. It
    stays constant at a jump of the second derivative, and grows at a kink or jump of the energy.
    The path is scanned with h and h/2. Windows where J shrinks least are scanned again with h/4,
    h/16, ... The measurement is the largest step in a window, extrapolated to h = 0 (Richardson):
    :math:`K_h = (4 J_{h/4} - J_h) / 3` has no term of order h, and
    :math:`(16 K_{h/4} - K_h) / 15` none of order h^2. A value above the tolerance is confirmed at
    two more levels.

    Parameters
    ----------
    subject : EnergyModel, ASE calculator or Potential
    path : callable
        ``path(t)`` is a structure; see :func:`displacement_path`, :func:`separation_path` and
        :func:`strain_path`.
    span : tuple of float
        First and last coordinate.
    points : int
        Number of intervals of the scan.
    levels : int
        Number of times that the step is divided by 4 in a window, at least 2.
    look_at : sequence of float
        Coordinates of windows that are examined in addition to those found by the scan.
    tolerance : float
        Largest jump as a share of the second derivative nearby (or of 0.01 eV per square of the
        path's unit, if that is more).

    Raises
    ------
    CheckFailed
    """
    potential = as_potential(subject)
    h = (span[1] - span[0]) / points
    grid = np.linspace(span[0], span[1], 2 * points + 1)
    suspects = grid[_suspects(_energies(potential, path, grid))]
    jumps = [_zoom(potential, path, t, h, levels, tolerance) for t in (*look_at, *suspects)]
    jump, allowed, where = max(jumps, key=lambda found: found[0] / found[1])
    what = f"jump of the second derivative at coordinate {where:.4f} of a path"
    return judge("smooth", jump, allowed, "eV per square of the coordinate", what)


def _energies(potential: Potential, path: Path, grid: Array) -> Array:
    return potential.energies([path(float(t)) for t in grid])


def _curvature(energies: Array, h: float) -> Array:
    """D_h at the inner points of a grid, (n - 2,)."""
    return (energies[2:] - 2 * energies[1:-1] + energies[:-2]) / h**2


def _steps(energies: Array, h: float) -> Array:
    """J_h at the points of a grid that have two neighbors on each side, (n - 4,)."""
    curvature = _curvature(energies, h)
    return np.abs(curvature[2:] - curvature[:-2])


def _suspects(fine: Array) -> list[int]:
    """Grid indices of the points where J shrinks least when h is halved.

    Two points are chosen by the difference :math:`2 J_{h/2} - J_h`, and two by the ratio, which
    also finds a small jump on a path that is steep elsewhere.
    """
    coarse = _steps(fine[::2], 2.0)  # at the fine points 4, 6, ...
    half = _steps(fine, 1.0)  # at the fine points 2, 3, ...
    near = np.lib.stride_tricks.sliding_window_view(half, 5)[::2].max(axis=1)[: len(coarse)]
    floor = 1e-6 * max(float(coarse.max()), 1e-12)
    difference, ratio = 2 * near - coarse, near / (coarse + floor)
    chosen = {int(i) for key in (difference, ratio) for i in np.argsort(key)[-2:]}
    return [4 + 2 * i for i in sorted(chosen)]


def _zoom(
    potential: Potential, path: Path, center: float, h: float, levels: int, tolerance: float
) -> tuple[float, float, float]:
    """Extrapolated jump near a point, its limit, and its coordinate."""
    scale, noise, jump = 1e-2, 0.0, np.inf
    steps: list[float] = []
    for level in range(levels + CONFIRMATIONS):
        width, h = 3 * h, h / 4
        grid = np.linspace(center - width, center + width, 25)
        energies = _energies(potential, path, grid)
        found = _steps(energies, h)
        largest = int(np.argmax(found))
        if level == 0:
            scale = max(scale, float(np.abs(_curvature(energies, h)).max()))
        steps.append(float(found[largest]))
        center = float(grid[largest + 2])
        jump = _extrapolated(steps)
        noise = 64 * np.finfo(float).eps * max(1.0, float(np.abs(energies).max())) / h**2
        # The extrapolation underestimates a step that was partly outside the last window. Continue
        # until the jump is within the limit, or noise would dominate at the next h.
        settled = jump <= tolerance * scale + noise or jump < 32 * noise
        if level >= levels - 1 and settled:
            break
    return max(jump, 0.0), tolerance * scale + noise, center


def _extrapolated(steps: Sequence[float]) -> float:
    """The step at h = 0 from those at h, h/4, h/16, .., without the terms of orders h and h^2."""
    if len(steps) == 1:
        return steps[0]
    linear = [(4 * fine - coarse) / 3 for coarse, fine in pairwise(steps[-3:])]
    return linear[0] if len(linear) == 1 else (16 * linear[1] - linear[0]) / 15
