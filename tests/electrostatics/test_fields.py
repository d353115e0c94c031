"""Fields at atoms, and the external field."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import bulk, molecule

import muse_lr
from charge_systems import FFF, SLABS, TTT, System, random_structure
from helpers import evaluate, fixed_charge_model
from muse_lr.electrostatics.fields import fields_at_atoms, uniform_field
from muse_lr.structures.geometry import strained_geometry
from muse_lr.units import COULOMB_CONSTANT


def fields_of(system, l_max=2, **options):
    geometry = strained_geometry(system.batch, system.positions, None)
    return fields_at_atoms(system.density(), geometry, system.solver, l_max, **options)


def test_open_fields_are_those_of_point_charges():
    system = System([random_structure(5, FFF, seed=1)], 0)
    fields = fields_of(system)
    r, q = system.positions.numpy(), system.moments[:, 0].numpy()
    for i in range(5):
        d = np.delete(r[i] - r, i, axis=0)
        others, length = np.delete(q, i), np.linalg.norm(d, axis=1)
        potential = COULOMB_CONSTANT * (others / length).sum()
        field = COULOMB_CONSTANT * (others[:, None] * d / length[:, None] ** 3).sum(0)
        outer = 3 * d[:, :, None] * d[:, None, :] / length[:, None, None] ** 5
        gradient = np.eye(3) / length[:, None, None] ** 3 - outer
        gradient = COULOMB_CONSTANT * (others[:, None, None] * gradient).sum(0)
        assert float(fields.potential[i]) == pytest.approx(potential, rel=1e-12)
        np.testing.assert_allclose(fields.field[i].detach(), field, rtol=1e-11, atol=1e-12)
        np.testing.assert_allclose(
            fields.field_gradient[i].detach(), gradient, rtol=1e-10, atol=1e-11
        )


@pytest.mark.parametrize("pbc", [TTT, *SLABS], ids=str)
@pytest.mark.parametrize("widths", [[0.0], [0.4, 0.6]], ids=str)
def test_charges_in_their_potential_have_twice_their_energy(pbc, widths):
    system = System([random_structure(4, pbc, seed=2)], 2, widths)
    energy = (fields_of(system).moments * system.moments).sum() / 2
    torch.testing.assert_close(energy, system.energies()[0])


def test_madelung_potential_and_vanishing_field():
    salt = bulk("NaCl", "rocksalt", a=5.64)
    system = System([salt], 0, accuracy=1e-11)
    system.moments = torch.tensor([[1.0], [-1.0]], dtype=torch.float64)
    fields = fields_of(system)
    madelung = -1.7475645946 * COULOMB_CONSTANT / 2.82
    assert float(fields.potential[0]) == pytest.approx(madelung, rel=1e-9)
    assert float(fields.field.detach().abs().max()) < 1e-9
    assert float(fields.field_gradient.detach().abs().max()) < 1e-9


@pytest.mark.parametrize("pbc", [TTT, (True, True, False), FFF], ids=str)
def test_fields_can_be_differentiated_twice(pbc):
    system = System([random_structure(2, pbc, seed=3)], 1, [0.5], accuracy=1e-6)

    def potential(positions, moments, strain):
        geometry = strained_geometry(system.batch, positions, strain)
        fields = fields_at_atoms(system.density(moments), geometry, system.solver, 2)
        return fields.moments

    inputs = (system.positions.clone(), system.moments.clone(), system.no_strain)
    inputs = tuple(tensor.requires_grad_(True) for tensor in inputs)
    options = {"eps": 1e-5, "atol": 2e-6, "rtol": 1e-5, "fast_mode": True}
    assert torch.autograd.gradcheck(potential, inputs, **options)
    assert torch.autograd.gradgradcheck(potential, inputs, **options)


def test_fields_of_a_detached_density_carry_no_graph():
    system = System([random_structure(2, TTT, seed=3)], 0)
    with torch.no_grad():
        assert not fields_of(system).moments.requires_grad


WATER = {"H": 0.4, "O": -0.8}


def model_in_field(charges, **heads):
    return fixed_charge_model(charges, **{"field": {"kind": "external_field"}, **heads})


def test_a_molecule_in_a_field():
    water = molecule("H2O")
    field = np.array([0.1, -0.2, 0.3])
    water.info["electric_field"] = field
    output = evaluate(model_in_field(WATER), [water, molecule("H2O")], "forces")
    charges = np.array([WATER[symbol] for symbol in water.symbols])
    energy = -(charges @ water.positions) @ field
    assert float(output.energy_parts["field"][0]) == pytest.approx(energy, rel=1e-12)
    assert float(output.energy_parts["field"][1]) == 0
    np.testing.assert_allclose(output.forces[:3], charges[:, None] * field, atol=1e-14)


def test_the_potential_of_a_uniform_field():
    system = System([random_structure(3, FFF, seed=4)], 1)
    system.batch.field = torch.tensor([[0.1, 0.2, -0.3]], dtype=torch.float64)
    geometry = strained_geometry(system.batch, system.positions, None)
    fields = uniform_field(system.density(), geometry)
    torch.testing.assert_close(fields.field, system.batch.field.expand(3, 3))
    dipole = system.density().dipole(system.positions)
    energy = (fields.moments * system.moments).sum()
    torch.testing.assert_close(energy, -(dipole * system.batch.field).sum())


@pytest.mark.parametrize("pbc", SLABS, ids=str)
def test_a_slab_takes_a_field_along_its_normal_only(pbc):
    slab = random_structure(3, pbc, "triclinic", seed=5)
    plane = slab.cell.array[np.array(pbc)]
    normal = np.cross(*plane)
    normal /= np.linalg.norm(normal)
    slab.info["electric_field"] = 0.2 * normal
    model = model_in_field({"H": 1.0})
    energy = float(evaluate(model, [slab], "forces").energy)
    assert energy == pytest.approx(-0.2 * (slab.positions @ normal).sum(), rel=1e-12)
    slab.info["electric_field"] = 0.2 * normal + 1e-3 * plane[0]
    with pytest.raises(muse_lr.InputError, match="along a periodic direction"):
        evaluate(model, [slab], "forces")


def test_fields_that_cannot_be_are_refused():
    crystal = Atoms("H", cell=[3, 3, 3], pbc=True, info={"electric_field": [0, 0, 0.1]})
    with pytest.raises(muse_lr.InputError, match="structure 0 has an electric field along"):
        evaluate(model_in_field({"H": 1.0}), [crystal], "forces")
    for wrong in ("up", [0.1], [0, 0, np.nan]):
        water = molecule("H2O")
        water.info["electric_field"] = wrong
        with pytest.raises(muse_lr.InputError, match="electric_field is"):
            evaluate(model_in_field(WATER), [water], "forces")


def test_a_field_that_no_part_reads_is_refused():
    water = molecule("H2O")
    water.info["electric_field"] = [0, 0, 0.1]
    model = model_in_field(WATER, field=None, coulomb={"kind": "coulomb"})
    with pytest.raises(muse_lr.InputError, match="external_field"):
        evaluate(model, [water], "forces")


def test_the_calculator_notices_a_new_field():
    water = molecule("H2O")
    water.calc = muse_lr.Calculator(model_in_field(WATER))
    assert water.get_potential_energy() == 0
    water.info["electric_field"] = [0, 0, 0.1]
    assert water.get_potential_energy() != 0
