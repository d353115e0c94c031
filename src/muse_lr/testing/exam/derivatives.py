"""Derivatives: forces, stress, Hessian."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import numpy as np
from ase import Atoms

from muse_lr.testing import checks
from muse_lr.testing.checks.derivatives import displaced
from muse_lr.testing.exam.bench import Bench
from muse_lr.testing.exam.check import Case, Check, each
from muse_lr.testing.exam.symmetry import ALL
from muse_lr.testing.measurement import Measurement, judge
from muse_lr.testing.potentials import Potential


class Derivative(Check):
    """What the checks of derivatives have in common."""

    tolerance = 1e-5
    reason = (
        "differences of float64 energies are converged to a third of it; 1e-5 is a hundredth of "
        "the forces at which relaxations stop"
    )
    needs = ("forces",)
    cost = 2.0


class Forces(Derivative):
    """Forces are the negative gradient of the energy."""

    name = "forces"
    equation = "-F·u = dE(r + h u)/dh"
    unit = "× max(1 eV/Å, largest force)"
    meaning = "Dynamics does not conserve energy, and relaxations end beside the minimum."
    remedy = (
        "Derive the forces from the energy; look for signs, detached terms and lists that a "
        "displacement changes."
    )

    def cases(self, bench: Bench) -> Iterator[Case]:
        """All structures along random directions."""
        engine = partial(checks.check_forces, bench.potential, tolerance=self.tolerance)
        return each(bench.named(*ALL), partial(engine, directions=2))


class Stress(Derivative):
    """The stress is the strain derivative of the energy per volume."""

    name = "stress"
    equation = "V σ = dE/dε, r → r (1 + ε), C → C (1 + ε)"
    unit = "× max(1 eV, largest V σ)"
    meaning = "Lattice constants, elastic constants and constant-pressure dynamics are wrong."
    remedy = (
        "Strain positions and cell together, reciprocal vectors and volume included; look for "
        "a virial term that is missing."
    )
    needs = ("stress",)

    def cases(self, bench: Bench) -> Iterator[Case]:
        """Crystals, and slabs with a cell of three vectors."""
        engine = partial(checks.check_stress, bench.potential, tolerance=self.tolerance)
        return each(bench.named("crystals", "slabs"), engine)


class HessianSymmetry(Derivative):
    """The Hessian is symmetric."""

    name = "hessian_symmetry"
    equation = "u·H·v = v·H·u"
    unit = "× max(1 eV/Å², largest product)"
    meaning = "The forces are no gradient of any energy: they can do work along a closed path."
    remedy = "Derive the forces from one energy instead of predicting them."

    def cases(self, bench: Bench) -> Iterator[Case]:
        """All structures, pairs of random directions."""
        engine = partial(checks.check_hessian_symmetric, bench.potential, tolerance=self.tolerance)
        return each(bench.named(*ALL), partial(engine, pairs=2))


class AcousticSumRule(Derivative):
    """Force constants sum to zero: neither a shift nor an atom makes a net force."""

    name = "acoustic_sum_rule"
    equation = "Σⱼ Φᵢⱼ = 0, Σᵢ Φᵢⱼ = 0"
    unit = "× max(1 eV/Å², largest force constant)"
    meaning = "Acoustic branches do not start at zero; the center of mass is accelerated."
    remedy = "As for translation and forces."

    def cases(self, bench: Bench) -> Iterator[Case]:
        """All structures."""
        engine = partial(sum_rule, bench.potential, tolerance=self.tolerance)
        return each(bench.named(*ALL), engine)


def sum_rule(
    potential: Potential, atoms: Atoms, *, tolerance: float, step: float = 1e-3
) -> Measurement:
    r"""Check the acoustic sum rule of the force constants of the first atom.

    .. math:: \sum_j \Phi_{1j} = -\frac{F_1(r + h t) - F_1(r - h t)}{2 h}, \qquad
              \sum_i \Phi_{i1} = -\sum_i \frac{F_i(r_1 + h) - F_i(r_1 - h)}{2 h}

    with a shift t of all atoms, and with the first atom displaced along each axis.

    Parameters
    ----------
    potential : Potential
    atoms : ase.Atoms
    tolerance : float
        Share of max(1 eV/A^2, largest force constant).
    step : float
        h in A.

    Raises
    ------
    CheckFailed
    """
    one, all_atoms = np.zeros((3, len(atoms), 3)), np.zeros((3, len(atoms), 3))
    one[np.arange(3), 0, np.arange(3)] = step
    all_atoms[np.arange(3), :, np.arange(3)] = step
    moves = np.concatenate([one, -one, all_atoms, -all_atoms])
    forces = potential.evaluate([displaced(atoms, move) for move in moves], ("forces",))
    shaped = forces.get("forces").reshape(4, 3, len(atoms), 3)
    constants = -(shaped[0] - shaped[1]) / (2 * step)
    shifted = -(shaped[2] - shaped[3]) / (2 * step)
    scale = max(1.0, float(np.abs(constants).max()))
    value = max(float(np.abs(constants.sum(1)).max()), float(np.abs(shifted).max()))
    what = "largest sum of force constants"
    return judge("acoustic_sum_rule", value, tolerance * scale, "eV/A^2", what)
