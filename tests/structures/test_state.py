"""What structures state: total charge, spin, field and groups, under every key."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from ase import Atoms
from ase.build import molecule

from muse_lr import InputError
from muse_lr.structures.batch import AtomsBatch
from muse_lr.structures.state import CHARGE_KEYS, SPIN_KEYS, read_state, repeated_info, state_doubts


def water(**info: object) -> Atoms:
    atoms = molecule("H2O")
    atoms.info.update(info)
    return atoms


@pytest.mark.parametrize("key", CHARGE_KEYS)
@pytest.mark.parametrize("value", [1, 1.0, np.int8(1), np.float32(1), np.array(1), np.array([1])])
def test_total_charge_under_every_key_and_type(key: str, value: object) -> None:
    state = read_state(water(**{key: value}))
    assert (state.total_charge, state.charge_stated, state.spin) == (1.0, True, 2.0)


@pytest.mark.parametrize("key", SPIN_KEYS)
def test_spin_under_every_key(key: str) -> None:
    state = read_state(water(**{key: 3}))
    assert (state.spin, state.spin_stated, state.charge_stated) == (3.0, True, False)


def test_the_default_is_the_lowest_spin_and_a_fractional_charge_has_no_parity() -> None:
    assert read_state(water()).spin == 1
    assert read_state(Atoms("H")).spin == 2
    assert read_state(water(charge=-1)).spin == 2
    for charge in (0.5, 0.7, -1.3):
        assert read_state(water(charge=charge)).spin == 1
        assert read_state(Atoms("H", info={"charge": charge})).spin == 1


@pytest.mark.parametrize(
    ("info", "match"),
    [
        ({"total_charge": 1, "charge": 0}, "total_charge'] is 1 but info\\['charge'] is 0"),
        ({"spin": 1, "multiplicity": 3}, "remove one"),
        ({"multiplicity": 1, "spin_multiplicity": 3}, "remove one"),
        ({"spin": 0}, "2S \\+ 1"),
        ({"multiplicity": -1}, "multiplicity'] is -1"),
        ({"spin_multiplicity": 1.5}, "whole number"),
        ({"charge": "1"}, "finite number"),
        ({"charge": True}, "finite number"),
        ({"charge": [1, 2]}, "finite number"),
        ({"total_charge": np.nan}, "finite number"),
        ({"spin": np.inf}, "finite number"),
        ({"electric_field": [0, 1]}, "three finite numbers"),
        ({"electric_field": "up"}, "three finite numbers"),
        ({"electric_field": [0, np.nan, 0]}, "three finite numbers"),
    ],
)
def test_invalid_statements_are_refused_with_the_index(info: dict[str, object], match: str) -> None:
    with pytest.raises(InputError, match=match):
        read_state(water(**info))
    with pytest.raises(InputError, match=f"structure 1: .*{match}"):
        AtomsBatch.from_ase([water(), water(**info)], 3.0)


def test_keys_that_agree_are_accepted() -> None:
    info = {"total_charge": -1, "charge": -1.0, "spin": 2, "multiplicity": np.int64(2)}
    state = read_state(water(**info))
    assert (state.total_charge, state.spin) == (-1, 2)


def test_an_impossible_parity_warns_once() -> None:
    wrong = [water(spin=2), water(spin=2), water(spin=1)]
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("default")
        AtomsBatch.from_ase(wrong, 3.0)
        AtomsBatch.from_ase(wrong, 3.0)
    assert [str(w.message) for w in caught] == [
        "a spin (2S + 1) of 2 is impossible for an even number of electrons (total charge 0 e): "
        "check spin and total_charge"
    ]
    assert list(state_doubts(water(spin=2, charge=1), read_state(water(spin=2, charge=1)))) == []
    fractional = water(spin=2, charge=0.5)
    assert list(state_doubts(fractional, read_state(fractional))) == []


def test_initial_charges_that_disagree_with_the_total_charge_warn() -> None:
    atoms = water()
    atoms.set_initial_charges([1.0, 0.0, 0.0])
    with pytest.warns(UserWarning, match=r"total charge of 0 e \(not stated\)"):
        AtomsBatch.from_ase([atoms], 3.0)
    atoms.info["charge"] = -1
    with pytest.warns(UserWarning, match=r"total charge of -1 e \(stated\)"):
        AtomsBatch.from_ase([atoms], 3.0)
    atoms.info["charge"] = 1
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        AtomsBatch.from_ase([atoms, water()], 3.0)


def test_groups_of_any_integer_type() -> None:
    for dtype in (np.int64, np.uint8, ">i4", np.float32):
        atoms = water()
        atoms.arrays["coarse_index"] = np.array([0, 1, 1], dtype=dtype)
        assert read_state(atoms).groups == (0, 1, 1)
    atoms.arrays["coarse_index"] = np.array([0, np.nan, 1])
    with pytest.raises(InputError, match="coarse_index of atom 1"):
        read_state(atoms)


def test_the_charge_and_unpaired_electrons_of_a_supercell_add_up() -> None:
    atoms = water(charge=1, note="kept")
    assert repeated_info(atoms, 8) == {"total_charge": 8, "spin": 9, "note": "kept"}
    assert repeated_info(water(), 8) == {}
    assert repeated_info(water(multiplicity=3), 2) == {"spin": 5}


@pytest.mark.parametrize("dtype", [">f8", "<f4", ">f4", np.float16, np.longdouble, np.int32, ">i8"])
def test_arrays_of_any_type_order_and_layout_are_cast(dtype: str | type) -> None:
    atoms = Atoms("NaCl", positions=[[0, 0, 0], [1, 2, 3]], cell=np.eye(3) * 6, pbc=True)
    expected = AtomsBatch.from_ase([atoms], 4.0, [{"forces": np.array([[1.0, 2, 3], [4, 5, 6]])}])
    forces = np.asfortranarray(np.array([[1.0, 2, 3], [4, 5, 6]]).astype(dtype))[::-1][::-1]
    atoms.arrays["positions"] = np.asfortranarray(atoms.positions.astype(dtype))
    atoms.arrays["numbers"] = atoms.numbers.astype(">u2")
    atoms.cell.array = atoms.cell.array.astype(dtype)
    atoms.arrays["positions"].flags.writeable = False
    batch = AtomsBatch.from_ase([atoms], 4.0, [{"forces": forces}])
    for name in ("positions", "numbers", "cell", "edge_index", "edge_shift", "label_forces"):
        assert getattr(batch, name).equal(getattr(expected, name)), name


def test_complex_and_object_arrays_are_refused() -> None:
    atoms = water()
    atoms.arrays["positions"] = atoms.positions.astype(complex)
    with pytest.raises(InputError, match="real numbers are needed"):
        AtomsBatch.from_ase([atoms], 3.0)
    with pytest.raises(InputError, match="label forces"):
        AtomsBatch.from_ase([water()], 3.0, [{"forces": np.array([["a", "b", "c"]] * 3)}])
