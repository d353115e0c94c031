"""Dipoles of molecules and dielectric constants against variances that are known."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, molecule
from ase.units import kB

from muse_lr import InputError
from muse_lr.analysis.charge_statistics import (
    charged_sites,
    dielectric_constant,
    find_groups,
    molecular_dipoles,
    whole_molecules,
)
from muse_lr.analysis.charge_statistics.structure_factor import PER_PERMITTIVITY

WATER = {"O": -0.8, "H": 0.4}
TEMPERATURE = 300.0


def waters(frames, n=8, edge=12.0, seed=0):
    """Frames of independent, randomly turned and wrapped molecules of water."""
    rng = np.random.default_rng(seed)
    one = molecule("H2O").positions
    found = []
    for _ in range(frames):
        positions = []
        for number in range(n):
            corner = np.array([number // 4, number // 2 % 2, number % 2]) * edge / 2
            turn = np.linalg.qr(rng.normal(size=(3, 3)))[0] * rng.choice([-1.0, 1.0])
            positions.append(corner + one @ turn)
        atoms = Atoms("OHH" * n, np.concatenate(positions), cell=[edge] * 3, pbc=True)
        atoms.wrap()
        found.append(atoms)
    return found


def test_independent_dipoles_have_the_variance_of_one():
    """<M^2> = n mu^2: the Kirkwood factor is 1, and eps follows."""
    frames = waters(800)
    sites = charged_sites(frames, WATER)
    groups = find_groups(sites)
    assert [len(group) for group in groups] == [3] * 8
    found = dielectric_constant(sites, TEMPERATURE)
    one = molecule("H2O")
    mu = np.linalg.norm(np.array([WATER[s] for s in one.symbols]) @ one.positions)
    assert found.molecule == pytest.approx(mu, rel=1e-8)
    expected = 1 + PER_PERMITTIVITY * 8 * mu**2 / (3 * 12.0**3 * kB * TEMPERATURE)
    assert found.value.value == pytest.approx(expected, abs=4 * found.value.error)
    assert found.value.error < 0.1 * (expected - 1)
    assert found.kirkwood == pytest.approx(1, abs=0.15)
    assert found.running[-1] == pytest.approx(found.value.value, rel=1e-10)
    assert found.independent > 200
    assert np.mean([axis.value for axis in found.axes]) == pytest.approx(found.value.value)
    optical = dielectric_constant(sites, TEMPERATURE, optical=1.8)
    assert optical.value.value == pytest.approx(found.value.value + 0.8)


def test_a_dipole_of_known_variance():
    """One molecule per cell whose dipole is Gaussian: eps - 1 = var / (eps0 V kT)."""
    rng = np.random.default_rng(4)
    edge, spread = 10.0, 0.2
    frames = [
        Atoms("HF", [np.zeros(3), step], cell=[edge] * 3, pbc=True)
        for step in rng.normal(size=(3000, 3)) * spread + [0.5, 0.0, 0.0]  # a mean dipole
    ]
    sites = charged_sites(frames, {"H": 1.0, "F": -1.0})
    found = dielectric_constant(sites, TEMPERATURE, [np.array([0, 1])])
    expected = 1 + PER_PERMITTIVITY * spread**2 / (edge**3 * kB * TEMPERATURE)
    assert found.value.value == pytest.approx(expected, abs=4 * found.value.error)
    assert found.value.error < 0.03 * (expected - 1)


def test_dipoles_do_not_depend_on_the_wrapping():
    frames = waters(3)
    sites = charged_sites(frames, WATER)
    groups = find_groups(sites)
    rng = np.random.default_rng(1)
    moved = [atoms.copy() for atoms in frames]
    for atoms in moved:
        atoms.positions += rng.integers(-2, 3, (len(atoms), 3)) @ atoms.cell.array
    other = charged_sites(moved, WATER)
    whole = whole_molecules(other, groups)
    for group in groups:
        bonds = np.linalg.norm(whole[:, group[1:]] - whole[:, group[:1]], axis=2)
        assert bonds.max() < 1.7
    first, charges = molecular_dipoles(sites, groups)
    second, _ = molecular_dipoles(other, groups)
    np.testing.assert_allclose(first, second, atol=1e-12)
    np.testing.assert_allclose(charges, 0, atol=1e-14)


def test_dipoles_of_atoms_are_added():
    sites = charged_sites(waters(2), WATER)
    groups = find_groups(sites)
    plain, _ = molecular_dipoles(sites, groups)
    added = replace(sites, dipoles=np.full((2, 24, 3), 0.1))
    np.testing.assert_allclose(molecular_dipoles(added, groups)[0], plain + 0.3)


def test_ions_are_refused_and_a_crystal_is_one_group():
    crystal = bulk("NaCl", "rocksalt", a=5.6, cubic=True) * 2
    rng = np.random.default_rng(2)
    frames = [crystal.copy() for _ in range(400)]
    for atoms in frames:
        atoms.positions += 0.1 * rng.normal(size=atoms.positions.shape)
        atoms.wrap()
    sites = charged_sites(frames, {"Na": 1.0, "Cl": -1.0})
    with pytest.raises(InputError, match=r"Na \(atom 0\) with a mean charge of 1.00 e is an ion"):
        dielectric_constant(sites, TEMPERATURE)
    found = dielectric_constant(sites, TEMPERATURE, [np.arange(64)])
    expected = 1 + PER_PERMITTIVITY * 64 * 0.1**2 / (11.2**3 * kB * TEMPERATURE)
    assert found.value.value == pytest.approx(expected, abs=4 * found.value.error)


def test_molecules_that_break_and_slabs_are_refused():
    sites = charged_sites(waters(1), WATER)
    with pytest.raises(InputError, match="farther apart than half the cell"):
        whole_molecules(sites, [np.array([0, 21])])  # at opposite corners
    slab = waters(1)
    slab[0].pbc = [True, True, False]
    with pytest.raises(InputError, match="three periodic directions"):
        dielectric_constant(charged_sites(slab, WATER), TEMPERATURE)


def test_charge_that_molecules_exchange_is_measured():
    frames = waters(50)
    charges = np.tile([WATER[s] for s in frames[0].symbols], (50, 1))
    step = 0.05 * np.random.default_rng(0).normal(size=50)
    charges[:, 0] += step
    charges[:, 3] -= step
    found = dielectric_constant(charged_sites(frames, charges), TEMPERATURE)
    assert found.charge_fluctuation == pytest.approx(step.std(), rel=1e-10)
