"""The map behind induced multipoles: closed forms, the catastrophe, every derivative."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from ase import Atoms
from scipy.special import erf

import muse_lr
from charge_systems import FFF, SLABS, TTT, random_structure
from muse_lr.charges.base import ChargesContext
from muse_lr.charges.equilibration import EquilibratedCharges, EquilibrationConfig
from muse_lr.charges.induction_models import self_consistent
from muse_lr.charges.nonlinearity import Nonlinearity
from muse_lr.charges.polarization import (
    PolarizationMap,
    Response,
    largest_susceptibilities,
    tensors_of,
)
from muse_lr.charges.solve.anderson import Iteration
from muse_lr.density import ChargeDensity
from muse_lr.electrostatics.ewald.open_sum import open_energy
from muse_lr.electrostatics.ewald.reference import ReferenceSolver
from muse_lr.electrostatics.fields import uniform_field
from muse_lr.structures.geometry import strained_geometry
from muse_lr.structures.graph import FeatureSize
from muse_lr.units import COULOMB_CONSTANT

pytestmark = pytest.mark.usefixtures("float64")
K = COULOMB_CONSTANT
#: A softness that leaves charges alone, e^2/eV.
HARD = 1e-13


class System:
    """Structures whose response is set by hand."""

    def __init__(self, structures, l_max, width=0.7, channels=1, accuracy=1e-10, seed=0):
        self.solver = ReferenceSolver((width,), accuracy, 5.0)
        cutoff = max(self.solver.ewald.cutoff, 1.0)
        self.batch = muse_lr.AtomsBatch.from_ase(structures, cutoff=cutoff)
        count = len(self.batch.positions)
        self.width = torch.full((count,), width)
        rng = np.random.default_rng(seed)
        components = (l_max + 1) ** 2
        self.reference = torch.from_numpy(rng.normal(size=(count, components, channels)) * 0.3)
        self.susceptibility = torch.full((count, l_max + 1, channels), HARD)
        if width > 0:
            share = torch.from_numpy(rng.uniform(0.1, 0.7, size=(count, l_max + 1, channels)))
            largest = largest_susceptibilities(self.width, l_max)
            self.susceptibility = share * largest[:, :, None] / channels
        self.totals = torch.zeros(len(structures), channels)
        self.l_max = l_max

    def parts(self, reference=None, susceptibility=None, positions=None, strain=None, field=None):
        positions = self.batch.positions if positions is None else positions
        geometry = strained_geometry(self.batch, positions, strain)
        if field is not None:
            geometry = replace(geometry, field=field)
        reference = self.reference if reference is None else reference
        density = ChargeDensity(
            reference.sum(2), self.width, geometry.graph_index, geometry.num_graphs
        )
        external = uniform_field(density, geometry, self.l_max).moments
        susceptibility = self.susceptibility if susceptibility is None else susceptibility
        response = Response(reference, susceptibility, external)
        polarize = PolarizationMap(geometry, self.width, self.solver, self.totals)
        return polarize, response, geometry

    def solve(self, *args, tolerance=1e-12, limit=200, mixing=0.3, **kwargs):
        polarize, response, geometry = self.parts(*args, **kwargs)
        index, count = geometry.graph_index, geometry.num_graphs
        options = Iteration(index, count, mixing, tolerance, limit)
        return self_consistent(polarize, response, geometry, options)


def pair(distance, alpha, width, field, count=2):
    """Atoms of one polarizability (A^3) on the z axis in a field, without charges."""
    atoms = Atoms("H" * count, [[0, 0, distance * i] for i in range(count)])
    atoms.info["electric_field"] = field
    system = System([atoms], 1, width)
    system.reference[:] = 0
    system.susceptibility[:, 0], system.susceptibility[:, 1] = HARD, alpha / K
    return system


def tensor_of_gaussians(distance, width):
    """Field along and across, per dipole at the other atom, from the derivatives of erf(r/2s)/r."""
    a = distance / (2 * width) if width else np.inf
    gauss = np.exp(-(a**2)) / np.sqrt(np.pi) if width else 0.0
    third = erf(a) - (2 * a * gauss if width else 0)
    fifth = third - (4 / 3 * a**3 * gauss if width else 0)
    return K * (3 * fifth - third) / distance**3, -K * third / distance**3


@pytest.mark.parametrize("width", [0.0, 0.6])
@pytest.mark.parametrize("direction", ["along", "across"])
def test_two_polarizable_atoms_in_a_field(width, direction):
    alpha, distance, strength = 1.2, 2.1, 0.3
    axis = [0, 0, strength] if direction == "along" else [strength, 0, 0]
    moments = pair(distance, alpha, width, axis).solve()[:, :, 0]
    along, across = tensor_of_gaussians(distance, width)
    coupling = along if direction == "along" else across
    dipole = alpha / K * strength / (1 - alpha / K * coupling)
    component = 2 if direction == "along" else 3
    expected = torch.zeros(2, 4)
    expected[:, component] = dipole
    torch.testing.assert_close(moments, expected, rtol=1e-10, atol=1e-12)


def test_a_few_steps_are_the_cut_series():
    alpha, strength = 1.2, 0.3
    system = pair(2.1, alpha, 0.6, [0, 0, strength])
    polarize, response, geometry = system.parts()
    moments = polarize.at_rest(response)
    along, _ = tensor_of_gaussians(2.1, 0.6)
    for steps in range(1, 5):
        moments = polarize(moments, *tensors_of(response, geometry))
        series = sum((alpha / K * along) ** n for n in range(steps))
        assert float(moments[0, 2, 0]) == pytest.approx(alpha / K * strength * series, rel=1e-12)


def test_the_catastrophe_of_points_is_reported():
    alpha = 1.2
    catastrophe = (4 * alpha**2) ** (1 / 6)
    field = [0, 0, 0.1]
    near = pair(1.01 * catastrophe, alpha, 0.0, field).solve()
    assert float(near[0, 2, 0]) > 10 * alpha / K * 0.1
    for ratio in (0.6, 0.9, 0.99):
        with pytest.raises(muse_lr.InputError, match=r"structure 0.*polarization catastrophe"):
            pair(ratio * catastrophe, alpha, 0.0, field).solve()
    with pytest.raises(muse_lr.InputError, match=r"structure 0.*polarization catastrophe"):
        pair(catastrophe, alpha, 0.0, field).solve()


def test_gaussians_have_the_catastrophe_of_their_own_tensor():
    width = 0.6
    limit = K * float(largest_susceptibilities(torch.tensor([width]), 1)[0, 1])
    assert limit == pytest.approx(6 * np.sqrt(np.pi) * width**3)
    apart = np.geomspace(0.02, 6, 30)
    largest = max(max(np.abs(tensor_of_gaussians(d, width))) for d in apart)
    assert 0.99 < limit / K * largest < 1
    for distance in apart:  # no distance is dangerous below the limit
        system = pair(distance, 0.95 * limit, width, [0.1, 0, 0.1])
        system.reference[0, 1:] = 0.2
        assert bool(torch.isfinite(system.solve()).all())
    system = pair(0.1, 1.3 * limit, width, [0, 0, 0])
    system.reference[0, 1:] = 0.2
    with pytest.raises(muse_lr.InputError, match="polarization catastrophe"):
        system.solve()


@pytest.mark.parametrize("pbc", [FFF, TTT, SLABS[2]], ids=str)
def test_soft_charges_are_equilibrated_charges(pbc):
    atoms = random_structure(4, pbc, seed=1)
    system = System([atoms], 0)
    system.totals[:] = 1.0
    field = torch.tensor([[0.0, 0.0, 0.2]]) if pbc == FFF else None
    charges = system.solve(field=field)[:, 0, 0]
    config = EquilibrationConfig(width=0.7, accuracy=1e-10)
    qeq = EquilibratedCharges(config, ChargesContext(("H",), FeatureSize(4, {}), 5.0))
    inverse = 1 / system.susceptibility[:, 0, 0]
    geometry = system.parts(field=field)[2]
    expected, _ = qeq.equilibrate(
        -system.reference[:, 0, 0] * inverse,
        inverse - K / (np.sqrt(np.pi) * 0.7),
        system.width,
        geometry,
        system.totals[:, 0],
    )
    torch.testing.assert_close(charges, expected, rtol=0, atol=1e-10)


@pytest.mark.parametrize(("l_max", "bent"), [(0, 0), (1, 0), (2, 0), (1, 1), (2, 1)])
def test_the_energy_is_stationary(l_max, bent):
    """In the multipoles, and for a nonlinear response in those that create the field, too."""
    system = System([random_structure(4, FFF, seed=2)], l_max)
    system.totals[:] = 1.0
    field = torch.tensor([[0.1, -0.2, 0.3]])
    polarize, response, geometry = system.parts(field=field)
    if bent:
        response = replace(response, susceptibility=response.susceptibility / 2)
        bent = Nonlinearity(torch.full((4, 1, 1), 0.9), torch.full((4, 1, l_max), 2.0))
        response = replace(response, nonlinearity=bent)
    options = Iteration(geometry.graph_index, 1, 0.3, 1e-12, 200)
    moments = self_consistent(polarize, response, geometry, options).detach()
    moments, sources = moments.requires_grad_(True), moments.clone().requires_grad_(True)
    density = ChargeDensity(moments.sum(2), system.width, geometry.graph_index, 1)
    work = polarize.work(response, moments, sources)
    if bent:
        (by_sources,) = torch.autograd.grad(work.sum(), sources, retain_graph=True)
        assert float(by_sources.abs().max()) < 1e-9
    energy = open_energy(density, geometry) + work
    energy = energy - (density.dipole(geometry.positions) * field).sum(1)
    (slope,) = torch.autograd.grad(energy.sum(), moments)
    chemical_potential = slope[:, 0].mean()
    torch.testing.assert_close(slope[:, 0], chemical_potential.expand(4, 1), rtol=0, atol=1e-9)
    assert float(slope[:, 1:].abs().max() if l_max else 0.0) < 1e-9


MIXED = [random_structure(2, FFF, seed=3), random_structure(2, TTT, seed=4), Atoms("H")]


@pytest.mark.parametrize(("l_max", "channels"), [(0, 1), (1, 2), (2, 1)])
def test_every_derivative(l_max, channels):
    system = System(MIXED, l_max, channels=channels, accuracy=1e-6)
    system.susceptibility *= 0.5
    system.totals[1] = 1.0
    field = torch.zeros(3, 3)
    field[0] = torch.tensor([0.1, 0.2, 0.3])
    inputs = (system.reference, system.susceptibility, system.batch.positions.clone())
    inputs = (*inputs, torch.zeros(3, 3, 3), field)
    inputs = tuple(tensor.clone().requires_grad_(True) for tensor in inputs)

    def moments(reference, susceptibility, positions, strain, field):
        return system.solve(reference, susceptibility, positions, strain, field, tolerance=1e-13)

    # Iterations end where round-off lets them.
    options = {"eps": 1e-5, "atol": 2e-6, "rtol": 1e-5, "fast_mode": True, "nondet_tol": 1e-9}
    assert torch.autograd.gradcheck(moments, inputs, **options)
    assert torch.autograd.gradgradcheck(moments, inputs, **options)


def nonlinear(system, weights):
    """The response of a system with a nonlinearity of three terms."""
    polarize, response, geometry = system.parts()
    strength, scale = weights
    nonlinearity = Nonlinearity(torch.tanh(strength), torch.nn.functional.softplus(scale))
    return polarize, replace(response, nonlinearity=nonlinearity), geometry


@pytest.mark.parametrize("l_max", [1, 2])
def test_every_derivative_of_a_nonlinear_response(l_max):
    system = System(MIXED, l_max, accuracy=1e-6)
    system.susceptibility *= 0.5
    rng = np.random.default_rng(1)
    shapes = ((len(system.width), 3, 1), (len(system.width), 3, l_max))
    weights = tuple(torch.from_numpy(rng.normal(size=shape)) for shape in shapes)
    weights = tuple(weight.requires_grad_(True) for weight in weights)
    options = Iteration(system.batch.batch, len(MIXED), 0.3, 1e-13, 200)

    def moments(*weights):
        return self_consistent(*nonlinear(system, weights), options)

    found = moments(*weights).detach()
    assert float((found - system.solve()).abs().max()) > 1e-3
    checks = {"eps": 1e-5, "atol": 2e-6, "rtol": 1e-5, "fast_mode": True, "nondet_tol": 1e-9}
    assert torch.autograd.gradcheck(moments, weights, **checks)
    assert torch.autograd.gradgradcheck(moments, weights, **checks)


def test_a_batch_is_its_structures_one_by_one():
    together = System(MIXED, 1)
    moments = together.solve()
    for graph, atoms in enumerate(MIXED):
        rows = together.batch.batch == graph
        alone = System([atoms], 1)
        alone.reference = together.reference[rows]
        alone.susceptibility = together.susceptibility[rows]
        torch.testing.assert_close(moments[rows], alone.solve(), rtol=1e-11, atol=1e-12)


def test_both_spins_keep_their_totals():
    system = System([random_structure(4, TTT, seed=5)], 1, channels=2)
    system.totals[:] = torch.tensor([[1.5, -0.5]])
    moments = system.solve()
    torch.testing.assert_close(moments[:, 0].sum(0), system.totals[0])
