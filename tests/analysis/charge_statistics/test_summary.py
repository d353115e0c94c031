"""Charges of frames in all forms, and the list of statistics of a trajectory."""

from __future__ import annotations

import math

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, molecule
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import read, write
from ase.units import kB

from muse_lr import Calculator, InputError, build_model
from muse_lr.analysis.charge_statistics import (
    charge_structure_factor,
    charged_sites,
    coulomb_forces,
    long_range_statistics,
)
from muse_lr.analysis.charge_statistics.structure_factor import PER_PERMITTIVITY

CHARGES = {"Na": 1.0, "Cl": -1.0}
BACKBONE = {"kind": "painn", "channels": 8, "layers": 1}
FIXED = {
    "elements": ["Na", "Cl"],
    "charges": {"kind": "fixed", "by_element": CHARGES, "width": 0.5},
    "heads": {"coulomb": {"kind": "coulomb"}},
}


def salt(frames=3, n=8, edge=10.0, seed=0):
    rng = np.random.default_rng(seed)
    places = np.stack(np.meshgrid([0, 1], [0, 1], [0, 1], indexing="ij"), -1).reshape(-1, 3)
    return [
        Atoms(
            "NaCl" * (n // 2),
            places * edge / 2 + rng.normal(size=(n, 3)) * 0.6,
            cell=[edge] * 3,
            pbc=True,
        )
        for _ in range(frames)
    ]


def turned(rng):
    """An orthogonal matrix whose mean is zero."""
    return np.linalg.qr(rng.normal(size=(3, 3)))[0] * rng.choice([-1.0, 1.0])


def waters(frames=60, edge=9.0, seed=0):
    rng = np.random.default_rng(seed)
    one = molecule("H2O").positions
    return [
        Atoms(
            "OHH" * 2,
            np.concatenate([one @ turned(rng) + shift for shift in (0.0, 4.5)]),
            cell=[edge] * 3,
            pbc=True,
        )
        for _ in range(frames)
    ]


def test_charges_are_found_in_every_form(tmp_path):
    frames = salt()
    values = np.array([CHARGES[s] for s in frames[0].symbols])
    expected = np.tile(values, (3, 1))
    for given in (CHARGES, values, expected):
        np.testing.assert_array_equal(charged_sites(frames, given).charges, expected)
    model = build_model(FIXED)
    sites = charged_sites(frames, model)
    np.testing.assert_array_equal(sites.charges, expected)
    np.testing.assert_allclose(sites.widths, 0.5)
    assert sites.dipoles is None
    for key in ("muse_charges", "initial_charges", "mine"):
        for atoms in frames:
            atoms.set_array(key, values)
        write(tmp_path / "file.extxyz", frames)
        stored = read(tmp_path / "file.extxyz", ":")
        found = charged_sites(stored, key if key == "mine" else None)
        np.testing.assert_allclose(found.charges, expected)
        for atoms in frames:
            del atoms.arrays[key]
    for atoms in frames:
        atoms.calc = SinglePointCalculator(atoms, charges=values)
    write(tmp_path / "file.extxyz", frames)
    stored = read(tmp_path / "file.extxyz", ":")
    np.testing.assert_allclose(charged_sites(stored).charges, expected)


def test_dipoles_of_a_model_are_read():
    model = build_model(
        {
            "elements": ["O", "H"],
            "backbone": BACKBONE,
            "charges": {"kind": "conserved", "l_max": 1, "input": "backbone"},
            "heads": {"coulomb": {"kind": "coulomb"}},
        }
    )
    frames = waters(2)
    sites = charged_sites(frames, model)
    assert sites.dipoles is not None
    assert sites.dipoles.shape == (2, 6, 3)
    single = frames[1]
    single.pbc = False
    single.calc = Calculator(model)
    alone = charged_sites([single], model)
    np.testing.assert_allclose(single.get_charges(), alone.charges[0], atol=1e-6)
    total = (alone.charges[0, :, None] * single.positions + alone.dipoles[0]).sum(0)
    np.testing.assert_allclose(single.get_dipole_moment(), total, atol=1e-5)


def test_frames_that_cannot_be_used_are_refused():
    frames = salt()
    with pytest.raises(InputError, match="no frames"):
        charged_sites([], CHARGES)
    with pytest.raises(InputError, match="frames have no charges"):
        charged_sites(frames)
    with pytest.raises(InputError, match="frame 0 has no array 'mine'"):
        charged_sites(frames, "mine")
    with pytest.raises(InputError, match="no charge is given for Cl"):
        charged_sites(frames, {"Na": 1.0})
    with pytest.raises(InputError, match="shape"):
        charged_sites(frames, [1.0, 2.0])
    with pytest.raises(InputError, match="not finite"):
        charged_sites(frames, np.full(8, np.nan))
    with pytest.raises(InputError, match="no charges: give one with"):
        charged_sites(
            frames, build_model({**FIXED, "charges": None, "heads": {}, "backbone": BACKBONE})
        )
    with pytest.raises(InputError, match="frame 3 has other atoms"):
        charged_sites([*frames, frames[0][:4]], CHARGES)
    frames[1].pbc = False
    with pytest.raises(InputError, match="frame 1 has other periodic directions"):
        charged_sites(frames, CHARGES)


def test_a_liquid_of_molecules():
    charges = {"O": -0.8, "H": 0.4}
    found = long_range_statistics(waters(), charges, 300.0, dielectric=80.0)
    names = [each.name for each in found]
    assert names == [
        "dielectric constant",
        "zeroth moment of charges",
        "second moment of charges",
        "potential step across the slab",
        "potential inside the slab",
    ]
    by_name = dict(zip(names, found, strict=True))
    constant, second = by_name["dielectric constant"], by_name["second moment of charges"]
    assert constant.reference == 80.0
    assert second.reference == pytest.approx(1 - 1 / 80)
    assert constant.value < 5  # two molecules that do not know of each other
    assert constant.deviation < -10
    assert second.profile.reference is not None
    assert "needs a slab" in by_name["potential inside the slab"].skipped
    own = long_range_statistics(waters(), charges, 300.0)[2]
    assert own.reference == pytest.approx(1 - 1 / constant.value)
    assert own.reference_error > 0
    # Without an interaction the screening is eps - 1, more than the 1 - 1 / eps of a dielectric.
    assert own.profile.y[1] == pytest.approx(constant.value - 1, rel=0.4)
    assert own.deviation > 3


def test_a_liquid_of_ions():
    found = {each.name: each for each in long_range_statistics(salt(40), CHARGES, 1000.0)}
    assert "is an ion" in found["dielectric constant"].skipped
    assert math.isnan(found["dielectric constant"].value)
    second = found["second moment of charges"]
    assert second.reference == 1.0
    factor = charge_structure_factor(charged_sites(salt(40), CHARGES), 1000.0)
    assert (second.value, second.error) == (factor.limit.value, factor.limit.error)
    np.testing.assert_array_equal(second.profile.y, [factor.limit.value, *factor.screening])
    assert second.deviation is not None
    # The law of Stillinger and Lovett: <q^2> k^2 / kD^2.
    k, law = (
        found["zeroth moment of charges"].profile.x,
        1000.0 * kB * 1000.0 / PER_PERMITTIVITY / 8,
    )
    np.testing.assert_allclose(found["zeroth moment of charges"].profile.reference, law * k**2)
    optical = long_range_statistics(salt(40), CHARGES, 1000.0, optical=2.0)
    assert optical[2].reference == 0.5


def test_a_crystal_of_ions_is_a_dielectric():
    """Ions that vibrate on their own: the screening is eps - 1, with eps from the dipole."""
    crystal = bulk("NaCl", "rocksalt", a=5.6, cubic=True) * 2
    rng = np.random.default_rng(5)
    frames = [crystal.copy() for _ in range(300)]
    for atoms in frames:
        atoms.positions += 0.1 * rng.normal(size=(64, 3)) + rng.normal(size=3)
        atoms.wrap()
    found = long_range_statistics(frames, CHARGES, 300.0)
    constant, _, second = found[:3]
    assert "those of a crystal" in constant.cautions[0]
    expected = PER_PERMITTIVITY * 64 * 0.1**2 / (11.2**3 * kB * 300.0)
    assert constant.value == pytest.approx(1 + expected, abs=4 * constant.error)
    assert second.value == pytest.approx(expected, abs=4 * second.error)
    assert second.reference == pytest.approx(1 - 1 / constant.value)


def test_a_slab():
    frames = waters()
    for atoms in frames:
        atoms.pbc = [True, True, False]
    found = {e.name: e for e in long_range_statistics(frames, {"O": -0.8, "H": 0.4}, 300.0)}
    assert [e.name for e in found.values() if e.skipped] == [
        "dielectric constant",
        "zeroth moment of charges",
        "second moment of charges",
    ]
    step = found["potential step across the slab"]
    assert abs(step.value) < 5 * step.error
    assert len(step.profile.x) == len(step.profile.error)


def test_a_pair_of_ions_has_the_charges_of_its_molecules():
    """Forces of vacuum with the images of the cell: the factor is 1, for model charges of 0.9."""
    edge, r = 30.0, np.linspace(7.5, 12.0, 12)
    vectors = np.stack([r, 0 * r, 0 * r], axis=1)
    frames = [Atoms("NaCl", [np.zeros(3), v], cell=[edge] * 3, pbc=True) for v in vectors]
    forces = coulomb_forces(frames, vectors, (0.9, -0.9))
    for atoms, force in zip(frames, forces, strict=True):
        along = np.array([[-force, 0, 0], [force, 0, 0]])
        atoms.calc = SinglePointCalculator(atoms, forces=along)
    charges = {"Na": 0.9, "Cl": -0.9}
    found = long_range_statistics(frames, charges, 300.0, pair=(0, 1), dielectric=4.0)[-1]
    assert found.name == "tail of the mean force of the pair"
    assert found.value == pytest.approx(1.0, rel=1e-6)
    assert found.reference == 0.25
    np.testing.assert_allclose(found.profile.reference, 0.25 * found.profile.y, rtol=1e-6)
    frames[4].calc = None
    missing = long_range_statistics(frames, charges, 300.0, pair=(0, 1))[-1]
    assert "frame 4 has no forces" in missing.skipped
