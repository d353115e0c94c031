"""Frequencies and eigenvectors, against molecules that are solved by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
from ase import Atoms, units
from ase.build import bulk, molecule

from muse_lr.analysis.hessian.modes import compare_modes, normal_modes, rigid_motions


def springs(atoms: Atoms, constants: dict[tuple[int, int], float]) -> np.ndarray:
    """Hessian of springs at rest between pairs of atoms, eV/A^2."""
    n = len(atoms)
    found = np.zeros((n, 3, n, 3))
    for (i, j), constant in constants.items():
        u = atoms.positions[j] - atoms.positions[i]
        u /= np.linalg.norm(u)
        block = constant * np.outer(u, u)
        found[i, :, i] += block
        found[j, :, j] += block
        found[i, :, j] -= block
        found[j, :, i] -= block
    return found.reshape(3 * n, 3 * n)


def wavenumber(constant: float, mass: float) -> float:
    """sqrt(k / m) in 1/cm, with the units of ASE."""
    energy = units._hbar * 1e10 / math.sqrt(units._e * units._amu) * math.sqrt(constant / mass)
    return energy / units.invcm


def test_a_diatomic_molecule():
    atoms = Atoms("CO", [[0.1, 0.2, 0.3], [0.5, 1.2, 0.4]])
    found = normal_modes(atoms, springs(atoms, {(0, 1): 118.7}))
    first, second = atoms.get_masses()
    expected = wavenumber(118.7, first * second / (first + second))
    assert found.frequencies == pytest.approx([expected])
    assert expected == pytest.approx(2170, abs=5)  # carbon monoxide
    assert np.linalg.norm(found.vectors[:, 0]) == pytest.approx(1)


def test_a_linear_molecule_of_three_atoms():
    """Symmetric and antisymmetric stretch; the two bending modes have no force."""
    atoms = Atoms("OCO", [[0, 0, -1.16], [0, 0, 0], [0, 0, 1.16]])
    found = normal_modes(atoms, springs(atoms, {(0, 1): 90.0, (1, 2): 90.0}))
    oxygen, carbon = atoms.get_masses()[:2]
    symmetric = wavenumber(90.0, oxygen)
    antisymmetric = symmetric * math.sqrt(1 + 2 * oxygen / carbon)
    assert found.frequencies == pytest.approx([0, 0, symmetric, antisymmetric], abs=1e-3)


@pytest.mark.parametrize(
    ("atoms", "count"),
    [
        (Atoms("H"), 3),
        (molecule("CO2"), 5),
        (molecule("H2O"), 6),
        (bulk("NaCl", "rocksalt", a=5.64), 3),
        (Atoms("NaCl", [[0, 0, 0], [0, 0, 2.4]], cell=[4, 4, 0], pbc=(1, 1, 0)), 3),
    ],
)
def test_rigid_motions(atoms, count):
    found = rigid_motions(atoms)
    assert found.shape == (3 * len(atoms), count)
    np.testing.assert_allclose(found.T @ found, np.eye(count), atol=1e-12)
    assert len(normal_modes(atoms, np.eye(3 * len(atoms))).frequencies) == 3 * len(atoms) - count


def test_rigid_motions_have_no_part_in_the_frequencies():
    """A molecule in an external well vibrates as without it."""
    atoms = molecule("H2O")
    inner = springs(atoms, {(0, 1): 50.0, (0, 2): 50.0, (1, 2): 10.0})
    rigid = rigid_motions(atoms)
    roots = np.sqrt(np.repeat(atoms.get_masses(), 3))
    well = (rigid @ rigid.T) * roots[:, None] * roots
    alone, inside = normal_modes(atoms, inner), normal_modes(atoms, inner + 7 * well)
    np.testing.assert_allclose(inside.frequencies, alone.frequencies, rtol=1e-10)


def test_imaginary_frequencies_are_negative():
    atoms = Atoms("H2", [[0, 0, 0], [0, 0, 0.74]])
    (found,) = normal_modes(atoms, springs(atoms, {(0, 1): -5.0})).frequencies
    assert found == pytest.approx(-wavenumber(5.0, atoms.get_masses()[0] / 2))


def test_the_same_matrix_overlaps_fully_and_a_scaled_one_has_the_error_of_its_frequencies():
    atoms = molecule("CH4")  # degenerate modes
    pairs = {(0, i): 30.0 for i in range(1, 5)}
    pairs |= {(i, j): 3.0 for i in range(1, 5) for j in range(i + 1, 5)}
    reference = springs(atoms, pairs)
    same = compare_modes(atoms, reference, reference)
    np.testing.assert_allclose(same.overlap, 1, atol=1e-10)
    assert same.mean_absolute_error == pytest.approx(0, abs=1e-6)
    stiffer = compare_modes(atoms, 1.21 * reference, reference)
    assert stiffer.mean_absolute_error == pytest.approx(0.1 * stiffer.zero_error)
    np.testing.assert_allclose(stiffer.overlap, 1, atol=1e-10)


def test_modes_in_another_order_still_belong_together():
    atoms = Atoms("HCO", [[-1.1, 0, 0], [0, 0, 0], [1.2, 0, 0]])
    soft, hard = {(0, 1): 10.0, (1, 2): 90.0}, {(0, 1): 90.0, (1, 2): 10.0}
    found = compare_modes(atoms, springs(atoms, soft), springs(atoms, soft))
    assert found.mean_overlap == pytest.approx(1)
    other = compare_modes(atoms, springs(atoms, hard), springs(atoms, soft))
    assert other.overlap[-2:].mean() < 0.99
    assert (other.overlap <= 1 + 1e-12).all()


def test_a_single_atom_has_no_frequencies():
    found = compare_modes(Atoms("H"), np.zeros((3, 3)), np.zeros((3, 3)))
    assert math.isnan(found.mean_absolute_error)
    assert math.isnan(found.mean_overlap)
    assert math.isnan(found.zero_error)
