"""Checks of symmetries: invariance of the energy and transformation of other properties."""

from __future__ import annotations

import numpy as np
from ase import Atoms
from numpy.typing import NDArray

from muse_lr.testing.checks.comparison import compare
from muse_lr.testing.measurement import Measurement, NotApplicable
from muse_lr.testing.potentials import Outputs, Potential, Subject, as_potential
from muse_lr.testing.structures import random_rotation, random_unimodular

Array = NDArray[np.float64]


def check_translation(
    subject: Subject, atoms: Atoms, *, tolerance: float = 1e-9, seed: int = 0
) -> Measurement:
    r"""Check that a rigid shift changes nothing but the dipole of an ion.

    .. math:: E(r + t) = E(r), \quad F' = F, \quad \mu' = \mu + t \sum_i q_i.

    Parameters
    ----------
    subject : EnergyModel, ASE calculator or Potential
    atoms : ase.Atoms
    tolerance : float
        Largest deviation, as a share of max(1, largest value) in eV, eV/A, eV/A^3, e A and e.
    seed : int
        Seed of the random shift of a few A.

    Raises
    ------
    CheckFailed
    """
    potential = as_potential(subject)
    shift = np.random.default_rng(seed).uniform(-3, 3, size=3)
    moved = atoms.copy()
    moved.positions += shift
    before, after = _both(potential, atoms, moved)
    if before.dipole is not None:
        charge = before.get("charges").sum()
        before = _replace(before, dipole=before.dipole + charge * shift)
    return compare("translation", before, after, tolerance, f"after a shift by {shift.round(2)} A")


def check_rotation(
    subject: Subject, atoms: Atoms, *, tolerance: float = 1e-9, seed: int = 0
) -> Measurement:
    r"""Check that a rotation of atoms and cell rotates forces, stress and dipole.

    .. math:: E' = E, \quad F' = R F, \quad \sigma' = R \sigma R^T, \quad \mu' = R \mu, \;
              q' = q.

    Parameters and errors as for :func:`check_translation`.
    """
    return _orthogonal("rotation", subject, atoms, tolerance, seed, improper=False)


def check_reflection(
    subject: Subject, atoms: Atoms, *, tolerance: float = 1e-9, seed: int = 0
) -> Measurement:
    """As :func:`check_rotation`, with an improper rotation; the cell changes its handedness."""
    return _orthogonal("reflection", subject, atoms, tolerance, seed, improper=True)


def check_permutation(
    subject: Subject, atoms: Atoms, *, tolerance: float = 1e-9, seed: int = 0
) -> Measurement:
    """Check that the energy is independent of the order of the atoms; other results follow it.

    Parameters and errors as for :func:`check_translation`.
    """
    if len(atoms) < 2:
        raise NotApplicable("one atom has no other order")
    potential = as_potential(subject)
    order = np.roll(np.arange(len(atoms)), 1)
    order[1:] = np.random.default_rng(seed).permutation(order[1:])
    before, after = _both(potential, atoms, atoms[order])
    for name in ("forces", "charges"):
        if (value := getattr(before, name)) is not None:
            before = _replace(before, **{name: value[order]})
    return compare("permutation", before, after, tolerance, "after reordering the atoms")


def check_wrapping(
    subject: Subject, atoms: Atoms, *, tolerance: float = 1e-9, seed: int = 0, cells: int = 2
) -> Measurement:
    """Check that moving single atoms by lattice vectors changes nothing.

    Parameters and errors as for :func:`check_translation`; NotApplicable to open boundaries.
    ``cells`` is the largest number of cells by which an atom moves along a vector.
    """
    _needs_periodic(atoms)
    potential = as_potential(subject)
    rng = np.random.default_rng(seed)
    jumps = rng.integers(-cells, cells + 1, size=(len(atoms), 3)) * atoms.pbc
    jumps[0] += atoms.pbc
    moved = atoms.copy()
    moved.positions += jumps @ atoms.cell.array
    before, after = _both(potential, atoms, moved)
    return compare("wrapping", before, after, tolerance, "after moving atoms by lattice vectors")


def check_equivalent_cell(
    subject: Subject,
    atoms: Atoms,
    *,
    tolerance: float = 1e-9,
    seed: int = 0,
    steps: int = 2,
    invert: bool = True,
) -> Measurement:
    """Check other cell vectors of the same lattice, C' = U C with an integer U, det U = +-1.

    Parameters and errors as for :func:`check_translation`; NotApplicable to open boundaries.
    ``steps`` is the number of additions of one vector to another. With ``invert`` one vector is
    inverted, which changes the handedness of the cell.
    """
    _needs_periodic(atoms)
    potential = as_potential(subject)
    change = random_unimodular(np.random.default_rng(seed), atoms.pbc, steps)
    if invert:
        change[np.flatnonzero(atoms.pbc)[-1]] *= -1
    other = atoms.copy()
    other.set_cell(change @ atoms.cell.array, scale_atoms=False)
    before, after = _both(potential, atoms, other)
    return compare("equivalent_cell", before, after, tolerance, "with other vectors of the lattice")


def _orthogonal(
    name: str, subject: Subject, atoms: Atoms, tolerance: float, seed: int, *, improper: bool
) -> Measurement:
    potential = as_potential(subject)
    matrix = random_rotation(np.random.default_rng(seed)) * (-1 if improper else 1)
    turned = atoms.copy()
    turned.set_cell(atoms.cell.array @ matrix.T, scale_atoms=False)
    turned.positions = atoms.positions @ matrix.T
    before, after = _both(potential, atoms, turned)
    for vector in ("forces", "dipole"):
        if (value := getattr(before, vector)) is not None:
            before = _replace(before, **{vector: value @ matrix.T})
    if before.stress is not None:
        before = _replace(before, stress=matrix @ before.stress @ matrix.T)
    return compare(name, before, after, tolerance, f"after a {name} of atoms and cell")


def _both(potential: Potential, first: Atoms, second: Atoms) -> tuple[Outputs, Outputs]:
    compute = potential.offered(first)
    return potential.evaluate([first], compute), potential.evaluate([second], compute)


def _replace(outputs: Outputs, **values: Array) -> Outputs:
    return Outputs(**{**vars(outputs), **values})


def _needs_periodic(atoms: Atoms) -> None:
    if not atoms.pbc.any():
        raise NotApplicable("open boundaries have no lattice vectors")
