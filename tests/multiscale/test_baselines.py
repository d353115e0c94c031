"""The baselines of the multiscale slot: Ewald message passing and virtual nodes."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
import torch
from ase import Atoms
from hypothesis import given
from hypothesis import strategies as st
from scipy.integrate import quad

import muse_lr
from helpers import geometry_of, painn_section, random_model
from muse_lr import testing
from muse_lr.multiscale import ewald_portions, virtual_nodes
from muse_lr.multiscale.ewald_portions import PortionedOpenSum, lattice_sum, open_sum
from muse_lr.multiscale.ewald_sums import DENSITY, FilterBasis, OpenSum
from muse_lr.testing import structures

ELEMENTS = ("H", "C", "O", "Na", "Cl")
KINDS = ("ewald_mp", "virtual_nodes")


def model_of(kind: str, **options) -> muse_lr.EnergyModel:
    multiscale = {"kind": kind, **options}
    return random_model(painn_section(ELEMENTS, multiscale=multiscale, charges=None, heads={}))


def energies(model: muse_lr.EnergyModel, *listed: Atoms) -> np.ndarray:
    return testing.as_potential(model).energies(listed)


#: A kernel of a short range, so that few images of a cell have a part in it: exp(-(0.8 r)^2 / 2).
SHORT = FilterBasis(3, 7.1)


def transform(basis: FilterBasis, distance: float) -> np.ndarray:
    """F_g(r), by numerical integration of f_g over spheres of k."""

    def integrand(k: float, g: int) -> float:
        value = float(basis.reciprocal(torch.tensor(k, dtype=torch.float64))[g])
        return value * k**2 * np.sinc(k * distance / np.pi) / (2 * np.pi**2)

    count = len(basis.centers)
    options = {"limit": 200, "epsabs": 1e-13}
    return np.array([quad(integrand, 0, basis.cutoff, (g,), **options)[0] for g in range(count)])


@pytest.mark.parametrize("distance", [0.0, 0.7, 3.1, 9.0])
@pytest.mark.parametrize("basis", [SHORT, FilterBasis(16, 1.4)], ids=["short", "default"])
def test_the_kernel_is_the_fourier_transform_of_the_filter(basis, distance):
    mine = basis.real(torch.tensor(distance**2, dtype=torch.float64))
    scale = float(basis.real(torch.zeros((), dtype=torch.float64)).abs().max())
    np.testing.assert_allclose(mine, transform(basis, distance), atol=1e-6 * scale)


def test_the_filter_ends_smoothly_and_gives_messages_of_order_one():
    basis = FilterBasis(6, 1.4)
    k = torch.linspace(0, 1.5, 3001, dtype=torch.float64)
    values = basis.reciprocal(k)
    assert not bool(values[k >= 1.4].any())
    assert float(values.diff(dim=0).abs().max()) < 0.01 * float(values.max())
    # Variance of a sum over a random gas of unit weights: density times the integral of F^2.
    for g in range(6):
        square = torch.trapezoid(values[:, g] ** 2 * k**2, k) / (2 * np.pi**2)
        assert DENSITY * float(square) == pytest.approx(1.0, abs=1e-3)


def messages_over_images(atoms: Atoms, content: np.ndarray, basis: FilterBasis) -> np.ndarray:
    """(count, n, c) sums over all images of a cell whose kernel is not nil."""
    grid = np.linspace(0, 10.5, 400)
    table = basis.real(torch.from_numpy(grid**2)).numpy()
    assert np.abs(table[-1]).max() < 1e-12 * np.abs(table[0]).max()
    reach = [range(-9, 10) if periodic else range(1) for periodic in atoms.pbc]
    shifts = np.array(list(product(*reach))) @ atoms.cell.array
    vectors = atoms.positions[:, None] - atoms.positions[None] + shifts[:, None, None]
    squared = np.square(vectors).sum(-1)
    squared = squared[squared.min((1, 2)) < grid[-1] ** 2]
    kernel = basis.real(torch.from_numpy(squared)).numpy().sum(0)
    return np.einsum("ijg,jc->gic", kernel, content)


CELLS = {
    "cubic": np.diag([3.0, 3.0, 3.0]),
    "skewed": np.array([[3.0, 0.4, 0], [2.0, 3.5, 0], [0.3, -0.7, 4.0]]),
    "left-handed": np.array([[3.0, 0, 0], [0, 3.2, 1.0], [0.3, 0.7, -4.0]]),
}


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("pbc", [(1, 1, 1), (1, 1, 0), (0, 1, 1)], ids=str)
def test_waves_sum_what_images_sum(cell, pbc):
    """Poisson's summation: crystals and slabs see the kernel over all their images."""
    rng = np.random.default_rng(0)
    atoms = Atoms("H4", rng.uniform(-4, 4, (4, 3)), cell=CELLS[cell], pbc=pbc)
    content = rng.normal(size=(4, 2))
    other = Atoms("H2", [[0, 0, 0], [1, 1, 1.0]], cell=np.diag([5.0, 4, 4]), pbc=True)
    geometry = geometry_of([other, Atoms("H"), atoms], 1.0)
    chosen = torch.tensor([True, False, True])
    lattice = lattice_sum(geometry, chosen, SHORT, torch.float64)
    padded = lattice.padding.fill(torch.from_numpy(np.vstack([np.ones((3, 2)), content])))
    expected = messages_over_images(atoms, content, SHORT)
    for g in range(3):
        weight = torch.zeros(2, 3, dtype=torch.float64)
        weight[:, g] = 1
        found = lattice.padding.take(lattice.message(padded, weight))[2:]
        np.testing.assert_allclose(found, expected[g], atol=3e-8 * np.abs(expected[g]).max())


def test_a_molecule_is_a_crystal_in_a_large_box():
    atoms = structures.molecule(ELEMENTS, 3)
    boxed = Atoms(atoms, cell=np.diag([25.0, 26.0, 27.0]), pbc=True)
    model = model_of("ewald_mp", num_radial=3, reciprocal_cutoff=4.0)
    alone, inside = energies(model, atoms, boxed)
    assert inside == pytest.approx(alone, abs=1e-7)
    slab = Atoms(atoms, cell=np.diag([25.0, 26.0, 1.0]), pbc=(1, 1, 0))
    assert energies(model, slab)[0] == pytest.approx(alone, abs=1e-7)


def test_messages_of_molecules_do_not_depend_on_the_portions(monkeypatch):
    listed = [structures.molecule(ELEMENTS, seed) for seed in (3, 4)] + [Atoms("H")]
    model, found = model_of("ewald_mp"), []
    for portion in (10**9, 1, 10_000):
        monkeypatch.setattr(ewald_portions, "PORTION_BYTES", portion)
        batch = muse_lr.AtomsBatch.from_ase(listed, cutoff=model.cutoff)
        output = model(batch, ("forces",), create_graph=True)
        loss = output.forces.square().sum() + output.energy.square().sum()
        gradients = torch.autograd.grad(loss, list(model.parameters()), allow_unused=True)
        given = [gradient for gradient in gradients if gradient is not None]
        found.append([output.energy.detach(), output.forces.detach(), *given])
        everything = torch.ones(3, dtype=torch.bool)
        made = open_sum(geometry_of(listed, 1.0), everything, SHORT, torch.float64)
        assert isinstance(made, OpenSum if portion == 10**9 else PortionedOpenSum)
    for other in found[1:]:
        for expected, value in zip(found[0], other, strict=True):
            torch.testing.assert_close(value, expected, rtol=1e-10, atol=1e-11)


def test_messages_over_pairs_by_hand():
    """Two molecules of different size, and what pads the shorter has no part."""
    rng = np.random.default_rng(0)
    listed = [Atoms(f"H{n}", rng.uniform(0, 5, (n, 3))) for n in (2, 4)]
    summed = OpenSum.of(geometry_of(listed, 1.0), torch.tensor([True, True]), SHORT, torch.float64)
    content, weight = rng.normal(size=(6, 2)), rng.normal(size=(2, 3))
    padded = summed.padding.fill(torch.from_numpy(content))
    found = summed.padding.take(summed.message(padded, torch.from_numpy(weight)))
    parts = [
        messages_over_images(atoms, rows, SHORT)
        for atoms, rows in zip(listed, (content[:2], content[2:]), strict=True)
    ]
    expected = np.einsum("gic,cg->ic", np.concatenate(parts, axis=1), weight)
    np.testing.assert_allclose(found, expected, atol=1e-12)


def fragments(distance: float) -> tuple[Atoms, Atoms, Atoms]:
    first, second = structures.molecule(["O", "H", "H"], 1), structures.molecule(["Na", "Cl"], 2)
    second.positions += first.positions.mean(0) - second.positions.mean(0)
    moved = second.copy()
    moved.positions += [0, distance, 0]
    return first, second, first + moved


def interaction(model: muse_lr.EnergyModel, distance: float) -> float:
    first, second, pair = energies(model, *fragments(distance))
    return pair - first - second


def test_ewald_messages_reach_beyond_the_backbone_and_fade_out():
    model = model_of("ewald_mp")
    near, far = interaction(model, 12.0), interaction(model, 160.0)
    assert abs(near) > 1e-4
    assert abs(far) < 1e-11


def test_virtual_nodes_know_of_each_other_at_any_distance():
    """The declared failure: it is real, and like copies do not have it."""
    model = model_of("virtual_nodes")
    assert not model.size_consistent
    near, far = interaction(model, 20.0), interaction(model, 1e4)
    assert abs(far) > 1e-6
    assert near == pytest.approx(far, abs=1e-10)
    testing.check_far_copies(model, structures.molecule(["O", "H"], 1), strict=True)


def test_the_attention_is_that_of_torch(monkeypatch):
    """Scores without a bound: scaled dot-product attention, of nodes to atoms and back."""
    monkeypatch.setattr(virtual_nodes, "SCORE_BOUND", 300.0)
    torch.manual_seed(0)
    relay = virtual_nodes.Relay(6, 8, nodes=3, heads=2).double()
    scalars, states = torch.randn(7, 6).double(), torch.randn(2, 3, 8).double()
    index = torch.tensor([0, 0, 0, 0, 0, 1, 1])

    def attention(query, key, value):
        split = [x.unflatten(-1, (2, -1)).transpose(0, 1) for x in (query, key, value)]
        return torch.nn.functional.scaled_dot_product_attention(*split).transpose(0, 1).flatten(1)

    shares = relay._attention(scalars, states, index)
    gathered = relay._gather(shares, 1.0, scalars, index, 2)
    relayed = relay._relay(scalars, states, index, 1.0)
    for graph, atoms in enumerate((slice(0, 5), slice(5, 7))):
        h, v = scalars[atoms], states[graph]
        expected = attention(relay.gather_query(v), relay.gather_key(h), relay.gather_value(h))
        torch.testing.assert_close(gathered[graph], expected, rtol=1e-4, atol=1e-4)
        expected = attention(relay.relay_query(h), relay.relay_key(v), relay.relay_value(v))
        torch.testing.assert_close(relayed[atoms], expected, rtol=1e-4, atol=1e-4)


def test_large_scores_stay_finite():
    relay = virtual_nodes.Relay(4, 4, nodes=2, heads=1)
    large, index = torch.full((3, 4), 1e4), torch.zeros(3).long()
    scalars, states = relay(large, torch.full((2, 2, 4), 1e4), index, torch.zeros(3, 3))
    assert bool(scalars.isfinite().all())
    # The second structure has no atoms.
    assert bool(states.isfinite().all())


@given(seed=st.integers(0, 2**16))
def test_virtual_nodes_with_places(seed):
    """Smooth and symmetric in open structures, where a lone atom sits on its nodes."""
    model = model_of("virtual_nodes", places=True)
    atoms = structures.molecule(ELEMENTS, seed, minimum_distance=1.1)
    for check in (testing.check_rotation, testing.check_reflection, testing.check_permutation):
        check(model, atoms, seed=seed)
    testing.check_translation(model, atoms, seed=seed)
    testing.check_forces(model, atoms, directions=2, seed=seed)
    testing.check_second_derivatives(model, atoms[:3], seed=seed)
    testing.check_second_derivatives(model, atoms[:1], seed=seed)
    testing.check_batch(model, [atoms, atoms[:1], atoms[:2]])


def test_places_know_distances_and_refuse_lattices():
    with_places = model_of("virtual_nodes", places=True)
    near, far = interaction(with_places, 8.0), interaction(with_places, 12.0)
    assert abs(near - far) > 1e-7
    without = model_of("virtual_nodes")
    assert interaction(without, 8.0) == pytest.approx(interaction(without, 12.0), abs=1e-10)
    molecule, crystal = structures.molecule(ELEMENTS, 1), structures.crystal(ELEMENTS, 1)
    with pytest.raises(muse_lr.InputError, match=r"structure 1 is periodic.*places: false"):
        energies(with_places, molecule, crystal)
    testing.check_parameters_receive_gradients(
        with_places, [molecule, structures.molecule(ELEMENTS, 2)], labels=["energy", "forces"]
    )


@pytest.mark.parametrize("kind", KINDS)
def test_single_precision_is_close_to_double(kind):
    model = model_of(kind)
    listed = [
        structures.molecule(ELEMENTS, 1),
        structures.crystal(ELEMENTS, 2, outside=True),
        structures.slab(ELEMENTS, 3, open_axis=1),
    ]
    double = energies(model, *listed)
    single = energies(model.to(torch.float32), *listed)
    np.testing.assert_allclose(single, double, atol=2e-4)


@pytest.mark.parametrize("kind", KINDS)
def test_tensors_pass_through_and_features_reach_the_charges(kind):
    configuration = {
        "elements": ["H", "O"],
        "backbone": {"kind": "painn", "cutoff": 3.5, "channels": 6, "layers": 1},
        "multiscale": {"kind": kind},
        "charges": {"kind": "latent", "l_max": 1},
    }
    model = muse_lr.build_model(configuration)
    assert model.multiscale.features == model.backbone.features
    assert model.multiscale.cutoff == 0.0
    water = Atoms("OH2", [[0, 0, 0], [0.96, 0, 0], [-0.24, 0.93, 0]])
    output = model(muse_lr.AtomsBatch.from_ase([water], cutoff=model.cutoff), ("forces",))
    assert list(output.energy_parts) == ["e0", "backbone", "multiscale", "coulomb"]
    assert set(output.features.tensors) == {1}
    assert output.levels == ()
