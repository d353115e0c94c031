"""torch-sim: energies, forces and stress of a batch, dynamics, and its own check of models."""

from __future__ import annotations

import sys
from importlib import import_module
from importlib.util import find_spec

import numpy as np
import pytest
import torch
from ase.build import bulk, molecule

import muse_lr
from helpers import painn_section, random_model

needs_torch_sim = pytest.mark.skipif(
    find_spec("torch_sim") is None, reason="needs the extra torch-sim (torch-sim-atomistic)"
)


def adapter(model, **options):
    return import_module("muse_lr.interfaces.torch_sim").TorchSimModel(model, **options)


def salt_model(**sections):
    section = painn_section(["H", "O", "Na", "Cl"], 3.5, charges={"kind": "conserved"}, **sections)
    section["heads"] = {"coulomb": {"kind": "coulomb"}}
    return random_model(section)


def crystals():
    """Four periodic systems of different sizes; one triclinic, one with atoms outside the cell."""
    shapes = [(1, 1, 1), (2, 1, 1), (1, 1, 1), (1, 2, 1)]
    found = [bulk("NaCl", "rocksalt", a=5.6, cubic=True).repeat(shape) for shape in shapes]
    found[2] = bulk("NaCl", "rocksalt", a=5.7).repeat((2, 1, 1))
    found[2].set_cell(found[2].cell.array @ (np.eye(3) + 0.05 * np.tri(3)), scale_atoms=True)
    for seed, atoms in enumerate(found):
        atoms.rattle(0.1, seed=seed)
    found[3].positions[::3] += found[3].cell.array[1]
    return found


def state_of(structures, dtype=torch.float64):
    return import_module("torch_sim").io.atoms_to_state(structures, torch.device("cpu"), dtype)


@needs_torch_sim
def test_four_systems_are_those_of_the_calculator():
    model, structures = salt_model(), crystals()
    assert len({len(atoms) for atoms in structures}) >= 3
    wrapped = adapter(model)
    state = state_of(structures)
    found = wrapped(state)
    assert not any(value.requires_grad for value in found.values())
    first = 0
    for index, atoms in enumerate(structures):
        atoms.calc = muse_lr.Calculator(model)
        assert float(found["energy"][index]) == pytest.approx(
            atoms.get_potential_energy(), rel=1e-10
        )
        forces, stress = atoms.get_forces(), atoms.get_stress(voigt=False)
        own = found["forces"][first : first + len(atoms)].numpy()
        np.testing.assert_allclose(own, forces, rtol=0, atol=1e-8 * np.abs(forces).max())
        own = found["stress"][index].numpy()
        np.testing.assert_allclose(own, stress, rtol=0, atol=1e-8 * np.abs(stress).max())
        first += len(atoms)
    as_dict = {name: getattr(state, name) for name in ("positions", "cell", "pbc", "system_idx")}
    again = wrapped(as_dict | {"atomic_numbers": state.atomic_numbers})
    assert torch.equal(again["forces"], found["forces"])


@needs_torch_sim
def test_molecules_charges_and_precision():
    model = salt_model()
    water = [molecule("H2O"), molecule("H2O2")]
    wrapped = adapter(model, total_charge=1, spin=4, dtype="float32", compute_stress=False)
    found = wrapped(state_of(water, torch.float32))
    assert set(found) == {"energy", "forces"}
    assert {value.dtype for value in found.values()} == {torch.float32}
    for atoms, energy in zip(water, found["energy"].tolist(), strict=True):
        atoms.info = {"total_charge": 1, "spin": 4}
        atoms.calc = muse_lr.Calculator(model)
        assert energy == pytest.approx(atoms.get_potential_energy(), rel=1e-5, abs=1e-5)
    assert bool(adapter(model)(state_of(water))["stress"].isnan().all())


@needs_torch_sim
def test_constant_energy_and_a_list_that_is_kept():
    torch_sim = import_module("torch_sim")
    structures = crystals()[:2]
    model = salt_model()
    wrapped = adapter(model, skin=1.0)
    builds = []
    attach = wrapped._neighbors.attach
    wrapped._neighbors.attach = lambda batch: builds.append(attach(batch))

    def totals(n_steps, timestep):
        state = torch_sim.integrate(
            structures,
            wrapped,
            integrator=torch_sim.nve,
            n_steps=n_steps,
            temperature=300.0,
            timestep=timestep,
            seed=3,
        )
        kinetic = torch_sim.calc_kinetic_energy(
            momenta=state.momenta, masses=state.masses, system_idx=state.system_idx
        )
        return state.energy + kinetic, state

    start = totals(1, 0.0)[0]
    drifts = []
    for n_steps, timestep in ((10, 0.002), (20, 0.001)):
        end, state = totals(n_steps, timestep)
        drifts.append(float((end - start).abs().max()))
    # The error of velocity Verlet falls with the square of the step.
    assert drifts[0] / drifts[1] == pytest.approx(4, rel=0.25)
    assert len(builds) == 34
    assert sum(builds) == 1  # although atoms near a face are wrapped
    assert state.positions.shape == (24, 3)


@needs_torch_sim
def test_the_check_of_torch_sim_accepts_the_model():
    section = painn_section(["Si", "Fe"], 3.5, charges={"kind": "conserved"})
    validate = import_module("torch_sim.models.interface").validate_model_outputs
    validate(adapter(random_model(section)), torch.device("cpu"), torch.float64)


@needs_torch_sim
def test_wrong_arguments_and_systems():
    with pytest.raises(muse_lr.InputError, match="'float32' or 'float64'"):
        adapter(salt_model(), dtype="float16")
    with pytest.raises(muse_lr.InputError, match="structure 1 has the element C"):
        adapter(salt_model())(state_of([molecule("H2O"), molecule("CH4")]))


def test_without_torch_sim_the_extra_is_named(monkeypatch):
    for name in [name for name in sys.modules if name.split(".")[0] == "torch_sim"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "torch_sim", None)
    monkeypatch.delitem(sys.modules, "muse_lr.interfaces.torch_sim", raising=False)
    with pytest.raises(muse_lr.InputError, match=r"pip install 'muse_lr\[torch-sim\]'"):
        import_module("muse_lr.interfaces.torch_sim")
