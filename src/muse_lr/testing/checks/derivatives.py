"""Checks of forces, stress and Hessian by finite differences."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from ase import Atoms
from numpy.typing import NDArray

from muse_lr.testing.differences import derivative
from muse_lr.testing.measurement import Measurement, NotApplicable, judge
from muse_lr.testing.potentials import Subject, as_potential

Array = NDArray[np.float64]

#: The six symmetric unit strains, (6, 3, 3).
STRAINS = np.array(
    [
        (np.outer(np.eye(3)[a], np.eye(3)[b]) + np.outer(np.eye(3)[b], np.eye(3)[a])) / 2
        for a, b in ((0, 0), (1, 1), (2, 2), (1, 2), (0, 2), (0, 1))
    ]
)


def displaced(atoms: Atoms, displacement: Array) -> Atoms:
    """Copy with ``displacement`` (n_atoms, 3) in A added to the positions."""
    moved = atoms.copy()
    moved.positions += displacement
    return moved


def strained(atoms: Atoms, strain: Array) -> Atoms:
    """Copy with positions and cell multiplied by 1 + ``strain`` (3, 3)."""
    deformed = atoms.copy()
    deformation = np.eye(3) + strain
    deformed.set_cell(atoms.cell.array @ deformation, scale_atoms=False)
    deformed.positions = atoms.positions @ deformation
    return deformed


def check_forces(
    subject: Subject,
    atoms: Atoms,
    *,
    tolerance: float = 1e-6,
    step: float = 1e-3,
    directions: int = 4,
    seed: int = 0,
) -> Measurement:
    r"""Check that forces are the negative gradient of the energy.

    The derivative is computed along random displacements u of all atoms, which involve every
    component of the forces:

    .. math:: -\sum_i F_i \cdot u_i = \frac{d}{dh} E(r + h u) \Big|_{h=0}

    It is a central difference with Richardson extrapolation
    (:func:`muse_lr.testing.differences.derivative`).

    Parameters
    ----------
    subject : EnergyModel, ASE calculator or Potential
    atoms : ase.Atoms
    tolerance : float
        Largest deviation as a share of max(1 eV/A, largest force component).
    step : float
        Initial displacement, A. It is reduced until the differences converge.
    directions : int
        Number of random displacements.
    seed : int
        For the displacements.

    Raises
    ------
    CheckFailed
        Also if the differences do not converge, because the energy is noisy or not smooth.
    """
    potential = as_potential(subject)
    forces = potential.evaluate([atoms], ("forces",)).get("forces")
    scale = max(1.0, float(np.abs(forces).max(initial=0.0)))
    rng = np.random.default_rng(seed)
    displacements = rng.uniform(-1, 1, size=(directions, len(atoms), 3))

    def energies(points: Sequence[float]) -> Array:
        moved = [displaced(atoms, h * u) for h in points for u in displacements]
        return potential.energies(moved).reshape(len(points), directions)

    expected = -np.einsum("dia,ia->d", displacements, forces)
    return _agree("forces", energies, expected, tolerance * scale, step, "eV/A", "F.u and -dE/dh")


def check_stress(
    subject: Subject, atoms: Atoms, *, tolerance: float = 1e-6, step: float = 1e-3
) -> Measurement:
    r"""Check that the stress is the strain derivative of the energy per volume.

    .. math:: \sigma_{ab} = \frac{1}{V} \frac{dE}{d\epsilon_{ab}}, \quad
              r \to r (1 + \epsilon), \; C \to C (1 + \epsilon),

    for the six symmetric strains of positions and cell.

    Parameters
    ----------
    subject : EnergyModel, ASE calculator or Potential
    atoms : ase.Atoms
    tolerance : float
        Largest deviation of ``V sigma`` in eV, as a share of max(1 eV, its largest component).
    step : float
        Initial strain.

    Raises
    ------
    NotApplicable
        Without periodic directions, or without three cell vectors.
    CheckFailed
    """
    _needs_volume(atoms)
    potential = as_potential(subject)
    virial = potential.evaluate([atoms], ("stress",)).get("stress")[0] * atoms.cell.volume
    scale = max(1.0, float(np.abs(virial).max()))

    def energies(points: Sequence[float]) -> Array:
        deformed = [strained(atoms, h * e) for h in points for e in STRAINS]
        return potential.energies(deformed).reshape(len(points), len(STRAINS))

    judge(
        "stress",
        float(np.abs(virial - virial.T).max()),
        tolerance * scale,
        "eV",
        "asymmetry of V sigma",
    )
    expected = np.einsum("dab,ab->d", STRAINS, virial)
    return _agree("stress", energies, expected, tolerance * scale, step, "eV", "V sigma and dE/de")


def check_hessian_symmetric(
    subject: Subject,
    atoms: Atoms,
    *,
    tolerance: float = 1e-6,
    step: float = 1e-3,
    pairs: int = 3,
    seed: int = 0,
) -> Measurement:
    r"""Check that the Hessian is symmetric, i.e. that the forces are a gradient.

    .. math:: u^T H v = -\frac{d}{dh} F(r + h v) \cdot u = v^T H u

    for random displacements u, v, by finite differences of the forces.

    Parameters
    ----------
    subject, atoms, step, seed
        As for :func:`check_forces`.
    tolerance : float
        Largest deviation as a share of max(1 eV/A^2, largest product).
    pairs : int
        Number of pairs (u, v).

    Raises
    ------
    CheckFailed
    """
    potential = as_potential(subject)
    rng = np.random.default_rng(seed)
    u, v = rng.uniform(-1, 1, size=(2, pairs, len(atoms), 3))

    def products(points: Sequence[float]) -> Array:
        moved = [displaced(atoms, h * w) for h in points for w in (*v, *u)]
        forces = potential.evaluate(moved, ("forces",)).get("forces")
        shaped = forces.reshape(len(points), 2, pairs, len(atoms), 3)
        return -np.einsum("hspia,spia->hsp", shaped, np.stack([u, v]))

    scale = max(1.0, float(np.abs(products([0.0])).max()))
    values, error = derivative(products, tolerance * scale, step)
    scale = max(scale, float(np.abs(values).max()))
    _converged("hessian_symmetric", error, tolerance * scale, "eV/A^2", "forces")
    asymmetry = float(np.abs(values[0] - values[1]).max())
    return judge(
        "hessian_symmetric", asymmetry, tolerance * scale, "eV/A^2", "difference of u.H.v and v.H.u"
    )


def _agree(
    name: str,
    function: Callable[[Sequence[float]], Array],
    expected: Array,
    tolerance: float,
    step: float,
    unit: str,
    what: str,
) -> Measurement:
    """Compare analytic derivatives with converged finite differences."""
    value, error = derivative(function, tolerance, step)
    _converged(name, error, tolerance, unit, "energy")
    deviation = float(np.abs(value - expected).max(initial=0.0))
    return judge(name, deviation, tolerance, unit, f"largest difference between {what}")


def _converged(name: str, error: float, tolerance: float, unit: str, what: str) -> None:
    judge(
        name,
        error,
        tolerance,
        unit,
        f"finite differences of the {what} do not converge (noisy or not smooth); their error",
    )


def _needs_volume(atoms: Atoms) -> None:
    if not atoms.pbc.any() or atoms.cell.rank < 3:
        raise NotApplicable("stress needs periodic directions and three cell vectors")
