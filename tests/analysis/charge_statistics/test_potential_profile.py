"""Potentials of sheets of charge, of dipoles and of Gaussian charges against closed forms."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from ase import Atoms
from ase.build import fcc111, molecule
from scipy.integrate import trapezoid

from muse_lr import InputError
from muse_lr.analysis.charge_statistics import (
    charged_sites,
    planar_density,
    planar_potential,
    potential_profile,
)
from muse_lr.analysis.charge_statistics.structure_factor import PER_PERMITTIVITY


def slab(heights, edge=5.0, pbc=(True, True, False), height=30.0):
    positions = [[0.3 * i, 0.7 * i, z] for i, z in enumerate(heights)]
    return Atoms(f"H{len(heights)}", positions, cell=[edge, edge, height], pbc=pbc)


def test_the_drop_across_two_charged_sheets():
    """sigma d / eps0: the potential rises from the negative to the positive sheet."""
    d, q, area = 4.0, 0.25, 25.0
    found = potential_profile(charged_sites([slab([0.0, d])], [-q, q]))
    expected = PER_PERMITTIVITY * q * d / area
    assert expected == pytest.approx(7.2, abs=0.1)  # V, for 0.25 e on 25 A^2 over 4 A
    assert found.step.value == pytest.approx(expected, rel=1e-12)
    assert found.dipole.value == pytest.approx(q * d, rel=1e-12)
    assert found.potential[0] == 0.0
    assert found.potential[-1] == pytest.approx(expected, rel=1e-12)
    inside = np.abs(found.z) < d / 2 - 0.2
    line = expected * (found.z[inside] + d / 2) / d
    np.testing.assert_allclose(found.potential[inside], line, rtol=1e-10)
    np.testing.assert_allclose(trapezoid(found.density, found.z) * area, 0.0, atol=1e-12)
    assert trapezoid(found.density * found.z, found.z) * area == pytest.approx(q * d, rel=1e-6)


def test_a_layer_of_dipoles_is_a_step():
    """mu / (eps0 A), sharp at the layer for points and smooth for Gaussians."""
    sites = charged_sites([slab([0.0, 0.0])], [0.0, 0.0])
    sites = replace(sites, dipoles=np.array([[[0.5, 0.0, 0.1], [0.0, 0.0, 0.3]]]))
    expected = PER_PERMITTIVITY * 0.4 / 25.0
    for widths in (None, np.array([0.4, 0.8])):
        found = potential_profile(replace(sites, widths=widths))
        assert found.step.value == pytest.approx(expected, rel=1e-12)
        assert found.potential[-1] == pytest.approx(expected, rel=1e-9)
        beside = found.potential[np.abs(found.z - 0.5).argmin()]
        assert beside == pytest.approx(expected) if widths is None else beside < 0.95 * expected


def test_gaussian_charges_solve_the_equation_of_poisson():
    """The double integral of the density by a fine sum equals the closed form."""
    rng = np.random.default_rng(0)
    heights, charges = rng.uniform(-2, 2, 6), rng.normal(size=6)
    charges -= charges.mean()
    dipoles, widths = rng.normal(size=6), rng.uniform(0.3, 0.9, 6)
    z = np.linspace(-10, 10, 8001)
    density = planar_density(z, heights, charges, 20.0, dipoles, widths)
    step = z[1] - z[0]
    field = np.cumsum(density) * step - density * step / 2
    summed = -PER_PERMITTIVITY * (np.cumsum(field) * step - field * step / 2)
    exact = planar_potential(z, heights, charges, 20.0, dipoles, widths)
    np.testing.assert_allclose(summed, exact, atol=2e-5 * np.abs(exact).max())


def test_narrow_gaussians_are_points():
    rng = np.random.default_rng(1)
    heights, charges, dipoles = rng.uniform(-2, 2, 5), rng.normal(size=5), rng.normal(size=5)
    z = np.array([-5.0, -1.234, 0.321, 1.5, 5.0])
    point = planar_potential(z, heights, charges, 20.0, dipoles)
    narrow = planar_potential(z, heights, charges, 20.0, dipoles, np.full(5, 1e-4))
    np.testing.assert_allclose(narrow, point, atol=1e-8)


def test_the_inside_of_a_symmetric_slab():
    """Dipole layers that point outwards lower the inside by mu / (eps0 A); the step vanishes."""
    heights = [-6.0, -5.0, 5.0, 6.0]
    found = potential_profile(charged_sites([slab(heights)], [0.2, -0.2, -0.2, 0.2]))
    assert found.step.value == pytest.approx(0.0, abs=1e-12)
    assert found.interface.value == pytest.approx(-PER_PERMITTIVITY * 0.2 / 25.0, rel=1e-10)


def test_any_open_axis_and_any_cell():
    """The normal is that of the plane, whatever the axis, the open vector or the handedness."""
    atoms = fcc111("Al", (2, 2, 3), vacuum=6.0)
    charges = np.linspace(-0.1, 0.1, 12)
    atoms.pbc = [True, True, False]
    first = potential_profile(charged_sites([atoms], charges))
    assert first.step.value > 0
    turned = Atoms(
        atoms.numbers, atoms.positions[:, [2, 0, 1]], cell=atoms.cell.array[[2, 0, 1]][:, [2, 0, 1]]
    )
    turned.pbc = [False, True, True]
    left = atoms.copy()
    left.set_cell(atoms.cell.array[[1, 0, 2]])
    flat = atoms.copy()
    flat.set_cell(atoms.cell.array * [[1], [1], [0]])
    for other in (turned, left, flat):
        found = potential_profile(charged_sites([other], charges))
        assert found.area == pytest.approx(first.area)
        assert found.step.value == pytest.approx(first.step.value, rel=1e-10)


def test_errors_come_from_the_frames():
    rng = np.random.default_rng(3)
    frames = [slab([0.0, d]) for d in 4 + 0.3 * rng.normal(size=100)]
    found = potential_profile(charged_sites(frames, [-0.1, 0.1]))
    expected = PER_PERMITTIVITY * 0.1 / 25.0
    assert found.step.value == pytest.approx(4 * expected, abs=4 * found.step.error)
    assert found.step.error == pytest.approx(0.03 * expected, rel=0.6)
    assert found.error[-1] == pytest.approx(found.step.error)


def test_charged_slabs_and_other_boundaries_are_refused():
    with pytest.raises(InputError, match=r"net charge of 0.1 e"):
        potential_profile(charged_sites([slab([0.0, 4.0])], [0.0, 0.1]))
    for atoms in (slab([0.0, 4.0], pbc=True), molecule("HF")):
        with pytest.raises(InputError, match="needs a slab"):
            potential_profile(charged_sites([atoms], [-0.1, 0.1]))
