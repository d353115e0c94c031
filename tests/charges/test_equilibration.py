"""Charge equilibration against dense solves, closed forms and mlipops."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from ase import Atoms
from scipy.special import erf

import muse_lr
from charge_systems import FFF, SLABS, TTT, random_structure
from helpers import painn_section, random_model
from muse_lr import testing
from muse_lr.charges.base import ChargesContext
from muse_lr.charges.equilibration import EquilibratedCharges, EquilibrationConfig
from muse_lr.charges.solve import interaction
from muse_lr.charges.solve.conjugate_gradients import ScreenedPreconditioner, conjugate_gradients
from muse_lr.density import ChargeDensity
from muse_lr.electrostatics import dispatch
from muse_lr.electrostatics.base import EVERY_DERIVATIVE
from muse_lr.electrostatics.dispatch import Electrostatics
from muse_lr.electrostatics.ewald.reciprocal_space import ReciprocalSpace
from muse_lr.electrostatics.operators.charge_matrix import charge_matrix
from muse_lr.electrostatics.operators.charge_operator import LatticeOperator, MoleculeOperator
from muse_lr.structures.geometry import strained_geometry
from muse_lr.structures.graph import FeatureSize
from muse_lr.units import COULOMB_CONSTANT

pytestmark = pytest.mark.usefixtures("float64")
K = COULOMB_CONSTANT
WIDTHS = {"H": 0.5, "O": 0.8}


class Problem:
    """Structures with random electronegativities and hardnesses, and the charges they give."""

    def __init__(self, structures, widths=WIDTHS, totals=None, accuracy=1e-10, seed=0):
        elements = tuple(widths)
        config = EquilibrationConfig(width=dict(widths), accuracy=accuracy)
        context = ChargesContext(elements, FeatureSize(4, {}), 5.0)
        self.model = EquilibratedCharges(config, context)
        self.structures = structures
        self.batch = muse_lr.AtomsBatch.from_ase(structures, cutoff=max(self.model.cutoff, 1.0))
        rng = np.random.default_rng(seed)
        count = len(self.batch.positions)
        self.chi = torch.from_numpy(rng.normal(size=count) * 3)
        self.hardness = torch.from_numpy(rng.uniform(2, 9, size=count))
        symbols = [symbol for atoms in structures for symbol in atoms.symbols]
        self.width = torch.tensor([widths[symbol] for symbol in symbols])
        self.totals = torch.tensor(totals or [0.0] * len(structures))

    def geometry(self, positions=None, strain=None):
        positions = self.batch.positions if positions is None else positions
        return strained_geometry(self.batch, positions, strain)

    def charges(self, chi=None, hardness=None, positions=None, strain=None, field=None):
        geometry = self.geometry(positions, strain)
        if field is not None:
            geometry = replace(geometry, field=field)
        chi = self.chi if chi is None else chi
        hardness = self.hardness if hardness is None else hardness
        return self.model.equilibrate(chi, hardness, self.width, geometry, self.totals)[0]


def with_oxygen(atoms):
    atoms.symbols[::2] = "O"
    return atoms


def structure(n_atoms, pbc, seed):
    return with_oxygen(random_structure(n_atoms, pbc, seed=seed))


def bordered_solution(matrix, chi, total):
    """The minimum by numpy."""
    n = len(chi)
    bordered = np.zeros((n + 1, n + 1))
    bordered[:n, :n] = matrix
    bordered[:n, n] = bordered[n, :n] = 1
    return np.linalg.solve(bordered, np.append(-chi, total))[:n]


def self_energy(width):
    return K / (np.sqrt(np.pi) * width)


@pytest.mark.parametrize("total", [0.0, 1.0, -2.0])
def test_open_charges_are_those_of_a_dense_solve(total):
    problem = Problem([structure(7, FFF, 1)], totals=[total])
    r, s = problem.batch.positions.numpy(), problem.width.numpy()
    distance = np.linalg.norm(r[:, None] - r[None], axis=-1) + np.eye(7)
    spread = np.sqrt(2 * (s[:, None] ** 2 + s[None] ** 2))
    matrix = K * erf(distance / spread) / distance
    np.fill_diagonal(matrix, problem.hardness.numpy() + self_energy(s))
    expected = bordered_solution(matrix, problem.chi.numpy(), total)
    np.testing.assert_allclose(problem.charges(), expected, rtol=0, atol=1e-10)


@pytest.mark.parametrize("pbc", [TTT, *SLABS], ids=str)
@pytest.mark.parametrize("total", [0.0, 1.0])
def test_periodic_charges_are_those_of_a_dense_solve(pbc, total):
    problem = Problem([structure(4, pbc, 2)], totals=[total])
    geometry = problem.geometry()

    def energy(charges):
        density = ChargeDensity(charges[:, None], problem.width, geometry.graph_index, 1)
        solver = problem.model.electrostatics
        return float(solver.energy(density, geometry, EVERY_DERIVATIVE))

    unit = torch.eye(4)
    matrix = np.array([[energy(a + b) - energy(a) - energy(b) for a in unit] for b in unit])
    own = problem.hardness.numpy() + self_energy(problem.width.numpy())
    expected = bordered_solution(matrix + np.diag(own), problem.chi.numpy(), total)
    np.testing.assert_allclose(problem.charges(), expected, rtol=0, atol=1e-10)


@pytest.mark.parametrize("total", [0.0, 1.0])
def test_two_atoms(total):
    problem = Problem([Atoms("HO", [[0, 0, 0], [0, 0.9, 1.2]])], totals=[total])
    (a, b), (stiff, soft) = problem.chi.tolist(), problem.hardness.tolist()
    stiff, soft = stiff + self_energy(0.5), soft + self_energy(0.8)
    gamma = K * erf(1.5 / np.sqrt(2 * (0.5**2 + 0.8**2))) / 1.5
    first = (b - a + total * (soft - gamma)) / (stiff + soft - 2 * gamma)
    np.testing.assert_allclose(problem.charges(), [first, total - first], rtol=1e-12)


def test_three_equal_atoms_in_a_triangle():
    positions = 1.3 * np.array([[0, 0, 0], [1, 0, 0], [0.5, np.sqrt(0.75), 0]])
    problem = Problem([Atoms("H3", positions)], totals=[1.0])
    problem.hardness[:] = 4.0
    gamma = K * erf(1.3 / (2 * 0.5)) / 1.3
    chi = problem.chi
    expected = (chi.mean() - chi) / (4 + self_energy(0.5) - gamma) + 1 / 3
    torch.testing.assert_close(problem.charges(), expected, rtol=1e-12, atol=0)


def test_a_conducting_pair_in_a_field():
    pair = Atoms("H2", [[0, 0, 0], [3.0, 0, 0]])
    problem = Problem([pair])
    problem.chi[:], problem.hardness[:] = 0.7, 3.0
    gamma = K * erf(3.0 / (2 * 0.5)) / 3.0
    moved = 0.2 * 3.0 / 2 / (3.0 + self_energy(0.5) - gamma)
    charges = problem.charges(field=torch.tensor([[0.2, 0.4, 0.0]]))
    np.testing.assert_allclose(charges, [-moved, moved], rtol=1e-12)


def test_the_polarizability_is_the_derivative_by_the_field():
    problem = Problem([structure(5, FFF, 3)])

    def dipole(field):
        return problem.charges(field=field) @ problem.batch.positions

    polarizability = torch.autograd.functional.jacobian(dipole, torch.zeros(1, 3))[:, 0]
    torch.testing.assert_close(polarizability, polarizability.T)
    assert float(torch.linalg.eigvalsh(polarizability)[-1]) > 0.05


def test_charges_agree_with_mlipops():
    mlipops = pytest.importorskip("mlipops", reason="mlipops is not installed (extra peers)")
    atoms = structure(6, FFF, 4)
    problem = Problem([atoms], totals=[1.0])
    theirs = mlipops.ChargeEquilibration(mlipops.CoulombNC(None, 1.0))
    width = problem.width.float()
    found = theirs(
        problem.batch.positions.float(),
        (problem.chi / K).float(),
        (problem.hardness / K).float(),
        width * 2**0.5,
        total_charge=1.0,
    )
    np.testing.assert_allclose(problem.charges(), found, atol=2e-5)


MIXED = [structure(3, FFF, 5), structure(4, TTT, 6), structure(2, SLABS[1], 7), Atoms("H")]


def test_a_batch_of_mixed_boundaries_is_its_structures_one_by_one():
    together = Problem(MIXED, totals=[0.0, 1.0, -1.0, 1.0])
    charges = together.charges()
    for graph, atoms in enumerate(MIXED):
        rows = together.batch.batch == graph
        alone = Problem([atoms], totals=[float(together.totals[graph])])
        alone.chi, alone.hardness = together.chi[rows], together.hardness[rows]
        torch.testing.assert_close(charges[rows], alone.charges(), rtol=1e-12, atol=1e-14)
        assert float(charges[rows].sum()) == pytest.approx(float(together.totals[graph]), abs=1e-13)


@pytest.mark.parametrize("hardness", [0.5, 10.0])
def test_the_preconditioner_is_symmetric_and_positive_definite(hardness):
    problem = Problem([structure(6, TTT, 3), structure(3, FFF, 5)])
    everything = torch.ones(2, dtype=torch.bool)
    diagonal = problem.hardness + hardness
    screened = ScreenedPreconditioner(diagonal, problem.width, problem.geometry(), everything)
    matrix = torch.stack([screened(unit) for unit in torch.eye(9)])
    torch.testing.assert_close(matrix, matrix.T)
    assert float(torch.linalg.eigvalsh(matrix * diagonal.outer(diagonal).sqrt())[0]) > 0.04
    assert float((matrix - torch.diag(1 / diagonal)).abs().max()) > 1e-3


def test_the_strips_of_a_large_molecule_are_its_matrix():
    rng = np.random.default_rng(0)
    atoms = Atoms("HO" * 75, rng.permutation(np.mgrid[:6, :6, :5].reshape(3, -1).T)[:150] * 3.0)
    problem = Problem([atoms])
    geometry = problem.geometry()
    operator = MoleculeOperator(problem.width, geometry.positions)
    everything = torch.ones(1, dtype=torch.bool)
    matrix = charge_matrix(problem.width, geometry, everything, problem.model.solver)[0]
    torch.testing.assert_close(operator.upper().triu(), matrix.triu(), rtol=1e-13, atol=0)
    torch.testing.assert_close(operator(problem.chi), matrix @ problem.chi)


@pytest.mark.parametrize("pbc", [TTT, SLABS[1]], ids=str)
@pytest.mark.parametrize("widths", [{"H": 0.5, "O": 0.8}, {"H": 0.6, "O": 0.6}], ids=str)
def test_the_potential_on_a_mesh_is_the_derivative_of_its_energy(pbc, widths):
    problem = Problem([structure(3, FFF, 5), structure(5, pbc, 8)], widths, accuracy=1e-6)
    geometry, mesh = problem.geometry(), problem.model.mesh
    operator = LatticeOperator(problem.width, geometry, 1, mesh)
    charges = problem.chi.clone().requires_grad_(True)
    density = ChargeDensity(charges[:, None], problem.width, geometry.graph_index, 2)
    energy = mesh.energy(density, geometry, torch.tensor([False, True])).sum()
    (expected,) = torch.autograd.grad(energy, charges)
    torch.testing.assert_close(operator(problem.chi[3:]), expected[3:], rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize("direct", [True, False], ids=["direct", "iterative"])
def test_every_derivative_of_the_charges(direct, monkeypatch):
    if not direct:
        monkeypatch.setattr(interaction, "DIRECT_SIZE", 0)
        monkeypatch.setattr(dispatch, "MESH_SIZE", 0)
        monkeypatch.setattr(interaction, "TOLERANCE", 1e-12)
    problem = Problem(
        [structure(2, FFF, 5), structure(2, TTT, 6), structure(2, SLABS[1], 7)],
        totals=[0.0, 1.0, -1.0],
        accuracy=1e-6,
    )
    field = torch.zeros(3, 3)
    field[0] = torch.tensor([0.1, 0.2, 0.3])
    inputs = (problem.chi, problem.hardness, problem.batch.positions.clone())
    inputs = (*inputs, torch.zeros(3, 3, 3), field)
    inputs = tuple(tensor.requires_grad_(True) for tensor in inputs)
    options = {"eps": 1e-5, "atol": 1e-6, "rtol": 1e-5, "fast_mode": True}
    assert torch.autograd.gradcheck(problem.charges, inputs, **options)
    assert torch.autograd.gradgradcheck(problem.charges, inputs, **options)


@pytest.mark.parametrize("accuracy", [1e-8, 1e-10], ids=["mesh", "energies"])
def test_large_structures_are_iterated_to_the_same_charges(accuracy, monkeypatch):
    problem = Problem(MIXED, totals=[0.0, 1.0, -1.0, 1.0], accuracy=accuracy)
    direct = problem.charges()
    monkeypatch.setattr(interaction, "DIRECT_SIZE", 0)
    monkeypatch.setattr(dispatch, "MESH_SIZE", 0)
    torch.testing.assert_close(problem.charges(), direct, rtol=0, atol=accuracy)
    monkeypatch.setattr(interaction, "DIRECT_SIZE", 4)  # some of both
    torch.testing.assert_close(problem.charges(), direct, rtol=0, atol=accuracy)


def iterate(diagonal, limit=50):
    matrix = torch.diag(torch.tensor(diagonal)) + 0.2
    count = len(diagonal)
    graphs = torch.zeros(count, dtype=torch.int64)
    force = torch.arange(count, dtype=torch.float64)
    return conjugate_gradients(
        lambda x: matrix @ x, lambda x: x, force, torch.zeros(1), graphs, 1e-10, limit
    )


def test_energies_without_a_minimum_are_refused():
    assert iterate([1.0, 2.0, 3.0])[1] <= 3
    with pytest.raises(muse_lr.InputError, match="structure 0: the energy of the charges has no"):
        iterate([1.0, -2.0, 0.5])
    with pytest.raises(muse_lr.InputError, match="did not converge in 1 iterations"):
        iterate([1.0, 2.0, 3.0], limit=1)


def model_of(**charges):
    """A model with its initial weights."""
    heads = {"coulomb": {"kind": "coulomb"}, "field": {"kind": "external_field"}}
    charges = {"kind": "qeq", **charges}
    section = painn_section(["Na", "Cl"], 4.0, charges=charges, heads=heads)
    return random_model(section, weights=None)


def test_the_energy_of_the_model_is_stationary_in_the_charges():
    model = model_of()
    atoms = testing.structures.molecule(["Na", "Cl", "Cl"], 3, minimum_distance=2.0)
    atoms.info["electric_field"] = [0.1, 0.0, -0.2]
    batch = muse_lr.AtomsBatch.from_ase([atoms], cutoff=model.cutoff)
    charges = {}

    def energy(change):
        def changed(module, inputs, density):
            features, composition = inputs[0].features, inputs[0].composition
            moments = density.moments + change[:, None]
            chi, hardness = module.parameters_of(features, composition)
            own = hardness + self_energy(1.0)
            cost = (chi * moments[:, 0] + own * moments[:, 0] ** 2 / 2).sum()[None]
            charges["now"] = moments[:, 0].detach()
            return replace(density, moments=moments, energy=cost)

        handle = model.charges.register_forward_hook(changed)
        try:
            return model(batch).energy[0]
        finally:
            handle.remove()

    zero = torch.zeros(3, requires_grad=True)
    (slope,) = torch.autograd.grad(energy(zero), zero)
    torch.testing.assert_close(slope, slope.mean().expand(3), rtol=0, atol=1e-10)
    assert float(charges["now"][0]) > 0.1
    start = float(energy(torch.zeros(3)).detach())
    for change in ([0.1, -0.1, 0.0], [0.0, 0.1, -0.1]):
        assert float(energy(torch.tensor(change)).detach()) > start + 1e-3


def test_electropositive_elements_start_positive():
    batch = muse_lr.AtomsBatch.from_ase(
        [Atoms("NaCl", [[0, 0, 0], [2.4, 0, 0]])], cutoff=model_of().cutoff
    )
    charges = model_of()(batch, compute=("charges",)).charges
    assert 0.2 < float(charges[0].detach()) < 0.9


def test_points_are_refused():
    with pytest.raises(muse_lr.InputError, match=r"qeq.*needs Gaussians"):
        model_of(width={"Na": 1.0, "Cl": 0.0})


def test_a_field_along_a_periodic_direction_is_refused():
    model = model_of()
    crystal = Atoms("Na", cell=[4, 4, 4], pbc=True, info={"electric_field": [0, 0, 0.1]})
    with pytest.raises(muse_lr.InputError, match="along a periodic direction"):
        model(muse_lr.AtomsBatch.from_ase([crystal], cutoff=model.cutoff))


def test_the_electrostatics_are_those_of_the_head():
    model = model_of(accuracy=1e-6)
    head = model.heads["coulomb"].electrostatics
    assert isinstance(head, Electrostatics)
    assert model.charges.electrostatics.ewald == head.ewald == model.charges.solver.ewald


def test_waves_whose_window_ends_in_round_off_are_left_out(monkeypatch):
    problem = Problem([structure(2, TTT, 6), structure(2, SLABS[1], 7)], accuracy=1e-6)
    expected, weights = problem.charges(), ReciprocalSpace.weights

    def rounded(space, splitting):
        values = weights(space, splitting)
        return torch.where(values > 0, values, -1e-32)

    monkeypatch.setattr(ReciprocalSpace, "weights", rounded)
    torch.testing.assert_close(problem.charges(), expected)
