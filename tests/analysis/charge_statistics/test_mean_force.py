"""Mean forces of ion pairs against Coulomb's law, in vacuum, in a continuum and in cells."""

from __future__ import annotations

import numpy as np
import pytest
from ase import Atoms
from ase.units import kB

from muse_lr import InputError
from muse_lr.analysis.charge_statistics import (
    continuum_potential,
    coulomb_forces,
    ion_potential,
    pair_mean_force,
)
from muse_lr.units import COULOMB_CONSTANT


def pairs(distances, edge=None, seed=0):
    """Frames of Na and Cl at given distances in random directions, and the unit vectors."""
    rng = np.random.default_rng(seed)
    axes = rng.normal(size=(len(distances), 3))
    axes /= np.linalg.norm(axes, axis=1)[:, None]
    cell, pbc = (None, False) if edge is None else ([edge] * 3, True)
    frames = [
        Atoms("NaCl", [np.zeros(3), r * axis], cell=cell, pbc=pbc)
        for r, axis in zip(distances, axes, strict=True)
    ]
    return frames, axes


def test_the_tail_of_a_continuum_is_found_under_noise():
    rng = np.random.default_rng(1)
    r = rng.uniform(3, 15, 4000)
    frames, axes = pairs(r)
    epsilon = 5.0
    along = -COULOMB_CONSTANT / (epsilon * r**2) + np.where(r < 6, 0.3, 0.0)  # a contact, too
    noise = 0.05 * rng.normal(size=(4000, 2, 3))
    forces = np.stack([-along[:, None] * axes, along[:, None] * axes], axis=1) + noise
    found = pair_mean_force(frames, forces, (0, 1), (1.0, -1.0), tail=7.0)
    assert found.inverse.value == pytest.approx(1 / epsilon, abs=4 * found.inverse.error)
    assert found.inverse.error < 0.03
    np.testing.assert_allclose(found.vacuum[-5:], -COULOMB_CONSTANT / found.r[-5:] ** 2, rtol=0.01)
    tail = found.r > 7.5
    assert (np.abs(found.force - found.vacuum / epsilon)[tail] < 5 * found.error[tail]).all()
    assert found.force[found.r < 5.5].max() > 0.0  # the contact is in the curve
    swapped = pair_mean_force(frames, forces, (1, 0), (-1.0, 1.0), tail=7.0)
    assert swapped.inverse.value == pytest.approx(found.inverse.value)


def test_a_short_ranged_model_has_no_tail():
    r = np.linspace(7, 12, 60)
    frames, _ = pairs(r)
    forces = np.zeros((60, 2, 3))
    assert pair_mean_force(frames, forces, (0, 1), (1.0, -1.0), 7.0).inverse.value == 0.0


def test_coulomb_forces_in_a_cell():
    """To leading order in r / L, -k / r^2 + 4 pi k r / 3 V; zero in the middle by symmetry."""
    edge = 40.0
    frames, axes = pairs(np.linspace(2.0, 6.0, 9), edge)
    r = np.linspace(2.0, 6.0, 9)
    found = coulomb_forces(frames, r[:, None] * axes, (1.0, -1.0))
    expected = -COULOMB_CONSTANT / r**2 + 4 * np.pi * COULOMB_CONSTANT * r / (3 * edge**3)
    np.testing.assert_allclose(found, expected, rtol=5e-4)
    vacuum = -COULOMB_CONSTANT / r**2
    assert np.abs(found / vacuum - 1).max() > 0.01  # the images matter
    middle = [Atoms("NaCl", [np.zeros(3), [edge / 2, 0, 0]], cell=[edge] * 3, pbc=True)]
    force = coulomb_forces(middle, np.array([[edge / 2, 0.0, 0.0]]), (1.0, -1.0))
    np.testing.assert_allclose(force, 0.0, atol=1e-9)


def test_forces_of_a_periodic_vacuum_have_no_dielectric_constant():
    """With the images of the cell in the reference, 1 / eps is 1 at any distance."""
    edge, r = 20.0, np.linspace(6.0, 9.9, 20)
    frames, axes = pairs(r, edge)
    along = coulomb_forces(frames, r[:, None] * axes, (1.0, -1.0))
    forces = np.stack([-along[:, None] * axes, along[:, None] * axes], axis=1)
    for atoms in frames:
        atoms.positions += [13.0, 0.0, 0.0]
        atoms.wrap()
    found = pair_mean_force(frames, forces, (0, 1), (1.0, -1.0), 6.0)
    assert found.inverse.value == pytest.approx(1.0, rel=1e-6)
    assert np.abs(along / (-COULOMB_CONSTANT / r**2)).max() < 0.9


def test_what_has_no_tail_is_refused():
    frames, _ = pairs([5.0, 6.0])
    forces = np.zeros((2, 2, 3))
    with pytest.raises(InputError, match="tail begins at 8"):
        pair_mean_force(frames, forces, (0, 1), (1.0, -1.0), 8.0)
    with pytest.raises(InputError, match="neutral ion"):
        pair_mean_force(frames, forces, (0, 1), (1.0, 0.0), 5.0)
    with pytest.raises(InputError, match="not two atoms"):
        pair_mean_force(frames, forces, (0, 2), (1.0, -1.0), 5.0)
    with pytest.raises(InputError, match="forces of 1"):
        pair_mean_force(frames, forces[:1], (0, 1), (1.0, -1.0), 5.0)


def test_a_potential_of_mean_force_from_the_distances():
    """Pairs drawn from a Boltzmann distribution of a continuum give back its potential."""
    rng = np.random.default_rng(7)
    edge, temperature, epsilon, charges = 30.0, 300.0, 20.0, (1.0, -1.0)
    frames = []
    while len(frames) < 6000:
        vectors = rng.uniform(-edge / 2, edge / 2, (4000, 3))
        r = np.linalg.norm(vectors, axis=1)
        w = continuum_potential(np.maximum(r, 3.0), charges, epsilon, 8.0)
        kept = rng.random(4000) < np.exp(-(w - w.min()) / (kB * temperature))
        kept &= r > 3.0
        frames += [
            Atoms("NaCl", [np.zeros(3), v], cell=[edge] * 3, pbc=True) for v in vectors[kept]
        ]
    found = ion_potential(frames, ("Na", "Cl"), temperature, 12.0)
    inside = (found.r > 3.5) & (found.r < 10)
    expected = continuum_potential(found.r, charges, epsilon, 8.0)
    # One pair in a cell: g is normalized by a factor that is common to all distances.
    shift = np.nanmean((found.w - expected)[found.r > 10])
    rest = (found.w - expected - shift)[inside]
    assert np.isnan(found.w[found.r < 2.9]).all()
    known = np.isfinite(rest)
    assert known.mean() > 0.9
    assert np.abs(rest[known].mean()) < 0.003
    slope = np.polyfit(expected[inside][known], (found.w - shift)[inside][known], 1)[0]
    assert slope == pytest.approx(1.0, abs=0.25)
    with pytest.raises(InputError, match="no pair K-Cl"):
        ion_potential(frames[:10], ("K", "Cl"), temperature, 12.0)


def test_like_charges_repel_and_ions_screen():
    r = np.array([5.0, 10.0])
    like = continuum_potential(r, (1.0, 1.0), 80.0)
    np.testing.assert_allclose(like, COULOMB_CONSTANT / (80 * r))
    screened = continuum_potential(r, (1.0, 1.0), 80.0, 10.0)
    np.testing.assert_allclose(screened / like, np.exp(-r / 10))
