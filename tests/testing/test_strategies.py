"""The structures that the checks are run on."""

from __future__ import annotations

import sys
import time

import numpy as np
import pytest
from ase.geometry import get_distances
from ase.neighborlist import neighbor_list
from hypothesis import find, given
from hypothesis import strategies as st

from muse_lr.errors import InputError
from muse_lr.testing import strategies, structures

MINIMUM = 1.3
OPTIONS = {"minimum_distance": MINIMUM, "max_atoms": 7}
CHARGED = strategies.all_arrangements(charges=(0, 1, -1))


def smallest_distance(atoms):
    """Over all pairs and periodic images, or the radius that was searched."""
    return min(neighbor_list("d", atoms, 2 * MINIMUM), default=2 * MINIMUM)


@given(atoms=strategies.any_structures(**OPTIONS))
def test_distances_hold_over_periodic_images(atoms):
    assert smallest_distance(atoms) >= MINIMUM - 1e-9


@pytest.mark.parametrize("build", [structures.molecule, structures.crystal, structures.slab])
def test_distances_hold_for_many_seeds(build):
    for seed in range(60):
        atoms = build(["H"] * (1 + seed % 9), seed, minimum_distance=MINIMUM)
        assert smallest_distance(atoms) >= MINIMUM - 1e-9


@given(atoms=strategies.molecules(["H", "O"], min_atoms=2, max_atoms=4))
def test_molecules_are_open(atoms):
    assert not atoms.pbc.any()
    assert 2 <= len(atoms) <= 4
    assert set(atoms.symbols) <= {"H", "O"}
    assert atoms.info == {}


@given(atoms=strategies.slabs(**OPTIONS))
def test_slabs_have_one_open_direction_along_the_normal(atoms):
    assert atoms.pbc.sum() == 2
    plane, normal = atoms.cell.array[atoms.pbc], atoms.cell.array[~atoms.pbc][0]
    assert np.abs(plane @ normal).max() < 1e-9
    assert atoms.cell.rank == 3


@given(atoms=strategies.crystals(**OPTIONS))
def test_crystals_have_a_volume(atoms):
    assert atoms.pbc.all()
    assert abs(np.linalg.det(atoms.cell.array)) > MINIMUM**3 / 2


@pytest.mark.parametrize(
    ("strategy", "condition"),
    [
        (strategies.crystals(), lambda a: np.linalg.det(a.cell.array) < 0),
        (strategies.crystals(), lambda a: min(a.cell.lengths()) < 3.0),
        (strategies.crystals(), lambda a: min(a.cell.angles()) < 40),
        (strategies.crystals(), lambda a: np.abs(a.get_scaled_positions(wrap=False)).max() > 1.5),
        (strategies.slabs(), lambda a: not a.pbc[0]),
        (strategies.slabs(), lambda a: not a.pbc[1]),
        (strategies.molecules(), lambda a: len(a) == 1),
        (strategies.molecules(charges=(0, 1, -2)), lambda a: a.info.get("total_charge") == -2),
        (strategies.any_structures(), lambda a: a.pbc.sum() == 2),
        (CHARGED, lambda a: len(a) == 1 and not a.pbc.any() and a.info.get("total_charge") == -1),
        (CHARGED, lambda a: a.pbc.all() and a.info.get("total_charge") == 1),
        (CHARGED, lambda a: a.pbc.sum() == 2 and a.info.get("total_charge") == 1),
    ],
    ids=[
        *("left", "tiny", "skewed", "outside", "yz", "xz", "isolated", "charged", "any"),
        *("ion", "charged cell", "charged slab"),
    ],
)
def test_the_difficult_cases_are_drawn(strategy, condition):
    assert condition(find(strategy, condition))


def test_charges_shrink_to_the_first():
    ions = strategies.with_charges(strategies.liquids(["Na"]), (0, 2, -1))
    assert find(ions, lambda atoms: len(atoms) == 2).info == {}
    assert find(ions, lambda atoms: bool(atoms.info)).info == {"total_charge": 2}


def test_failures_shrink_to_the_simplest_structure():
    smallest = find(strategies.molecules(["H", "O"]), lambda atoms: len(atoms) >= 2)
    assert smallest.get_chemical_formula() == "H2"
    distance = get_distances(*smallest.positions[:, None])[1].item()
    assert distance == pytest.approx(1.6)  # the lattice's spacing: nothing is displaced


@given(batch=strategies.mixed_batches())
def test_mixed_batches_begin_with_an_isolated_atom(batch):
    assert len(batch[0]) == 1
    assert not batch[0].pbc.any()
    assert 2 <= len(batch) <= 4


@given(data=st.data())
def test_the_same_lattice_is_described_by_other_vectors(data):
    seed = data.draw(st.integers(0, 1000))
    plain = structures.crystal(["Na", "Cl"], seed)
    other = structures.crystal(["Na", "Cl"], seed, skewed=True, left_handed=True, outside=True)
    change = other.cell.array @ np.linalg.inv(plain.cell.array)
    assert np.abs(change - change.round()).max() < 1e-9
    assert abs(abs(np.linalg.det(change)) - 1) < 1e-9
    assert np.linalg.det(other.cell.array) < 0 < np.linalg.det(plain.cell.array)
    moved = np.linalg.solve(plain.cell.array.T, (other.positions - plain.positions).T)
    assert np.abs(moved - moved.round()).max() < 1e-9


def test_building_is_fast():
    start = time.perf_counter()
    for seed in range(100):
        structures.crystal(["Na"] * 8, seed, skewed=True, left_handed=True, outside=True)
    assert (time.perf_counter() - start) / 100 < 0.02


def test_joined_parts_have_the_sum_of_the_charges():
    first = structures.molecule(["H"], charge=1)
    second = structures.molecule(["O", "H"], charge=-2)
    first.info["spin"] = 2
    joined = structures.join(first, second)
    # One unpaired electron each, as far fragments have them.
    assert joined.info == {"total_charge": -1, "spin": 3}
    assert len(joined) == 3


@pytest.mark.parametrize(
    "options",
    [{"elements": []}, {"min_atoms": 3, "max_atoms": 2}, {"minimum_distance": 0.0}],
)
def test_senseless_options_are_refused(options):
    with pytest.raises(InputError, match="strategies need elements"):
        strategies.molecules(**options)


def test_missing_hypothesis_is_said(monkeypatch):
    monkeypatch.setitem(sys.modules, "hypothesis", None)
    with pytest.raises(InputError, match=r"muse_lr\[exam\]"):
        strategies.molecules()
