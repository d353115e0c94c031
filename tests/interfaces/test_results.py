"""What the calculator reports, and that every part of ASE can handle it."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import bulk, molecule
from ase.calculators.calculator import PropertyNotImplementedError, all_properties
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import read, write

import muse_lr
from muse_lr import AtomsBatch, Calculator, InputError, attach_parts


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    section = {
        "elements": ["H", "O", "Na", "Cl"],
        "backbone": {"channels": 8, "layers": 2, "cutoff": 3.5, "embed": ["total_charge", "spin"]},
        "charges": {"width": 0.3},
    }
    return muse_lr.build_model(section).double()


def slab(with_vector: bool = True) -> Atoms:
    atoms = Atoms("NaCl", [[0, 0, 0], [0.3, 0.1, 2.5]], pbc=[True, True, False])
    atoms.cell = [[3.9, 0, 0], [0.5, 4.1, 0], [0.4, 0.2, 20.0] if with_vector else [0, 0, 0]]
    return atoms


STRUCTURES = {
    "molecule": lambda: molecule("H2O"),
    "slab": slab,
    "crystal": lambda: bulk("NaCl", "rocksalt", a=5.6),
}


@pytest.mark.parametrize("name", STRUCTURES)
def test_results_have_names_of_ase_only(model, name, tmp_path):
    atoms = STRUCTURES[name]()
    atoms.calc = Calculator(model)
    energy = atoms.get_potential_energy()
    born = atoms.calc.get_property("born_effective_charges", atoms)
    assert born.shape == (len(atoms), 3, 3)
    assert atoms.calc.get_property("born_effective_charges", atoms) is not born
    results = atoms.calc.results
    assert set(results) <= set(all_properties)
    assert ("stress" in results) == (name != "molecule")
    assert ("dipole" in results) == (name != "crystal")
    assert dict(atoms.calc.export_properties())["energy"] == energy
    found = atoms.get_properties(list(results))
    np.testing.assert_array_equal(found["forces"], results["forces"])
    again = atoms.copy()
    again.calc = SinglePointCalculator(again, **results)
    for file in ("a.xyz", "a.traj", "a.json", "a.db"):
        write(tmp_path / file, again)
        assert read(tmp_path / file).get_potential_energy() == pytest.approx(energy, abs=1e-6)


def test_terms_and_extras_survive_copies(model):
    atoms = molecule("H2O")
    atoms.info["charge"] = 1
    atoms.calc = Calculator(model, extras=("quadrupole", "potential", "polarizability"))
    energy = atoms.get_potential_energy()
    for twin in (pickle.loads(pickle.dumps(atoms.calc)), copy.deepcopy(atoms.calc)):
        assert twin.energy_parts == atoms.calc.energy_parts
        assert sum(twin.energy_parts.values()) == pytest.approx(energy, abs=1e-12)
        assert twin.extras["total_charge"] == pytest.approx(1, abs=1e-10)
        np.testing.assert_array_equal(twin.extras["potential"], atoms.calc.extras["potential"])
        assert twin.get_potential_energy(atoms) == energy
    output = model(
        AtomsBatch.from_ase([atoms], model.cutoff), ("quadrupole", "potential", "polarizability")
    )
    for name in ("quadrupole", "polarizability"):
        expected = getattr(output, name)[0].detach().numpy()
        np.testing.assert_allclose(atoms.calc.extras[name], expected, atol=1e-12)
    atoms.calc.reset()
    assert atoms.calc.energy_parts == {} == atoms.calc.extras
    with pytest.raises(InputError, match="did you mean 'quadrupole'"):
        Calculator(model, extras=("quadrupol",))


def test_attached_parts_reach_files(model, tmp_path):
    atoms = molecule("H2O")
    with pytest.raises(InputError, match=r"no muse_lr\.Calculator"):
        attach_parts(atoms)
    atoms.calc = Calculator(model, extras=("potential", "quadrupole"))
    attach_parts(atoms)
    terms = atoms.calc.energy_parts
    born = atoms.calc.get_property("born_effective_charges", atoms)
    attach_parts(atoms)
    for file in ("a.xyz", "a.extxyz"):
        write(tmp_path / file, atoms)
        again = read(tmp_path / file)
        np.testing.assert_allclose(
            again.arrays["muse_born_effective_charges"].reshape(-1, 3, 3), born, atol=1e-7
        )
        for name, value in terms.items():
            assert again.info[f"muse_part_{name}"] == pytest.approx(value, abs=1e-7)
        np.testing.assert_allclose(
            again.arrays["muse_potential"], atoms.calc.extras["potential"], atol=1e-7
        )
        np.testing.assert_allclose(
            np.reshape(again.info["muse_quadrupole"], (3, 3)),
            atoms.calc.extras["quadrupole"],
            atol=1e-7,
        )
    atoms.positions[0] += 0.1
    attach_parts(atoms)
    assert atoms.info["muse_part_coulomb"] != terms["coulomb"]


def test_the_dipole_is_defined_along_open_directions(model):
    atoms = slab()
    atoms.calc = Calculator(model)
    dipole = atoms.get_dipole_moment()
    charges = atoms.get_charges()
    np.testing.assert_allclose(dipole, [0, 0, charges @ atoms.positions[:, 2]], atol=1e-12)
    moved = atoms.copy()
    moved.positions[1] += 2 * atoms.cell[0] - atoms.cell[1]
    moved.calc = Calculator(model)
    np.testing.assert_allclose(moved.get_dipole_moment(), dipole, atol=1e-9)
    crystal = bulk("NaCl", "rocksalt", a=5.6)
    crystal.calc = Calculator(model)
    with pytest.raises(PropertyNotImplementedError, match="periodic images"):
        crystal.get_dipole_moment()


def test_a_slab_without_an_open_vector_has_no_stress(model):
    given, bare = slab(), slab(with_vector=False)
    for atoms in (given, bare):
        atoms.calc = Calculator(model)
    assert bare.get_potential_energy() == pytest.approx(given.get_potential_energy(), abs=1e-9)
    np.testing.assert_allclose(bare.get_forces(), given.get_forces(), atol=1e-9)
    assert given.get_stress().shape == (6,)
    with pytest.raises(PropertyNotImplementedError, match="cell vector along its open direction"):
        bare.get_stress()
    assert "stress" not in bare.calc.results
    output = model(AtomsBatch.from_ase([given, bare], model.cutoff), ("stress",))
    assert torch.isfinite(output.stress[0]).all()
    assert torch.isnan(output.stress[1]).all()


@pytest.mark.parametrize("key", ["charge", "multiplicity", "spin_multiplicity", "electric_field"])
def test_a_change_under_any_key_recomputes(model, key):
    section = model.config.model_dump(mode="json")
    section["heads"]["field"] = {"kind": "external_field"}
    torch.manual_seed(0)
    atoms = molecule("H2O")
    atoms.calc = Calculator(muse_lr.build_model(section).double())
    before = atoms.get_potential_energy()
    atoms.info[key] = {"charge": -1, "electric_field": [0.0, 0.0, 0.3]}.get(key, 3)
    assert atoms.get_potential_energy() != before
    atoms.info[key] = "wrong"
    with pytest.raises(InputError):
        atoms.get_potential_energy()


def test_a_refused_property_keeps_the_last_results(model):
    atoms = molecule("H2O")
    atoms.calc = Calculator(model)
    energy = atoms.get_potential_energy()
    with pytest.raises(PropertyNotImplementedError):
        atoms.get_stress()
    attach_parts(atoms)
    parts = [value for key, value in atoms.info.items() if key.startswith("muse_part_")]
    assert sum(parts) == pytest.approx(energy, abs=1e-12)


def test_attached_values_of_another_calculation_are_removed(model, tmp_path):
    atoms = molecule("H2O")
    atoms.calc = Calculator(model)
    atoms.get_properties(["energy", "forces", "born_effective_charges"])
    write(tmp_path / "a.xyz", atoms)
    attach_parts(atoms)
    assert "muse_born_effective_charges" in atoms.arrays
    atoms.positions[0] += 0.1
    attach_parts(atoms)
    assert "muse_born_effective_charges" not in atoms.arrays
    assert "muse_born_effective_charges_error" not in atoms.info
