"""The models of induced multipoles: stability, spins, refusals, training."""

from __future__ import annotations

import pytest
import torch
from ase import Atoms

import muse_lr
from helpers import painn_section, random_model
from muse_lr import testing
from muse_lr.charges.polarization import (
    by_component,
    tensors_of,
)

pytestmark = pytest.mark.usefixtures("float64")


def model_of(kind, seed=0, heads=("coulomb", "external_field"), **charges):
    """A model with its initial weights."""
    heads = {head: {"kind": head} for head in heads}
    charges = {"kind": kind, **charges}
    section = painn_section(["Na", "Cl", "O"], 4.0, charges=charges, heads=heads)
    return random_model(section, seed=seed, weights=None)


@pytest.mark.parametrize("boundary", ["molecule", "slab", "crystal"])
@pytest.mark.parametrize("seed", range(3))
def test_an_untrained_response_is_a_contraction(boundary, seed):
    model = model_of("scf", seed, l_max=1)
    symbols = ["Na", "Cl", "O", "O", "Cl", "Na", "O"]
    atoms = getattr(testing.structures, boundary)(symbols, seed, minimum_distance=1.1)
    batch = muse_lr.AtomsBatch.from_ase([atoms], cutoff=model.cutoff)
    seen = {}

    def polarized(polarize, response, geometry):
        tensors = tensors_of(response, geometry)
        start = polarize.at_rest(response)
        flat = start.detach().flatten()
        jacobian = torch.autograd.functional.jacobian(
            lambda x: polarize(x.reshape(start.shape), *tensors).flatten(), flat
        )
        seen["radius"] = float(torch.linalg.eigvals(jacobian).abs().max())
        return start, start

    model.charges.polarized = polarized
    model(batch)
    assert 1e-3 < seen["radius"] < 0.5


@pytest.mark.parametrize("boundary", ["molecule", "slab", "crystal"])
def test_the_largest_response_that_can_be_learned_is_stable(boundary):
    model = model_of("scf", l_max=1)
    with torch.no_grad():
        model.charges.response_offsets[:] = 20.0
    atoms = getattr(testing.structures, boundary)(["Na", "Cl"] * 8, 1, minimum_distance=1.1)
    batch = muse_lr.AtomsBatch.from_ase([atoms], cutoff=model.cutoff)
    out = model(batch, compute=("forces",))
    assert bool(torch.isfinite(out.forces).all())
    assert abs(float(out.density.charges.detach().sum())) < 1e-12


@pytest.mark.parametrize("kind", ["induced", "scf"])
def test_a_field_without_its_head_is_refused(kind):
    """The charges would answer to it, but the energy would lack -mu.F."""
    atoms = Atoms("NaCl", [[0, 0, 0], [0, 0, 2.4]], info={"electric_field": [0, 0, 0.1]})
    model = model_of(kind, heads=("coulomb",))
    with pytest.raises(muse_lr.InputError, match="no head"):
        model(muse_lr.AtomsBatch.from_ase([atoms], cutoff=model.cutoff))


@pytest.mark.parametrize("kind", ["induced", "scf"])
def test_spin_densities(kind):
    atoms = Atoms("NaClO", [[0, 0, 0], [2.4, 0, 0], [0, 2.0, 0]])
    atoms.info |= {"total_charge": 1, "spin": 3}
    model = model_of(kind, spin=True, l_max=1)
    density = model(muse_lr.AtomsBatch.from_ase([atoms], cutoff=model.cutoff)).density
    assert float(density.total_charge().detach()) == pytest.approx(1, abs=1e-12)
    assert float(density.spin_moments[:, 0].sum().detach()) == pytest.approx(2, abs=1e-12)
    assert density.spin_moments.shape == (3, 4)
    assert (
        model_of(kind)(
            muse_lr.AtomsBatch.from_ase([atoms], cutoff=model.cutoff)
        ).density.spin_moments
        is None
    )


def test_crystals_have_a_dielectric_tensor_where_only_dipoles_respond():
    atoms = testing.structures.crystal(["Na", "Cl", "O"], 2, minimum_distance=1.5)
    model = model_of("scf", heads=("coulomb",), l_max=1, charge_response=False)
    batch = muse_lr.AtomsBatch.from_ase([atoms], cutoff=model.cutoff)
    density = model(batch).density
    # Such a field is refused, as the energy has no -mu.F in it; the induced dipoles are definite.
    model.check = lambda _: None
    alpha = []
    for axis in range(3):
        response = []
        for sign in (1, -1):
            batch.field = torch.zeros(1, 3)
            batch.field[0, axis] = sign * 1e-3
            changed = model(batch).density
            torch.testing.assert_close(changed.charges, density.charges)
            response.append(changed.cartesian.dipoles.sum(0).detach())
        alpha.append((response[0] - response[1]) / 2e-3)
    alpha = torch.stack(alpha)
    torch.testing.assert_close(alpha, alpha.T)
    assert float(torch.linalg.eigvalsh(alpha)[0]) > 1e-3
    batch.field[:] = 0
    output = model(batch, compute=("polarizability",))
    torch.testing.assert_close(output.polarizability[0].detach(), alpha, rtol=1e-6, atol=1e-9)
    with pytest.raises(muse_lr.InputError, match="nothing responds"):
        model_of("scf", charge_response=False)


@pytest.mark.parametrize("kind", ["induced", "scf"])
def test_nonlinear_responses_can_be_trained(kind):
    model = model_of(kind, l_max=1, nonlinear=True)
    testing.randomize_weights(model, seed=1)
    crystal = testing.structures.crystal(["Na", "Cl", "O"], 2, minimum_distance=1.5)
    molecule = testing.structures.molecule(["Na", "Cl", "O", "O"], 3, minimum_distance=1.5)
    testing.check_parameters_receive_gradients(model, [molecule, crystal])
    testing.check_forces(model, crystal)
    testing.check_second_derivatives(model, molecule)
    testing.check_training_gradient(model, [crystal])
    testing.check_rotation(model, molecule)


@pytest.mark.parametrize("boundary", ["molecule", "slab", "crystal"])
@pytest.mark.parametrize("kind", ["induced", "scf"])
@pytest.mark.parametrize(("l_max", "charge_response"), [(0, True), (1, True), (1, False)])
def test_charges_by_element_keep_the_contract(kind, boundary, l_max, charge_response):
    atoms = getattr(testing.structures, boundary)(["Na", "Cl", "O", "O"], 2, minimum_distance=1.3)
    keys = {"charge_response": charge_response, "charges_at_rest": "elements"}
    model = model_of(kind, l_max=l_max, **keys).eval()
    testing.randomize_weights(model, seed=1, scale=0.2)
    testing.check_rotation(model, atoms, seed=1)
    testing.check_permutation(model, atoms, seed=1)
    testing.check_forces(model, atoms, seed=1)
    if boundary == "crystal":
        testing.check_stress(model, atoms)
        testing.check_supercell(model, atoms, repeats=(2, 1, 1))
    testing.check_parameters_receive_gradients(model, [atoms])


def test_spins_that_would_be_alike_are_refused():
    with pytest.raises(muse_lr.InputError, match="the same charges"):
        model_of("scf", spin=True, charges_at_rest="elements")


def test_many_steps_are_self_consistent():
    atoms = testing.structures.crystal(["Na", "Cl", "O"], 2, minimum_distance=1.5)
    scf, induced = model_of("scf", l_max=1), model_of("induced", l_max=1, steps=10)
    induced.load_state_dict(scf.state_dict())
    batch = muse_lr.AtomsBatch.from_ase([atoms], cutoff=scf.cutoff)
    first, second = (model(batch).density.moments for model in (scf, induced))
    torch.testing.assert_close(first, second, rtol=0, atol=1e-9)


def test_float32_models_solve_in_float64():
    atoms = testing.structures.crystal(["Na", "Cl", "O"], 2, minimum_distance=1.5)
    model = model_of("scf", l_max=1)
    batch = muse_lr.AtomsBatch.from_ase([atoms], cutoff=model.cutoff)
    expected = model(batch).density.moments
    found = model.float()(batch).density.moments
    assert found.dtype == torch.float32
    torch.testing.assert_close(found.double(), expected, rtol=1e-4, atol=1e-5)


def test_what_does_not_converge_is_an_error():
    atoms = testing.structures.crystal(["Na", "Cl", "O"], 2, minimum_distance=1.5)
    model = model_of("scf", l_max=1, iterations=2)
    batch = muse_lr.AtomsBatch.from_ase([atoms], cutoff=model.cutoff)
    with pytest.raises(muse_lr.InputError, match=r"structure 0.*in 2 iterations"):
        model(batch)


def test_points_are_refused():
    with pytest.raises(muse_lr.InputError, match=r"scf.*needs Gaussians"):
        model_of("scf", width=0.0)


def test_components_of_each_order():
    values = torch.arange(6.0).reshape(2, 3)
    assert by_component(values)[1].tolist() == [3, 4, 4, 4, 5, 5, 5, 5, 5]
