"""Dipoles, Born charges, polarizabilities: against differences, forces in fields, closed forms."""

from __future__ import annotations

from dataclasses import replace
from itertools import product
from types import SimpleNamespace

import ase.io
import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import bulk, molecule
from ase.calculators.calculator import PropertyNotImplementedError

import muse_lr
from helpers import painn_section, random_model
from muse_lr import testing
from muse_lr.charges.fixed import FixedCharges
from muse_lr.config.registry import CHARGES, lookup
from muse_lr.math.multipoles import to_standard_order
from muse_lr.model.born_charges import born_charges
from muse_lr.structures.geometry import strained_geometry
from muse_lr.structures.reciprocal import smallest_waves
from muse_lr.testing.structures import random_rotation, random_unimodular
from muse_lr.units import COULOMB_CONSTANT

ELEMENTS = ("H", "C", "O")
LEARNED = tuple(
    kind for kind in CHARGES if kind != "fixed" and not lookup("charges", kind).needs_charges
)
PERIODIC = tuple(kind for kind in LEARNED if not lookup("charges", kind).reads_field)
RESPONSIVE = tuple(kind for kind in LEARNED if lookup("charges", kind).reads_field)
FIXED = {"kind": "fixed", "by_element": {"H": 0.4, "C": 0.1, "O": -0.8}}


def model_of(kind, cutoff=3.0, layers=1, **options):
    l_max = int(kind != "fixed" and lookup("charges", kind).has_multipoles)
    charges = FIXED if kind == "fixed" else {"kind": kind, "l_max": l_max, **options}
    heads = {"coulomb": {"kind": "coulomb"}, "field": {"kind": "external_field"}}
    section = painn_section(ELEMENTS, cutoff, charges=charges, heads=heads)
    section["backbone"]["layers"] = layers
    return random_model(section, scale=0.2)


def answer(model, structures, *compute, **options):
    structures = structures if isinstance(structures, list) else [structures]
    batch = muse_lr.AtomsBatch.from_ase(structures, cutoff=model.cutoff)
    return model(batch, compute, **options)


def ion(charge=1):
    atoms = testing.structures.molecule(["O", "H", "H", "C"], 2, minimum_distance=1.1)
    atoms.info["total_charge"] = charge
    return atoms


def crystal(seed=3, count=4):
    symbols = ["O", "H", "H", "C"][:count]
    return testing.structures.crystal(symbols, seed, minimum_distance=1.2)


def slab(seed=3):
    return testing.structures.slab(["O", "H", "H", "C"], seed, minimum_distance=1.2)


def differences(function, atoms, step=5e-5):
    """d function / d r, a row for each component of the function: (n_atoms, rows, 3)."""
    rows = []
    for index, axis in product(range(len(atoms)), range(3)):
        values = []
        for sign in (1, -1):
            moved = atoms.copy()
            moved.positions[index, axis] += sign * step
            values.append(function(moved))
        rows.append((values[0] - values[1]) / (2 * step))
    return np.stack(rows).reshape(len(atoms), 3, -1).transpose(0, 2, 1)


def total_dipole(model):
    return lambda atoms: answer(model, atoms, "dipole").dipole[0].detach().numpy()


@pytest.mark.parametrize("kind", ["fixed", *LEARNED])
def test_born_charges_of_molecules_are_derivatives_of_the_dipole(kind):
    model, atoms = model_of(kind), ion(0)
    if kind == "fixed":
        del atoms.info["total_charge"]
    out = answer(model, atoms, "bec")
    expected = differences(total_dipole(model), atoms)
    np.testing.assert_allclose(out.bec.numpy(), expected, rtol=0, atol=1e-7)
    assert float(out.bec_error) == 0


@pytest.mark.parametrize("kind", [kind for kind in LEARNED if kind != "induced"])
def test_born_charges_of_molecules_are_derivatives_of_forces_by_the_field(kind):
    """The dipole is minus the energy's slope in the field: not after a few steps of induction."""
    model, atoms = model_of(kind), ion()
    bec = answer(model, atoms, "bec").bec.numpy()
    step = 1e-3
    for axis in range(3):
        forces = []
        for sign in (1, -1):
            charged = atoms.copy()
            charged.info["electric_field"] = sign * step * np.eye(3)[axis]
            forces.append(answer(model, charged, "forces").forces.numpy())
        found = (forces[0] - forces[1]) / (2 * step)
        np.testing.assert_allclose(bec[:, axis], found, rtol=0, atol=1e-8)


@pytest.mark.parametrize("kind", PERIODIC)
def test_born_charges_sum_to_the_total_charge(kind):
    for atoms in (ion(), crystal(), slab()):
        atoms.info["total_charge"] = 1
        out = answer(model_of(kind), atoms, "bec")
        expected = float(out.density.charges.detach().sum()) if kind == "latent" else 1.0
        # At finite waves a rigid shift holds to the order of k^2 only.
        tolerance = 1e-10 if float(out.bec_error) == 0 else 10 * len(atoms) * float(out.bec_error)
        total = out.bec.sum(0).detach().numpy()
        np.testing.assert_allclose(total, expected * np.eye(3), rtol=0, atol=tolerance)


@pytest.mark.parametrize("atoms", [crystal(), slab()], ids=["crystal", "slab"])
def test_fixed_charges_are_their_own_born_charges(atoms):
    model = model_of("fixed")
    out = answer(model, atoms, "bec")
    charges = np.array([FIXED["by_element"][symbol] for symbol in atoms.symbols])
    expected = charges[:, None, None] * np.eye(3)
    np.testing.assert_allclose(out.bec.numpy(), expected, atol=1e-14)
    # At finite waves too, where they are not needed.
    density = replace(out.density, polarization=None)
    batch = muse_lr.AtomsBatch.from_ase([atoms], cutoff=model.cutoff)
    positions = batch.positions.requires_grad_(True)
    found, error = born_charges(density, strained_geometry(batch, positions, None), positions)
    np.testing.assert_allclose(found.numpy(), expected, atol=1e-13)
    assert float(error) < 1e-13


#: Ions of constant charge whose dipoles answer to the field.
POLARIZABLE = {"charge_response": False, "charges_at_rest": "elements", "tolerance": 1e-12}


@pytest.mark.parametrize("atoms", [crystal(), slab()], ids=["crystal", "slab"])
@pytest.mark.parametrize(("kind", "options"), [("split", {}), ("scf", POLARIZABLE)])
def test_born_charges_of_local_charges_are_exact_under_periodicity(atoms, kind, options):
    model = model_of(kind, **options)
    out = answer(model, atoms, "bec", "polarization")

    def polarization(moved):
        return answer(model, moved, "polarization").polarization[0].detach().numpy()

    expected = differences(polarization, atoms)
    np.testing.assert_allclose(out.bec.numpy(), expected, rtol=0, atol=1e-7)
    assert float(out.bec_error) == 0


@pytest.mark.parametrize("kind", PERIODIC)
@pytest.mark.parametrize("make", [crystal, slab])
def test_responses_do_not_depend_on_the_description_of_the_lattice(kind, make):
    model, atoms = model_of(kind), make()
    atoms.info["total_charge"] = 1
    rng = np.random.default_rng(5)
    other = atoms.copy()
    other.set_cell(random_unimodular(rng, atoms.pbc) @ atoms.cell.array, scale_atoms=False)
    jumps = rng.integers(-2, 3, size=(len(atoms), 3)) * atoms.pbc
    other.positions += jumps @ atoms.cell.array
    first, second = answer(model, atoms, "bec"), answer(model, other, "bec")
    torch.testing.assert_close(first.bec, second.bec, rtol=0, atol=1e-10)
    torch.testing.assert_close(first.bec_error, second.bec_error, rtol=0, atol=1e-10)
    assert (float(first.bec_error) == 0) == (kind == "split")


def test_polarization_changes_by_constant_charges_only():
    """A neutral structure: not at all, in another cell, wrapped or shifted."""
    model = model_of("split")
    for make in (crystal, slab):
        atoms = make()
        rng = np.random.default_rng(6)
        other = atoms.copy()
        other.set_cell(random_unimodular(rng, atoms.pbc) @ atoms.cell.array, scale_atoms=False)
        other.positions += (
            rng.integers(-2, 3, size=(len(atoms), 3)) * atoms.pbc
        ) @ atoms.cell.array
        other.positions += rng.normal(size=3)
        first, second = (answer(model, a, "polarization").polarization for a in (atoms, other))
        torch.testing.assert_close(first, second, rtol=0, atol=1e-10)
        assert float(first.detach().abs().max()) > 1e-2
    atoms = crystal()
    atoms.info["total_charge"] = 2
    other = atoms.copy()
    other.positions[1] += other.cell.array[0]
    first, second = (answer(model, a, "polarization").polarization for a in (atoms, other))
    moved = torch.from_numpy(other.cell.array[0]) * 2 / len(atoms)
    torch.testing.assert_close(second - first, moved[None], rtol=0, atol=1e-10)


def test_polarization_of_a_molecule_is_its_dipole():
    out = answer(model_of("split"), ion(), "polarization", "dipole")
    torch.testing.assert_close(out.polarization, out.dipole, rtol=0, atol=1e-12)
    out = answer(model_of("latent"), ion(), "polarization", "dipole")
    torch.testing.assert_close(out.polarization, out.dipole, rtol=0, atol=0)
    with pytest.raises(muse_lr.InputError, match="these charges have no polarization"):
        answer(model_of("latent"), [ion(), crystal()], "polarization")


def test_the_finite_wave_form_converges_to_the_exact_one_as_k_squared():
    """Split charges have both; supercells halve k."""
    model, errors, estimates = model_of("split", cutoff=2.6), [], []
    for repeats in (2, 4):
        atoms = crystal(count=2).repeat(repeats)
        batch = muse_lr.AtomsBatch.from_ase([atoms], cutoff=model.cutoff)
        positions = batch.positions.requires_grad_(True)
        geometry = strained_geometry(batch, positions, None)
        density = model(batch).density
        exact, _ = born_charges(density, geometry, positions)
        # The density was made from the same leaf.
        found, estimate = born_charges(replace(density, polarization=None), geometry, positions)
        errors.append(float((found - exact).abs().max()))
        estimates.append(float(estimate))
    assert errors[0] > 1e-4
    assert errors[0] / errors[1] == pytest.approx(4, rel=0.15)
    assert estimates[1] == pytest.approx(errors[1], rel=0.15)


@pytest.mark.parametrize("kind", ["fixed", "latent"])
def test_potentials_are_those_of_the_other_charges(kind):
    """q.v is twice the Coulomb energy; in the open, the sum of erf(r / s) / r."""
    model = model_of(kind, l_max=0) if kind == "latent" else model_of(kind)
    structures = [Atoms("OHC", ion().positions[:3]), crystal(), slab()]
    out = answer(model, structures, "potential")
    work = torch.zeros(3).double()
    work = work.index_add(0, out.density.graph_index, out.density.charges * out.potential)
    torch.testing.assert_close(work, 2 * out.energy_parts["coulomb"], rtol=1e-9, atol=1e-9)
    positions, charges = structures[0].positions, out.density.charges[:3].detach().numpy()
    distance = np.linalg.norm(positions[:, None] - positions[None], axis=2) + np.eye(3)
    kernel = (torch.erf(torch.from_numpy(distance) / 2).numpy() / distance) * (1 - np.eye(3))
    expected = COULOMB_CONSTANT * kernel @ charges
    np.testing.assert_allclose(out.potential[:3].detach().numpy(), expected, rtol=1e-9)


def test_responses_turn_with_the_structure():
    turn = random_rotation(np.random.default_rng(1))
    turn = torch.from_numpy(-turn)
    for kind, make in product(("split", "fukui"), (ion, crystal, slab)):
        model, atoms = model_of(kind), make()
        other = atoms.copy()
        other.set_cell(atoms.cell.array @ turn.numpy().T, scale_atoms=False)
        other.positions = atoms.positions @ turn.numpy().T
        first, second = (answer(model, a, "bec", "quadrupole") for a in (atoms, other))
        torch.testing.assert_close(second.bec, turn @ first.bec @ turn.T, rtol=0, atol=1e-9)
        if make is ion:
            expected = turn @ first.quadrupole @ turn.T
            torch.testing.assert_close(second.quadrupole, expected, rtol=0, atol=1e-9)


@pytest.mark.parametrize("kind", PERIODIC)
def test_a_batch_of_all_boundaries_is_its_structures_one_by_one(kind):
    model, structures = model_of(kind), [crystal(), ion(0), slab(), Atoms("O"), crystal(7)]
    together = answer(model, structures, "bec", "forces", "polarizability", "dielectric")
    singles = [
        answer(model, a, "bec", "forces", "polarizability", "dielectric") for a in structures
    ]
    for name in ("bec", "bec_error", "forces", "polarizability", "dielectric"):
        expected = torch.cat([getattr(single, name) for single in singles])
        found = getattr(together, name)
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-9, equal_nan=True)


@pytest.mark.parametrize("kind", PERIODIC)
def test_born_charges_can_be_trained(kind):
    """A loss on them has the gradient that differences of the loss have."""
    model = model_of(kind)
    structures = [crystal(), ion()]

    def loss():
        return answer(model, structures, "bec", create_graph=True).bec.square().sum()

    value = loss()
    parameters = [p for n, p in model.named_parameters() if n.startswith("charges")]
    gradients = torch.autograd.grad(value, parameters, materialize_grads=True, allow_unused=True)
    direction = [torch.randn_like(p) for p in parameters]
    slope = sum(float((g * d).sum()) for g, d in zip(gradients, direction, strict=True))
    values = []
    for sign in (1, -2, 1):
        with torch.no_grad():
            for parameter, d in zip(parameters, direction, strict=True):
                parameter.add_(sign * 1e-5 * d)
        values.append(float(loss().detach()))
    assert abs(slope) > 1e-3
    assert slope == pytest.approx((values[0] - values[1]) / 2e-5, rel=1e-5)


def test_forces_are_the_same_beside_responses():
    model = model_of("fukui")
    for atoms in (ion(), crystal()):
        alone = answer(model, atoms, "forces").forces
        beside = answer(model, atoms, "bec", "forces", "dipole", "polarizability").forces
        torch.testing.assert_close(alone, beside, rtol=0, atol=0)


class Springs(FixedCharges):
    """Fixed charges with an induced dipole a F on each atom."""

    a = 0.05
    reads_field = True
    periodic_response = True

    def forward(self, inputs):
        density = super().forward(inputs)
        field = self.a * inputs.geometry.field[inputs.geometry.graph_index]
        moments = torch.cat([density.moments, to_standard_order(field)], dim=1)
        return replace(density, moments=moments, polarization=None)


def test_polarizability_and_dielectric_tensor_of_independent_dipoles():
    model = model_of("fixed")
    model.charges.__class__ = Springs
    atoms = crystal()
    out = answer(model, [atoms, Atoms("OHH", molecule("H2O").positions)], "dielectric")
    alpha = torch.tensor([4, 3]).double()[:, None, None] * Springs.a * torch.eye(3)
    torch.testing.assert_close(out.polarizability, alpha, rtol=0, atol=1e-14)
    epsilon = 1 + 4 * np.pi * COULOMB_CONSTANT * 4 * Springs.a / atoms.cell.volume
    torch.testing.assert_close(out.dielectric[0], epsilon * torch.eye(3).double())
    assert bool(out.dielectric[1].isnan().all())
    Springs.periodic_response = False
    try:
        out = answer(model, [atoms, Atoms("O")], "polarizability")
    finally:
        Springs.periodic_response = True
    assert bool(out.polarizability[0].isnan().all())
    torch.testing.assert_close(out.polarizability[1], Springs.a * torch.eye(3).double())


@pytest.mark.parametrize("kind", RESPONSIVE)
def test_polarizabilities_are_derivatives_of_the_dipole_by_the_field(kind):
    model, atoms = model_of(kind), ion()
    # The dipole of charges that a field polarizes in a few steps is definite, unlike its energy.
    model.charges.converged_response = True
    alpha = answer(model, atoms, "polarizability").polarizability[0].numpy()
    step, columns = 1e-3, []
    for axis in range(3):
        dipoles = []
        for sign in (1, -1):
            atoms.info["electric_field"] = sign * step * np.eye(3)[axis]
            dipoles.append(total_dipole(model)(atoms))
        columns.append((dipoles[0] - dipoles[1]) / (2 * step))
    np.testing.assert_allclose(alpha, np.stack(columns, axis=1), rtol=0, atol=1e-8)
    assert np.linalg.eigvalsh((alpha + alpha.T) / 2).min() > 1e-4
    assert bool(answer(model, crystal(), "dielectric").dielectric.isnan().all())


def test_dielectric_tensor_of_a_cubic_lattice_is_that_of_clausius_and_mossotti():
    """(eps - 1) / (eps + 2) = 4 pi k S / 3 V for dipoles that do not overlap."""
    options = {"l_max": 1, "charge_response": False, "width": 0.4, "tolerance": 1e-12}
    model = model_of("scf", cutoff=3.0, **options)
    with torch.no_grad():
        model.charges.response_offsets.fill_(3.0)
    atoms = Atoms("O", cell=[3.2, 3.2, 3.2], pbc=True)
    batch = muse_lr.AtomsBatch.from_ase([atoms], cutoff=model.cutoff)
    found = []
    model.charges.register_forward_pre_hook(lambda module, inputs: found.extend(inputs))
    out = model(batch, ("dielectric",))
    alpha = float(
        model.charges.susceptibilities(found[0].features, found[0].composition).detach()[0, 1, 0]
    )
    share = 4 * np.pi / 3 * COULOMB_CONSTANT * alpha / atoms.cell.volume
    assert share > 0.02
    expected = (1 + 2 * share) / (1 - share) * torch.eye(3).double()
    torch.testing.assert_close(out.dielectric[0], expected, rtol=1e-7, atol=1e-9)
    # A supercell has the same.
    again = answer(model, atoms.repeat((2, 1, 1)), "dielectric").dielectric[0]
    torch.testing.assert_close(again, expected, rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize("options", [{}, {"nonlinear": True}])
def test_polarizable_ions_do_not_depend_on_the_images_of_atoms(options):
    """Charged structures of all boundaries in one batch, atoms moved by lattice vectors."""
    structures = [slab(), crystal(), ion()]
    for atoms, charge in zip(structures, (1, 2, -1), strict=True):
        atoms.info["total_charge"] = charge
    others = [atoms.copy() for atoms in structures]
    for atoms in others[:2]:
        atoms.positions[1] += atoms.cell.array[list(atoms.pbc).index(True)]
    model = model_of("scf", **POLARIZABLE, **options)
    names = ("charges", "bec", "polarizability")
    first, second = (answer(model, group, *names) for group in (structures, others))
    for name in names:
        torch.testing.assert_close(getattr(first, name), getattr(second, name), rtol=0, atol=1e-10)
    assert float(first.bec_error.max()) == 0
    sums = torch.stack([part.sum(0) for part in first.bec.split([4, 4, 4])])
    expected = torch.tensor([1.0, 2.0, -1.0]).double()[:, None, None] * torch.eye(3).double()
    torch.testing.assert_close(sums, expected, rtol=0, atol=1e-9)
    alone = answer(model, structures[0], *names)
    torch.testing.assert_close(first.bec[:4], alone.bec, rtol=0, atol=1e-9)


def test_charges_by_element_do_not_move_and_share_out_the_total():
    model = model_of("scf", **POLARIZABLE)
    first, second = crystal(seed=3), crystal(seed=4)
    found = answer(model, [first, second], "charges").charges.reshape(2, -1).detach()
    torch.testing.assert_close(found[0], found[1], rtol=0, atol=1e-14)
    assert float(found.sum(1).abs().max()) < 1e-12
    first.info["total_charge"] = 2
    charged = answer(model, first, "charges").charges.detach()
    assert float(charged.sum()) == pytest.approx(2, abs=1e-12)
    # Of induced charges they are what is not induced.
    model = model_of("induced", l_max=0, charges_at_rest="elements", steps=1)
    moved = answer(model, [first, second], "charges").charges.reshape(2, -1).detach()
    assert float((moved[0] - moved[1]).abs().max()) > 1e-4


def test_born_charges_of_polarizable_ions_are_those_of_born():
    """Z* = q (eps + 2) / 3 for rigid charges with a polarizability on a cubic lattice."""
    charges = {"kind": "scf", "l_max": 1, "width": 0.4, **POLARIZABLE}
    section = {"elements": ["Na", "Cl"], "charges": charges}
    section["backbone"] = {"channels": 8, "layers": 1, "cutoff": 4.0}
    model = muse_lr.build_model(section).to(torch.float64).eval()
    with torch.no_grad():  # nothing but the two elements decides
        for part in (model.charges.response, model.charges.multipoles):
            for parameter in part.parameters():
                parameter.zero_()
        model.charges.response_offsets.copy_(torch.tensor([[0.0, 1.0], [0.0, 4.0]]))
    salt = bulk("NaCl", "rocksalt", a=6.4)
    out = answer(model, salt, "bec", "dielectric", "charges")
    epsilon = float(out.dielectric[0, 0, 0])
    assert epsilon > 1.1
    expected = out.charges.detach()[:, None, None] * (epsilon + 2) / 3 * torch.eye(3)
    torch.testing.assert_close(out.bec, expected, rtol=1e-6, atol=1e-8)
    assert float(out.charges.detach().abs().min()) > 0.1


@pytest.mark.parametrize("kind", RESPONSIVE)
def test_born_charges_of_charges_in_their_own_field_are_refused_under_periodicity(kind):
    with pytest.raises(muse_lr.InputError, match="structure 1 is periodic, where charges"):
        answer(model_of(kind), [ion(), slab()], "bec")


def test_charges_that_feel_no_field_have_a_dielectric_tensor_of_one():
    out = answer(model_of("latent"), [crystal(), ion()], "dielectric", "polarizability")
    assert bool((out.polarizability == 0).all())
    torch.testing.assert_close(out.dielectric[0], torch.eye(3).double())


def test_responses_need_charges():
    model = muse_lr.build_model({"elements": ELEMENTS, "charges": None, "heads": {}})
    with pytest.raises(muse_lr.InputError, match="cannot compute 'bec'"):
        answer(model, ion(), "bec")


@pytest.mark.parametrize("pbc", [(1, 1, 1), (1, 1, 0), (0, 1, 1), (1, 0, 1)])
def test_smallest_waves_are_those_of_a_long_list(pbc):
    rng = np.random.default_rng(sum(pbc) + 2 * pbc[0])
    for _ in range(5):
        cell = rng.normal(size=(3, 3)) + 4 * np.eye(3)
        skewed = random_unimodular(rng, pbc, steps=4) @ cell
        geometry = SimpleNamespace(
            cell=torch.from_numpy(skewed)[None],
            pbc=torch.tensor([pbc]).bool(),
            open_graphs=torch.tensor([False]),
        )
        waves, limit = smallest_waves(geometry)
        lengths = np.linalg.norm(waves[0].numpy(), axis=1)
        plane = cell[[bool(p) for p in pbc]]
        reciprocal = 2 * np.pi * np.linalg.pinv(plane).T
        span = range(-6, 7)
        vectors = np.array(list(product(span, repeat=len(plane)))) @ reciprocal
        vectors = vectors[np.argsort(np.linalg.norm(vectors, axis=1), kind="stable")][1:]
        chosen = []
        for vector in vectors:
            if np.linalg.matrix_rank([*chosen, vector], tol=1e-6) > len(chosen):
                chosen.append(vector)
        expected = [np.linalg.norm(vector) for vector in chosen]
        if len(plane) == 2:
            expected.append(1.0)
            np.testing.assert_allclose(plane @ waves[0, 2].numpy(), 0, atol=1e-9)
        np.testing.assert_allclose(lengths, expected, rtol=1e-9)
        assert limit.tolist() == [[False, False, len(plane) == 2]]


def test_calculator_gives_responses_that_are_asked_for(tmp_path):
    model = model_of("fukui")
    atoms = crystal()
    atoms.calc = muse_lr.Calculator(model)
    out = answer(model, atoms, "bec")
    atoms.get_potential_energy()
    assert "born_effective_charges" not in atoms.calc.results
    bec = atoms.calc.get_property("born_effective_charges", atoms)
    np.testing.assert_allclose(bec, out.bec.numpy(), atol=1e-12)
    assert atoms.calc.extras["born_effective_charges_error"] == pytest.approx(float(out.bec_error))
    np.testing.assert_allclose(atoms.calc.get_property("dielectric_tensor", atoms), np.eye(3))
    for name in ("a.xyz", "a.traj"):
        ase.io.write(tmp_path / name, atoms)
        energy = ase.io.read(tmp_path / name).get_potential_energy()
        assert energy == pytest.approx(atoms.get_potential_energy())
    lone = ion()
    lone.calc = muse_lr.Calculator(model)
    with pytest.raises(PropertyNotImplementedError, match="only a crystal"):
        lone.calc.get_property("dielectric_tensor", lone)
    bare = muse_lr.build_model({"elements": ELEMENTS, "charges": None, "heads": {}})
    lone.calc = muse_lr.Calculator(bare)
    with pytest.raises(PropertyNotImplementedError, match="without charges"):
        lone.calc.get_property("born_effective_charges", lone)
