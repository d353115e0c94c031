"""The ASE calculator: results, recomputation, neighbor lists with a skin, files."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from ase import units
from ase.build import bulk, molecule
from ase.calculators.calculator import PropertyNotImplementedError
from ase.io import read, write
from ase.md.verlet import VelocityVerlet

import muse_lr


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    section = {
        "elements": ["H", "O", "Na", "Cl"],
        "backbone": {"channels": 8, "layers": 2, "cutoff": 3.5, "embed": ["total_charge"]},
        "charges": {"width": 0.3},
    }
    return muse_lr.build_model(section)


def water(seed: int = 0):
    atoms = molecule("H2O")
    atoms.rattle(0.05, seed=seed)
    return atoms


def test_results(model):
    atoms = bulk("NaCl", "rocksalt", a=5.6)
    atoms.calc = muse_lr.Calculator(model)
    energy = atoms.get_potential_energy()
    parts = atoms.calc.energy_parts
    assert set(parts) == {"e0", "backbone", "coulomb"}
    assert sum(parts.values()) == pytest.approx(energy, abs=1e-12)
    assert atoms.get_stress().shape == (6,)
    assert atoms.get_charges().sum() == pytest.approx(0, abs=1e-12)
    assert model.dtype == torch.float32  # the caller's model is left alone


def test_open_systems_have_no_stress(model):
    atoms = water()
    atoms.calc = muse_lr.Calculator(model)
    with pytest.raises(PropertyNotImplementedError):
        atoms.get_stress()


def test_a_change_of_charge_or_spin_recomputes(model):
    atoms = water()
    atoms.calc = muse_lr.Calculator(model)
    neutral = atoms.get_potential_energy()
    atoms.info["total_charge"] = 1
    charged = atoms.get_potential_energy()
    assert charged != neutral
    assert atoms.get_charges().sum() == pytest.approx(1, abs=1e-10)
    del atoms.info["total_charge"]
    assert atoms.get_potential_energy() == neutral


def test_the_skin_changes_nothing(model):
    """Energies along a path with and without a skin; the list is kept and rebuilt on the way."""
    atoms = bulk("NaCl", "rocksalt", a=5.6, cubic=True)
    kept = muse_lr.Calculator(model, skin=1.0)
    fresh = muse_lr.Calculator(model, skin=0.0)
    rng = np.random.default_rng(0)
    lists = set()
    for step in range(12):
        atoms.positions += 0.08 * rng.normal(size=atoms.positions.shape)
        if step == 6:
            atoms.wrap()
        if step == 9:
            atoms.set_cell(atoms.cell.array * 1.01, scale_atoms=True)
        first, second = (c.get_property("energy", atoms) for c in (kept, fresh))
        forces = [c.get_property("forces", atoms) for c in (kept, fresh)]
        lists.add(id(kept.neighbor_list))
        assert first == pytest.approx(second, abs=1e-11)
        np.testing.assert_allclose(*forces, atol=1e-11)
    assert 2 < len(lists) < 12


def test_trajectories_and_files(model, tmp_path):
    atoms = water()
    atoms.calc = muse_lr.Calculator(model)
    VelocityVerlet(atoms, 0.5 * units.fs, trajectory=str(tmp_path / "md.traj")).run(5)
    frames = read(tmp_path / "md.traj", ":")
    assert len(frames) == 6
    assert frames[-1].get_potential_energy() == pytest.approx(atoms.get_potential_energy())
    for name in ("a.xyz", "a.json", "a.db"):
        write(tmp_path / name, atoms)
        again = read(tmp_path / name)
        assert again.get_potential_energy() == pytest.approx(atoms.get_potential_energy())
        np.testing.assert_allclose(again.get_forces(), atoms.get_forces(), atol=1e-7)


def test_energy_is_conserved(model):
    """Velocity Verlet on exact forces: the total energy wobbles as the time step squared."""
    wobble = []
    for step in (0.2, 0.1):
        atoms = water(seed=3)
        atoms.calc = muse_lr.Calculator(model)
        atoms.set_momenta(np.random.default_rng(0).normal(size=(3, 3)) * 0.3)
        dynamics = VelocityVerlet(atoms, step * units.fs)
        total: list[float] = []
        dynamics.attach(lambda a=atoms, t=total: t.append(a.get_total_energy()))
        dynamics.run(round(20 / step))
        wobble.append(np.ptp(total))
    assert wobble[0] / wobble[1] == pytest.approx(4, rel=0.2)


def test_from_a_file_and_bad_arguments(model, tmp_path):
    muse_lr.save_model(model, tmp_path / "m.pt")
    atoms = water()
    atoms.calc = muse_lr.Calculator(tmp_path / "m.pt")
    energy = atoms.get_potential_energy()
    atoms.calc = muse_lr.Calculator(model)
    assert atoms.get_potential_energy() == energy
    with pytest.raises(muse_lr.InputError, match="'float32' or 'float64'"):
        muse_lr.Calculator(model, dtype="float16")
    atoms = molecule("CH4")
    atoms.calc = muse_lr.Calculator(model)
    with pytest.raises(muse_lr.InputError, match="element C"):
        atoms.get_potential_energy()
