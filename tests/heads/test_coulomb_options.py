"""The coulomb head where near pairs are damped or left out."""

from __future__ import annotations

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.neighborlist import neighbor_list
from scipy.special import erf, erfc

import muse_lr
from charge_systems import FFF, SLABS, TTT, random_structure
from helpers import evaluate, fixed_charge_model, painn_section, random_model
from muse_lr import testing
from muse_lr.units import COULOMB_CONSTANT

CHARGES = {"Na": 1.0, "Cl": -1.0}
BOUNDARIES = {"FFF": FFF, "TTF": SLABS[0], "TTT": TTT}
OPTIONS = {
    "damped": {"damping_width": 1.3},
    "omitted": {"exclusion_radius": 4.0},
    "both": {"damping_width": 0.7, "exclusion_radius": 4.5},
}


def fixed_model(width=0.0, **options):
    coulomb = {"kind": "coulomb", "accuracy": 1e-10, **options}
    return fixed_charge_model(CHARGES, width, coulomb=coulomb)


def learned_model(**options):
    """With dipoles, and weights that are not the initial ones."""
    charges = {"kind": "latent", "l_max": 1, "width": {"Na": 0.5, "Cl": 0.9}}
    heads = {"coulomb": {"kind": "coulomb", **options}}
    return random_model(painn_section(["Na", "Cl"], charges=charges, heads=heads))


def energy(model, atoms):
    return float(evaluate(model, [atoms]).energy_parts["coulomb"].detach())


def salt(boundary, n_atoms=4):
    """As many of both ions."""
    atoms = random_structure(n_atoms, BOUNDARIES[boundary], seed=3)
    atoms.symbols = "NaCl" * (n_atoms // 2)
    return atoms


def smoothstep(x):
    x = np.clip(x, 0, 1)
    return x**3 * (x * (6 * x - 15) + 10)


def test_damped_pairs_are_wider_gaussians():
    model = fixed_model(width=0.5, damping_width=1.2)
    for r in (0.5, 2.0, 5.0, 40.0):
        found = energy(model, Atoms("NaCl", [[0, 0, 0], [0, 0, r]]))
        spread = np.sqrt(2 * (2 * 0.5**2 + 2 * 1.2**2))
        assert found == pytest.approx(-COULOMB_CONSTANT * erf(r / spread) / r, rel=1e-12)


@pytest.mark.parametrize("boundary", BOUNDARIES)
def test_damping_changes_near_pairs_only(boundary):
    """Against a sum over pairs of ASE's neighbor list: erfc is nothing beyond 9 A."""
    atoms, spread = salt(boundary), np.sqrt(2 * 2 * 1.0**2)
    i, j, r = neighbor_list("ijd", atoms, 14.0)
    q = np.array([CHARGES[symbol] for symbol in atoms.symbols])
    lost = COULOMB_CONSTANT / 2 * (q[i] * q[j] * erfc(r / spread) / r).sum()
    # Images of an atom count too; the atom itself never interacts with itself.
    expected = energy(fixed_model(), atoms) - lost
    assert abs(lost) > 1
    assert energy(fixed_model(damping_width=1.0), atoms) == pytest.approx(expected, abs=1e-7)


@pytest.mark.parametrize("boundary", BOUNDARIES)
def test_omitted_pairs_are_those_of_the_neighbor_list(boundary):
    atoms, end = salt(boundary), 5.5
    i, j, r = neighbor_list("ijd", atoms, end)
    q = np.array([CHARGES[symbol] for symbol in atoms.symbols])
    window = 1 - smoothstep(2 * r / end - 1)
    near = COULOMB_CONSTANT / 2 * (q[i] * q[j] * window / r).sum()
    assert abs(near) > 1
    model = fixed_model(exclusion_radius=end)
    assert model.cutoff >= end
    expected = energy(fixed_model(), atoms) - near
    assert energy(model, atoms) == pytest.approx(expected, abs=1e-9)


def test_pairs_within_half_of_the_range_do_not_act():
    model, full = learned_model(exclusion_radius=6.0), learned_model()
    pair = Atoms("NaCl", [[0, 0, 0], [0.3, 0.4, 2.9]])
    assert abs(energy(full, pair)) > 0.01
    assert energy(model, pair) == pytest.approx(0, abs=1e-12)
    pair.positions[1] *= 2.5
    assert energy(model, pair) == pytest.approx(energy(full, pair), rel=1e-12)


@pytest.mark.parametrize("option", OPTIONS)
@pytest.mark.parametrize("boundary", BOUNDARIES)
def test_derivatives_and_symmetries(boundary, option):
    model, atoms = learned_model(**OPTIONS[option]), salt(boundary)
    testing.check_forces(model, atoms)
    testing.check_hessian_symmetric(model, atoms, pairs=2)
    testing.check_rotation(model, atoms)
    if boundary != "FFF":
        testing.check_stress(model, atoms)
        testing.check_supercell(model, atoms)
        testing.check_wrapping(model, atoms)


@pytest.mark.parametrize("option", OPTIONS)
def test_smooth_where_pairs_come_into_range(option):
    end = OPTIONS[option].get("exclusion_radius", 3.0)
    path = testing.separation_path(Atoms("NaCl", [[0, 0, 0], [0, 0, 2.0]]), end)
    testing.check_smooth(learned_model(**OPTIONS[option]), path, points=30, look_at=(0.0,))


def test_far_ions_keep_their_coulomb_tail():
    for options in OPTIONS.values():
        testing.check_far_copies(learned_model(**options), salt("FFF"), strict=True)


def test_a_damped_point_has_a_finite_self_interaction():
    with pytest.raises(muse_lr.InputError, match="infinite"):
        fixed_model(self_interaction=True)
    model = fixed_model(self_interaction=True, damping_width=1.0)
    expected = COULOMB_CONSTANT / (2 * np.sqrt(np.pi))
    assert energy(model, Atoms("Na")) == pytest.approx(expected, rel=1e-12)


def test_a_madelung_sum_without_its_nearest_shell():
    """Rock salt: six neighbors at a/2, the next ones beyond the range."""
    crystal = bulk("NaCl", "rocksalt", a=5.64)
    full = energy(fixed_model(), crystal)
    without = energy(fixed_model(exclusion_radius=3.9), crystal)
    nearest = 6 * COULOMB_CONSTANT / 2.82 * (1 - smoothstep(2 * 2.82 / 3.9 - 1))
    assert without == pytest.approx(full + nearest, abs=1e-7)


def test_coarse_charges_are_damped_and_omitted_too():
    multiscale = {"kind": "muse", "radius": 2.4, "cutoff": 5.0, "tensor_channels": 4}
    section = {"kind": "coulomb", "level": 1, "coarse_width": 1.0}
    heads = {"bare": section, "near": {**section, **OPTIONS["both"]}}
    model = random_model(painn_section(["Na", "Cl"], multiscale=multiscale, heads=heads))
    atoms = salt("TTT", 6)
    testing.check_forces(model, atoms)
    testing.check_stress(model, atoms)
    parts = evaluate(model, [atoms]).energy_parts
    assert abs(float((parts["bare"] - parts["near"]).detach())) > 1e-3
