"""Charge structure factors against ideal gases, lattices, neutral pairs and Gaussian fields."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.units import kB

from muse_lr import InputError
from muse_lr.analysis.charge_statistics import charge_structure_factor, charged_sites
from muse_lr.analysis.charge_statistics.structure_factor import (
    PER_PERMITTIVITY,
    _inverse_intercept,
    squared_density,
    wave_integers,
)

TEMPERATURE = 500.0


def gas(frames=200, n=40, edge=12.0, seed=0, symbols=("Na", "Cl")):
    rng = np.random.default_rng(seed)
    return [
        Atoms(list(symbols) * (n // 2), rng.uniform(0, edge, (n, 3)), cell=[edge] * 3, pbc=True)
        for _ in range(frames)
    ]


def test_an_ideal_gas_of_charges_does_not_screen():
    """S = mean q^2 at all k, so that the zeroth moment is violated."""
    sites = charged_sites(gas(), {"Na": 1.5, "Cl": -0.5})
    found = charge_structure_factor(sites, TEMPERATURE)
    np.testing.assert_allclose(found.s, 1.25, atol=0.1)
    assert (np.abs(found.s - 1.25) / found.s_error).mean() < 2
    assert found.zeroth.value == pytest.approx(1.25, abs=4 * found.zeroth.error)
    assert found.zeroth.value > 4 * found.zeroth.error


def test_neutral_pairs_screen_like_a_gas_of_dipoles():
    """Independent dipoles mu: chi = n mu^2 / (3 eps0 kT) for k -> 0, and S(0) = 0."""
    rng = np.random.default_rng(1)
    edge, pairs, length = 20.0, 60, 0.5
    frames = []
    for _ in range(600):
        axes = rng.normal(size=(pairs, 3))
        axes *= length / np.linalg.norm(axes, axis=1)[:, None]
        centers = rng.uniform(0, edge, (pairs, 3))
        positions = np.concatenate([centers + axes / 2, centers - axes / 2])
        frames.append(Atoms("Na60Cl60", positions, cell=[edge] * 3, pbc=True))
    found = charge_structure_factor(charged_sites(frames, {"Na": 1.0, "Cl": -1.0}), TEMPERATURE)
    expected = PER_PERMITTIVITY * pairs / edge**3 * length**2 / (3 * kB * TEMPERATURE)
    assert found.limit.value == pytest.approx(expected, abs=4 * found.limit.error)
    assert found.limit.error < 0.1 * expected
    assert abs(found.zeroth.value) < 4 * found.zeroth.error < 0.02
    # The same dipoles at points: the form factor of the pair is absent, the limit is the same.
    points = charged_sites([atoms[:pairs] for atoms in frames], {"Na": 0.0})
    dipoles = np.array([atoms.positions[:pairs] - atoms.positions[pairs:] for atoms in frames])
    points = replace(points, dipoles=dipoles)
    found = charge_structure_factor(points, TEMPERATURE)
    np.testing.assert_allclose(found.screening, expected, rtol=0.15)
    assert found.limit.value == pytest.approx(expected, abs=4 * found.limit.error)


def test_a_lattice_has_bragg_peaks_only():
    """Rock salt: zero at small k, and N at the reflection (111) of the charges."""
    atoms = bulk("NaCl", "rocksalt", a=5.6, cubic=True)
    sites = charged_sites([atoms], {"Na": 1.0, "Cl": -1.0})
    integers = wave_integers(sites.cells[0], 2.3)
    squared, k = squared_density(sites, integers)
    peaks = np.abs(integers) == 1
    np.testing.assert_allclose(squared[0][peaks.all(1)] / 8, 8.0, rtol=1e-10)
    np.testing.assert_allclose(squared[0][~peaks.all(1)], 0.0, atol=1e-18)
    np.testing.assert_allclose(k[0][peaks.all(1)], np.sqrt(3) * 2 * np.pi / 5.6, rtol=1e-12)


def gaussian_field(structure, edge, sigma=0.05, frames=400, grid=6, seed=3):
    """Charges on a grid, drawn with the spectrum S(k) of a Gaussian random field."""
    rng = np.random.default_rng(seed)
    waves = 2 * np.pi * np.fft.fftfreq(grid, edge / grid)
    k = np.linalg.norm(np.stack(np.meshgrid(waves, waves, waves, indexing="ij")), axis=0)
    places = np.stack(np.meshgrid(*3 * [np.arange(grid) * edge / grid], indexing="ij"), -1)
    root = np.sqrt(structure(k))
    white = rng.normal(size=(frames, grid, grid, grid))
    charges = np.fft.ifftn(np.fft.fftn(white, axes=(1, 2, 3)) * root, axes=(1, 2, 3)).real
    atoms = Atoms(f"H{grid**3}", places.reshape(-1, 3), cell=[edge] * 3, pbc=True)
    return charged_sites([atoms] * frames, charges.reshape(frames, -1))


@pytest.mark.parametrize("epsilon", [np.inf, 4.0])
def test_limits_of_a_field_with_a_known_spectrum(epsilon):
    """Debye-Hueckel: S = mean q^2 k^2 / (k^2 + kD^2); a dielectric has 1 - 1 / eps of it."""
    edge, frames, grid = 14.0, 400, 6
    density = grid**3 / edge**3
    wave = 2.0  # Debye
    factor = 1 - 1 / epsilon
    mean_square = wave**2 * kB * TEMPERATURE / (PER_PERMITTIVITY * density)

    def structure(k):
        return factor * mean_square * k**2 / (k**2 + wave**2)

    sites = gaussian_field(structure, edge, frames=frames, grid=grid)
    found = charge_structure_factor(sites, TEMPERATURE, k_max=1.3)
    np.testing.assert_allclose(found.s, structure(found.k), rtol=0.15)
    assert found.limit.value == pytest.approx(factor, abs=4 * found.limit.error)
    assert found.limit.error < 0.06
    assert abs(found.zeroth.value) < 4 * found.zeroth.error < found.s[0]


def test_debye_hueckel_is_exact_for_the_fit():
    """The inverse of the screening function is then linear in k^2: no systematic error."""
    k = np.array([0.3, 0.42, 0.52, 0.6, 0.67])
    series = np.tile(1 / (1 + k**2 / 4), (20, 1))
    assert _inverse_intercept(k, series, np.ones(5, np.int64)).value == pytest.approx(1, abs=1e-12)


def test_gaussian_widths_and_equivalent_cells():
    """Widths damp by exp(-k^2 sigma^2); skewed and left-handed cells have the same waves."""
    atoms = gas(1, edge=10.0)[0]
    sites = charged_sites([atoms], {"Na": 1.0, "Cl": -1.0})
    found = charge_structure_factor(sites, TEMPERATURE, k_max=1.5)
    wide = replace(sites, widths=np.full(40, 0.7))
    damped = charge_structure_factor(wide, TEMPERATURE, k_max=1.5)
    np.testing.assert_allclose(damped.s, found.s * np.exp(-((0.7 * found.k) ** 2)), rtol=1e-10)
    skewed = atoms.copy()
    skewed.set_cell(np.array([[0, 1, 0], [1, 0, 0], [0, 2, 1]]) @ atoms.cell.array)
    same = charge_structure_factor(
        charged_sites([skewed], {"Na": 1.0, "Cl": -1.0}), TEMPERATURE, k_max=1.5
    )
    np.testing.assert_allclose(same.k, found.k, rtol=1e-12)
    np.testing.assert_array_equal(same.vectors, found.vectors)
    np.testing.assert_allclose(same.s, found.s, rtol=1e-9)
    assert found.vectors[0] == 3  # one of each pair k and -k


def test_a_cell_that_fluctuates_scales_its_waves():
    """Scaled copies of one frame: the same S, at waves of the mean cell."""
    atoms = gas(1, edge=10.0)[0]
    frames = []
    for scale in (0.98, 1.0, 1.02):
        scaled = atoms.copy()
        scaled.set_cell(scale * atoms.cell.array, scale_atoms=True)
        frames.append(scaled)
    charges = {"Na": 1.0, "Cl": -1.0}
    many = charge_structure_factor(charged_sites(frames, charges), TEMPERATURE, k_max=1.5)
    one = charge_structure_factor(charged_sites([atoms], charges), TEMPERATURE, k_max=1.5)
    np.testing.assert_allclose(many.s, one.s, rtol=1e-10)


def test_open_boundaries_and_impossible_arguments_are_refused():
    slab = gas(1)[0]
    slab.pbc = [True, True, False]
    charges = {"Na": 1.0, "Cl": -1.0}
    with pytest.raises(InputError, match="three periodic directions"):
        charge_structure_factor(charged_sites([slab], charges), TEMPERATURE)
    sites = charged_sites(gas(1), charges)
    with pytest.raises(InputError, match="temperature"):
        charge_structure_factor(sites, 0.0)
    with pytest.raises(InputError, match="k_max"):
        charge_structure_factor(sites, TEMPERATURE, k_max=0.1)
