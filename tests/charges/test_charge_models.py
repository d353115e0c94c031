"""Charge models against closed forms, direct minimizations and their own promises."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from ase import Atoms

import muse_lr
from helpers import painn_section, random_model
from muse_lr import testing
from muse_lr.charges.constraint import spread
from muse_lr.charges.qet import equilibrated
from muse_lr.config.registry import BACKBONES, CHARGES, lookup

ELEMENTS = ("H", "C", "O")
EXACT = [
    kind
    for kind in CHARGES
    if lookup("charges", kind).exact_total_charge
    and kind != "fixed"
    and not lookup("charges", kind).needs_charges
]


def model_of(kind, backbone=None, heads=None, scale=0.2, **options):
    heads = {"coulomb": {}} if heads is None else heads
    section = painn_section(ELEMENTS, 3.0, charges={"kind": kind, **options}, heads=heads)
    section["backbone"].update(backbone or {})
    return random_model(section, scale=scale)


def density_of(model, *structures):
    batch = muse_lr.AtomsBatch.from_ase(list(structures), cutoff=model.cutoff)
    with torch.no_grad():
        return model(batch).density


def fragment(symbols, seed, **options):
    return testing.structures.molecule(list(symbols), seed, minimum_distance=1.1, **options)


def apart(first, second, distance=50.0):
    moved = second.copy()
    moved.positions += [distance, 0, 0]
    return testing.structures.join(first, moved)


def constrained_minimum(chi, eta, total):
    """min chi q + eta q^2 / 2 at sum q = total, by the linear system of its Lagrangian."""
    count = len(chi)
    system = np.zeros((count + 1, count + 1))
    system[:count, :count] = np.diag(eta)
    system[:count, count] = system[count, :count] = 1
    return np.linalg.solve(system, [*-chi, total])[:count]


def test_two_atoms_equilibrate_to_the_textbook():
    """q_1 = (chi_2 - chi_1 + eta_2 Q) / (eta_1 + eta_2)."""
    chi, eta = torch.tensor([1.3, -0.4]).double(), torch.tensor([0.7, 1.9]).double()
    index = torch.zeros(2, dtype=torch.int64)
    for total in (0.0, 1.0):
        charges = equilibrated(chi, eta, torch.tensor([total]), index)
        first = (chi[1] - chi[0] + eta[1] * total) / (eta[0] + eta[1])
        torch.testing.assert_close(charges, torch.stack([first, total - first]))


def test_equilibration_is_the_constrained_minimum_in_each_structure():
    rng = np.random.default_rng(0)
    sizes, totals = [2, 3, 40], np.array([1.0, 0.0, -2.0])
    chi, eta = rng.normal(size=45), rng.uniform(0.05, 4, size=45)
    index = np.repeat(np.arange(3), sizes)
    found = equilibrated(*(torch.from_numpy(x) for x in (chi, eta, totals, index)))
    for graph, total in enumerate(totals):
        own = index == graph
        expected = constrained_minimum(chi[own], eta[own], total)
        np.testing.assert_allclose(found[own], expected, rtol=0, atol=1e-12)


def test_what_is_missing_is_spread_by_the_weights():
    values = torch.tensor([[0.5, 1.0], [0.1, -2.0], [7.0, 7.0]]).double()
    weights = torch.tensor([[1.0, 2.0], [3.0, 2.0], [0.5, 0.1]]).double()
    totals = torch.tensor([[1.0, 0.0], [0.0, 0.0], [2.0, -1.0]]).double()
    found = spread(values, weights, totals, torch.tensor([0, 0, 2]))
    expected = torch.tensor([[0.6, 1.5], [0.4, -1.5], [2.0, -1.0]]).double()
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("kind", EXACT)
def test_total_charges_are_exact_in_one_batch(kind):
    model = model_of(kind)
    structures = [
        fragment("OHHC", 1, charge=3),
        testing.structures.crystal(["O", "H", "H"], 2, minimum_distance=1.2),
        testing.structures.slab(["O", "C"], 3, minimum_distance=1.2),
        Atoms("H", info={"total_charge": -1}),
        testing.structures.molecule(["O", "H", "H"] * 20, 4, minimum_distance=1.1, charge=-2),
    ]
    total = density_of(model, *structures).total_charge()
    expected = torch.tensor([3, 0, 0, -1, -2]).double()
    torch.testing.assert_close(total, expected, rtol=0, atol=1e-10)


@pytest.mark.parametrize("kind", ["latent", "split", "fukui", "qet"])
def test_multipoles_up_to_quadrupoles(kind):
    mace = {"kind": "mace", "l_max": 2, "channels": 4, "cutoff": 3.0}
    model = model_of(kind, mace, l_max=2)
    atoms = fragment("OHHC", 5)
    density = density_of(model, atoms)
    assert density.moments.shape == (4, 9)
    assert bool((density.moments.abs().amax(0) > 1e-6).all())
    testing.check_rotation(model, atoms, seed=1)
    testing.check_forces(model, atoms, directions=1)


def test_fukui_functions_take_what_is_added():
    """dq/dQ is positive and sums to one, wherever the charges were before."""
    model, atoms = model_of("fukui"), fragment("OHHC", 6)
    charges = []
    for total in (-1, 0, 2):
        atoms.info["total_charge"] = total
        charges.append(density_of(model, atoms).charges)
    fukui = charges[1] - charges[0]
    torch.testing.assert_close(charges[2] - charges[1], 2 * fukui)
    assert float(fukui.min()) > 0
    assert float(fukui.sum()) == pytest.approx(1, abs=1e-12)
    assert float(fukui.max() - fukui.min()) > 1e-3
    assert density_of(model, atoms).spin_moments is None


@pytest.mark.parametrize("l_max", [0, 1])
def test_spin_channels_have_their_totals(l_max):
    model = model_of("fukui", l_max=l_max, spin=True)
    structures = []
    for charge, spin in ((0, 1), (0, 3), (1, 2), (-1, 4)):
        atoms = fragment("OHHC", 7, charge=charge)
        atoms.info["spin"] = spin
        structures.append(atoms)
    density = density_of(model, *structures)
    assert density.spin_moments.shape == density.moments.shape
    unpaired = torch.zeros(4).double().index_add(0, density.graph_index, density.spin_moments[:, 0])
    torch.testing.assert_close(unpaired, torch.tensor([0, 2, 1, 3]).double(), rtol=0, atol=1e-12)
    # The state of the spins moves charge: the two channels have Fukui functions of their own.
    singlet, triplet = density.charges[:4], density.charges[4:8]
    assert float((singlet - triplet).abs().max()) > 1e-3


def test_far_fragments_keep_their_spins_in_the_high_spin_state():
    model, radical = model_of("fukui", spin=True), fragment("OH", 15)
    assert testing.structures.join(radical, radical).info["spin"] == 3
    testing.check_far_copies(model, radical, strict=True)


def test_transfers_end_at_the_cutoff():
    """Beyond it an atom keeps its constant charge; fragments keep theirs exactly."""
    model = model_of("split")
    water, other = fragment("OHH", 8), fragment("CO", 9)
    density = density_of(model, apart(water, other))
    assert float(density.charges[:3].sum()) == pytest.approx(0, abs=1e-12)
    assert float(density.charges.abs().min()) > 1e-3
    alone = density_of(model, water).charges
    torch.testing.assert_close(density.charges[:3], alone, rtol=0, atol=1e-12)
    ion = Atoms("H", info={"total_charge": 1})
    assert density_of(model, ion).charges.tolist() == [1.0]


def test_split_charges_of_neutral_fragments_are_size_consistent():
    model = model_of("split")
    measurement = testing.check_size_consistency(model, fragment("OHHC", 10), fragment("CO", 11))
    assert measurement.passed
    # An excess that is spread is not, and is declared.
    ion = fragment("CO", 11, charge=1)
    measurement = testing.check_size_consistency(model, fragment("OHHC", 10), ion)
    assert not measurement.passed
    assert measurement.known


def test_formal_charges_make_ions_size_consistent():
    formal = {"O": -2.0, "H": 1.0}
    model = model_of("split", by_element=formal, net_charge="refuse")
    assert model.size_consistent
    hydronium, hydroxide = fragment("OHHH", 12, charge=1), fragment("OH", 13, charge=-1)
    pair = apart(hydronium, hydroxide)
    assert pair.info["total_charge"] == 0
    charges = density_of(model, pair).charges
    assert float(charges[:4].sum()) == pytest.approx(1, abs=1e-12)
    assert testing.check_size_consistency(model, hydronium, hydroxide).passed
    hydronium.info["total_charge"] = 0
    with pytest.raises(muse_lr.InputError, match="structure 0 has the total charge 0 but"):
        density_of(model, hydronium)


def test_unknown_elements_of_constant_charges_are_refused():
    with pytest.raises(muse_lr.InputError, match="names Na"):
        model_of("split", by_element={"Na": 1.0})


@pytest.mark.parametrize("kind", ["conserved", "fukui", "qet"])
def test_global_constraints_leak_between_fragments_and_say_so(kind):
    model = model_of(kind)
    assert not model.size_consistent
    water, other = fragment("OHH", 8), fragment("CO", 9)
    charges = density_of(model, apart(water, other)).charges
    assert abs(float(charges[:3].sum())) > 1e-3


def test_first_charges_follow_electronegativity():
    for kind in ("split", "qet", "fukui"):
        model = model_of(kind, {"cutoff": 5.0}, scale=0.0)
        charges = density_of(model, fragment("OHH", 8)).charges
        assert float(charges[0]) < -0.03
        assert float(charges[1:].min()) > 0.0


@pytest.mark.parametrize("kind", BACKBONES)
def test_total_charge_and_spin_can_be_embedded(kind):
    """They change the features where asked to, and a neutral singlet costs nothing."""
    atoms = fragment("OHHC", 14)
    options = {"kind": kind, "channels": 8, "layers": 1}
    for embed in ((), ("total_charge",), ("spin",), ("total_charge", "spin")):
        model = model_of("latent", {**options, "embed": list(embed)})
        assert model.size_consistent == (not embed)
        energies = {}
        for state in ((0, 1), (1, 1), (0, 3)):
            atoms.info["total_charge"], atoms.info["spin"] = state
            batch = muse_lr.AtomsBatch.from_ase([atoms], cutoff=model.cutoff)
            energies[state] = float(model(batch).energy.detach())
        assert (energies[1, 1] != energies[0, 1]) == ("total_charge" in embed)
        assert (energies[0, 3] != energies[0, 1]) == ("spin" in embed)


def test_files_of_earlier_readouts_fit():
    """The names of the parameters that model files hold."""
    names = set(model_of("conserved", l_max=1).charges.state_dict())
    expected = {"offsets", "readout.0.weight", "readout.0.bias", "readout.2.weight"}
    assert names == expected | {"multipoles.0.weight"}
