"""Phonons: closed forms of ionic lattices, and waves in long cells that need no correction."""

from __future__ import annotations

import itertools
import sys

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk

import muse_lr
from helpers import painn_section, random_model
from muse_lr.errors import InputError
from muse_lr.phonons import Phonons
from muse_lr.phonons.constants import check_translations, exact_constants
from muse_lr.phonons.crystal import phonopy_of, repeated_groups
from muse_lr.units import COULOMB_CONSTANT

pytest.importorskip("phonopy")
#: THz of the square root of an eV/A^2 per atomic mass unit, over 2 pi.
THZ = 15.633302
CHARGE, LATTICE = 0.7, 4.8
CORE = {"kind": "zbl", "range": 1.5}
COULOMB = {"kind": "coulomb", "accuracy": 1e-9}


def rock_salt(cubic=False):
    return bulk("NaCl", "rocksalt", a=LATTICE, cubic=cubic)


def ionic(width=0.0, **heads):
    section = {"kind": "fixed", "by_element": {"Na": CHARGE, "Cl": -CHARGE}, "width": width}
    heads = {"core": CORE, "coulomb": COULOMB, **heads}
    return muse_lr.build_model(
        {"elements": ["Na", "Cl"], "backbone": None, "charges": section, "heads": heads}
    )


def learned(kind, heads=None, **options):
    heads = {"core": CORE, "coulomb": COULOMB, **(heads or {})}
    charges = {"kind": kind, **options}
    section = painn_section(["Na", "Cl"], 3.2, charges=charges, heads=heads)
    return random_model(section, scale=0.2)


def plasma_square(crystal, charge=CHARGE):
    """The difference of the squares of LO and TO of a diatomic cubic lattice, THz^2."""
    first, second = crystal.get_masses()
    reduced = first * second / (first + second)
    square = 4 * np.pi * COULOMB_CONSTANT * charge**2 / (crystal.get_volume() * reduced)
    return square * THZ**2


def wave_squares(model, crystal, count):
    """(6,) squares of the frequencies at b1/count, THz^2, by the plain sum over a long cell."""
    cell = crystal.repeat((count, 1, 1))
    constants = exact_constants(model, cell, np.array([0, 1]))
    phases = np.exp(2j * np.pi * (np.arange(len(cell)) // 2) / count)
    summed = (constants * phases[:, None, None]).reshape(2, count, 2, 3, 3).sum(1)
    matrix = summed.transpose(0, 2, 1, 3).reshape(6, 6)
    roots = np.repeat(np.sqrt(crystal.get_masses()), 3)
    return np.linalg.eigvalsh(matrix / np.outer(roots, roots)) * THZ**2


def limit_square(model, crystal):
    """The largest of them as q goes to zero, to sixth order in q."""
    found = [wave_squares(model, crystal, count)[-1] for count in (10, 20, 40)]
    fourth = [(4 * long - short) / 3 for short, long in itertools.pairwise(found)]
    return (16 * fourth[1] - fourth[0]) / 15


@pytest.mark.parametrize(
    ("method", "width", "cubic"),
    [("hessian", 0.0, False), ("hessian", 1.0, True), ("displacements", 1.0, False)],
)
def test_splitting_of_fixed_charges_is_their_plasma_frequency(method, width, cubic):
    """omega_LO^2 - omega_TO^2 = 4 pi k Z^2 / V mu, for Gaussians as for points."""
    phonons = Phonons(ionic(width), rock_salt(cubic), (2, 2, 2), method)
    modes = phonons.gamma((0.3, -0.2, 0.9))
    np.testing.assert_allclose(modes.transverse[3:], modes.transverse[-1], rtol=1e-6)
    np.testing.assert_allclose(modes.longitudinal[3:5], modes.transverse[-1], rtol=1e-6)
    found = modes.longitudinal[-1] ** 2 - modes.transverse[-1] ** 2
    assert found == pytest.approx(plasma_square(rock_salt()), rel=1e-5)
    assert modes.splitting == pytest.approx(modes.longitudinal[-1] - modes.transverse[-1])


def test_point_charges_alone_are_what_lorentz_says():
    """omega_TO^2 = -omega_p^2 / 3 and omega_LO^2 = 2 omega_p^2 / 3 in a cubic lattice of points."""
    crystal = rock_salt()
    modes = Phonons(ionic(core=None), crystal).gamma()
    square = plasma_square(crystal)
    assert -(modes.transverse[0] ** 2) == pytest.approx(-square / 3, rel=1e-5)
    assert modes.longitudinal[-1] ** 2 == pytest.approx(2 * square / 3, rel=1e-5)


def test_finite_displacements_and_second_derivatives_agree():
    model = learned("split")
    exact, moved = (
        Phonons(model, rock_salt(), method=method).phonopy.force_constants
        for method in ("hessian", "displacements")
    )
    np.testing.assert_allclose(moved, exact, rtol=0, atol=2e-3 * np.abs(exact).max())


@pytest.mark.parametrize("heads", [{"coulomb": None}, {"coulomb": None, "core": None}])
def test_short_range_models_do_not_split(heads):
    phonons = Phonons(learned("split", heads), rock_salt())
    modes = phonons.gamma()
    assert phonons.response is None
    np.testing.assert_array_equal(modes.longitudinal, modes.transverse)
    assert modes.splitting == 0


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("split", {"l_max": 1}),
        ("scf", {"l_max": 1, "charge_response": False, "charges_at_rest": "elements"}),
    ],
)
def test_longitudinal_modes_are_the_limit_of_long_waves(kind, options):
    """Charge flux, dipoles and their screening: in long cells nothing is corrected."""
    model = learned(kind, **options)
    crystal = rock_salt()
    phonons = Phonons(model, crystal)
    modes = phonons.gamma()
    found = modes.longitudinal[-1] ** 2
    assert found - modes.transverse[-1] ** 2 > 1
    assert found == pytest.approx(limit_square(model, crystal), rel=5e-6)
    assert phonons.response.error < 1e-12
    assert phonons.response.drift < 1e-12
    assert (phonons.response.dielectric[0, 0] > 1.05) == (kind == "scf")


def test_what_is_interpolated_has_no_dipoles_left():
    """The same sum is taken off and added: at the q of a long cell, the values of that cell."""
    model, crystal = ionic(width=0.5), rock_salt()
    phonons = Phonons(model, crystal, (3, 3, 3))
    for count in (5, 8):
        expected = wave_squares(model, crystal, count)
        found = np.sort(phonons.frequencies([[1 / count, 0, 0]])[0] ** 2)
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-6 * expected[-1])
    phonons.phonopy.nac_params = None
    without = np.sort(phonons.frequencies([[1 / 8, 0, 0]])[0] ** 2)
    assert np.abs(without - wave_squares(model, crystal, 8)).max() > 0.05 * expected[-1]


def test_scaled_pairs_give_the_same_frequencies():
    own, scaled = (Phonons(ionic(), rock_salt(), dielectric=value) for value in (None, 2.5))
    assert scaled.response.dielectric[0, 0] == 2.5
    assert scaled.response.born[0, 0, 0] == pytest.approx(CHARGE * np.sqrt(2.5))
    points = [[0.1, 0.05, 0], [0.3, 0.1, 0.2], [0.5, 0, 0]]
    np.testing.assert_allclose(
        own.frequencies(points), scaled.frequencies(points), rtol=0, atol=2e-3
    )
    np.testing.assert_allclose(own.gamma().longitudinal, scaled.gamma().longitudinal, atol=1e-5)


def test_bands_follow_the_path():
    points = {"G": [0, 0, 0], "X": [0.5, 0, 0.5], "L": [0.5, 0.5, 0.5]}
    phonons = Phonons(ionic(), rock_salt())
    bands = phonons.bands(points, "G X | L G", count=5)
    assert [len(piece) for piece in bands.distances] == [5, 5]
    assert [name for _, name in bands.ticks] == ["G", "X", "L", "G"]
    middle = phonons.frequencies([[0.25, 0, 0.25]])[0]
    np.testing.assert_allclose(bands.frequencies[0][2], middle, atol=1e-8)
    # The ends of a path at Gamma have the field of their own direction.
    longitudinal = phonons.gamma().longitudinal[-1]
    assert bands.frequencies[0][0].max() == pytest.approx(longitudinal, rel=1e-6)


def test_masses_of_the_crystal_count():
    heavy = rock_salt()
    heavy.set_masses(4 * heavy.get_masses())
    light = Phonons(ionic(), rock_salt()).gamma().longitudinal
    np.testing.assert_allclose(2 * Phonons(ionic(), heavy).gamma().longitudinal, light, atol=1e-5)


@pytest.mark.parametrize(
    ("kind", "options", "message"),
    [
        ("induced", {"l_max": 1, "charge_response": False}, "stop short"),
        ("split", {"heads": {"field": {"kind": "field_features"}}}, "reads the potential"),
        ("split", {"heads": {"second": COULOMB}}, "sum the same charges"),
        ("qeq", {}, "answer to the field"),
    ],
)
def test_models_without_a_known_term_are_refused(kind, options, message):
    with pytest.raises(InputError, match=message):
        Phonons(learned(kind, **options), rock_salt(), (1, 1, 1))


def test_structures_that_have_no_phonons_are_refused():
    slab = rock_salt()
    slab.pbc = (True, True, False)
    with pytest.raises(InputError, match="periodic throughout"):
        Phonons(ionic(), slab)
    strained = rock_salt(cubic=True)
    strained.positions[0, 0] += 0.1
    with pytest.raises(InputError, match="relax its atoms"):
        Phonons(ionic(), strained, (1, 1, 1))


def test_parts_that_break_the_translations_are_refused():
    constants = exact_constants(ionic(), rock_salt().repeat(2), np.array([0, 1]))
    images = [0, 1] * 8
    check_translations(constants, images, 1e-5)
    constants[0, 3] *= 1.01
    with pytest.raises(InputError, match="from cell to cell"):
        check_translations(constants, images, 1e-5)


def test_without_phonopy_the_message_says_what_to_install(monkeypatch):
    for name in [name for name in sys.modules if name.split(".")[0] == "phonopy"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "phonopy", None)
    with pytest.raises(InputError, match=r"muse_lr\[phonons\]"):
        Phonons(ionic(), rock_salt())


def test_charged_lattices_are_refused():
    section = {"kind": "fixed", "by_element": {"Na": 1.0, "Cl": -0.5}}
    heads = {"core": CORE, "coulomb": COULOMB}
    model = muse_lr.build_model(
        {"elements": ["Na", "Cl"], "backbone": None, "charges": section, "heads": heads}
    )
    with pytest.raises(InputError, match="total charge of 4 e"):
        Phonons(model, rock_salt())


def test_groups_stay_together_in_the_supercell():
    """Each cell has groups of its own, and a group that crosses the boundary is one group."""
    crystal = Atoms("Ar2Ne2", cell=[6, 6, 6], pbc=True)
    crystal.set_scaled_positions([[0.05, 0, 0], [0.95, 0, 0], [0.4] * 3, [0.6] * 3])
    crystal.arrays["coarse_index"] = np.array([0, 0, 1, -1])
    phonon = phonopy_of(crystal, (2, 3, 1))
    groups = repeated_groups(crystal, phonon)
    found = phonon.supercell
    members = {g: np.flatnonzero(groups == g) for g in set(groups.tolist()) - {-1}}
    pairs = [atoms for atoms in members.values() if len(atoms) == 2]
    assert len(pairs) == len(members) - len(pairs) == 6
    for first, second in pairs:
        step = found.scaled_positions[first] - found.scaled_positions[second]
        step -= np.round(step)
        assert np.linalg.norm(step @ found.cell) == pytest.approx(0.6)
    assert (groups == -1).sum() == 6
