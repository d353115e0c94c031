"""The projected potential and the energy that reads it, against quadrature and featomic."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from ase import Atoms
from numpy.polynomial.hermite import hermgauss
from scipy.special import erf, gammainc

import muse_lr
from charge_systems import FFF, SLABS, TTT, System, random_structure
from helpers import evaluate, painn_section, random_model
from muse_lr import testing
from muse_lr.electrostatics.ewald.reference import ReferenceSolver
from muse_lr.electrostatics.fields import fields_at_atoms
from muse_lr.electrostatics.kernels import pair_interaction
from muse_lr.heads.field_features.power_kernel import SmearedPower
from muse_lr.heads.field_features.projection import ProjectedPotential
from muse_lr.math.harmonics import solid_harmonics
from muse_lr.math.multipoles import to_cartesian
from muse_lr.structures.geometry import strained_geometry
from muse_lr.units import COULOMB_CONSTANT

WIDTHS = (1.5, 3.0)
#: Boundaries with the structures that have them.
BOUNDARIES = {"FFF": FFF, "TTF": SLABS[1], "TTT": TTT}


def project(system, source_widths, widths=WIDTHS, l_max=2, accuracy=1e-12, exponent=1):
    """(n, n_widths, (l_max + 1)^2); atoms take the source widths in turn, as System does."""
    geometry = strained_geometry(system.batch, system.positions, system.no_strain)
    element = torch.arange(len(system.positions)) % len(source_widths)
    composition = torch.nn.functional.one_hot(element, len(source_widths)).double()
    projection = ProjectedPotential(widths, source_widths, l_max, accuracy, exponent)
    return projection(system.density(), geometry, composition).detach()


def smeared(distance, width, exponent):
    """The potential of a unit source: 1/r^p far away, smeared within its width."""
    if exponent == 1:
        return erf(distance / (np.sqrt(2) * width)) / distance
    return gammainc(3, distance**2 / (2 * width**2)) / distance**6


def quadrature(potential, width, order, exponent, points=64):
    """sigma^(l + p) int V(r) phi_lm(r) dr by Gauss-Hermite rules; V of (p, 3) points."""
    nodes, weights = hermgauss(points)
    grid = np.stack(np.meshgrid(nodes, nodes, nodes, indexing="ij"), -1).reshape(-1, 3)
    grid *= np.sqrt(2) * width
    weight = np.einsum("i,j,k->ijk", weights, weights, weights).ravel() / np.pi**1.5
    harmonics = solid_harmonics(order, torch.from_numpy(grid)).numpy()
    # A unit multipole: int phi_lm R_lm = 1, and the square of R_lm has this Gaussian mean.
    norm = (weight[:, None] * harmonics**2).sum(0)
    values = (weight * potential(grid)) @ harmonics / norm
    return width ** (order + exponent) * values


@pytest.mark.parametrize("exponent", [1, 6])
@pytest.mark.parametrize("order", [0, 1, 2])
def test_projections_are_the_integrals_that_define_them(order, exponent):
    """Charges of two widths, their potentials by scipy, integrated on a grid."""
    source_widths = (1.6, 2.0)  # smooth enough for the rule
    system = System([random_structure(4, FFF, seed=1)], 0, source_widths)
    projected = project(system, source_widths, exponent=exponent).numpy()
    r, q = system.positions.numpy(), system.moments[:, 0].numpy()
    sigma = system.width.numpy()
    for i, w in ((0, 0), (1, 1), (3, 0)):

        def potential(grid, i=i):
            total = np.zeros(len(grid))
            for j in range(len(r)):
                if j != i:
                    d = np.linalg.norm(grid + r[i] - r[j], axis=1)
                    total += q[j] * smeared(d, sigma[j], exponent)
            return total

        expected = quadrature(potential, WIDTHS[w], order, exponent)
        found = projected[i, w, order**2 : (order + 1) ** 2]
        np.testing.assert_allclose(found, expected, atol=2e-7)


@pytest.mark.parametrize("boundary", BOUNDARIES)
def test_projections_on_the_sources_widths_give_their_energy(boundary):
    """k sum M u / sigma^(l+1) is twice the energy, which other sums give."""
    system = System([random_structure(4, BOUNDARIES[boundary], seed=2)], 2, (1.1,))
    projected = project(system, (1.1,), (1.1,))[:, 0]
    orders = torch.tensor([0, 1, 1, 1, 2, 2, 2, 2, 2], dtype=torch.float64)
    energy = COULOMB_CONSTANT * (system.moments * projected / 1.1 ** (orders + 1)).sum() / 2
    torch.testing.assert_close(energy, system.energies()[0], rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize("boundary", ["TTF", "TTT"])
def test_unlike_sources_are_projected_as_one(boundary):
    """Against the mixed real- and reciprocal-space sum of the solver for all widths."""
    widths = (0.0, 0.6)
    system = System([random_structure(4, BOUNDARIES[boundary], seed=3)], 1, widths)
    solver = ReferenceSolver((*widths, 1.0), 1e-11, 4.0)
    batch = muse_lr.AtomsBatch.from_ase(system.structures, cutoff=solver.ewald.cutoff)
    geometry = strained_geometry(batch, system.positions, None)
    probe = torch.ones(4, dtype=torch.float64)
    expected = fields_at_atoms(system.density(), geometry, solver, 2, probe).moments
    found = project(system, widths, (1.0,))[:, 0] * COULOMB_CONSTANT
    torch.testing.assert_close(found, expected.detach(), rtol=1e-6, atol=1e-7)


CHARGES = {"H": 0.4, "O": -0.8}
SIGMA, RADIUS = 0.9, 4.5


@pytest.mark.parametrize("exponent", [1, 6])
@pytest.mark.parametrize("order", [0, 1, 2])
def test_projections_are_those_of_featomic(order, exponent):
    """LODE of a crystal, from orthonormal radial functions back to r^l Gaussians."""
    featomic = pytest.importorskip("featomic")
    water = random_structure(6, TTT, seed=4, distance=1.2)
    water.symbols = "H2OH2O"
    radial = featomic.basis.Gto(max_radial=2, radius=RADIUS)
    calculator = featomic.LodeSphericalExpansion(
        density=featomic.density.SmearedPowerLaw(
            smearing=SIGMA, exponent=exponent, center_atom_weight=0.0
        ),
        basis=featomic.basis.TensorProduct(max_angular=2, radial=radial, spline_accuracy=None),
        k_cutoff=9.0,
    )
    expansion = calculator.compute(water)
    # The widths of its Gaussians grow as sqrt(n), and n = l has the right power of r.
    width = np.sqrt(max(order, 1)) * RADIUS / 3
    r = np.linspace(0.0, 9 * width, 500)
    ours = r**order * np.exp(-(r**2) / (2 * width**2))
    theirs = np.asarray(radial.compute(r, derivative=False))
    coefficients, *_ = np.linalg.lstsq(theirs, ours, rcond=None)
    np.testing.assert_allclose(theirs @ coefficients, ours, atol=1e-12)
    expected = np.zeros((6, 2 * order + 1))
    for center in (1, 8):
        for neighbor, symbol in ((1, "H"), (8, "O")):
            block = expansion.block(o3_lambda=order, center_type=center, neighbor_type=neighbor)
            atoms = block.samples["atom"]
            expected[atoms] += CHARGES[symbol] * np.asarray(block.values) @ coefficients
    # phi_lm = C R_lm exp(-r^2 / 2 sigma^2) with int phi_lm R_lm = 1; R_lm of unit mean square
    # times sqrt((2l + 1) / 4 pi) is the orthonormal harmonic.
    dr = r[1] - r[0]
    angular = 4 * np.pi / (2 * order + 1)
    norm = 1 / (angular * (r ** (order + 2) * ours).sum() * dr)
    assert np.abs(expected).max() > 0.01
    expected *= norm * np.sqrt(angular) * width ** (order + exponent)
    system = System([water], 0, (SIGMA,))
    charges = [CHARGES[symbol] for symbol in water.get_chemical_symbols()]
    system.moments = torch.tensor(charges, dtype=torch.float64)[:, None]
    found = project(system, (SIGMA,), (width,), exponent=exponent)[:, 0]
    found = found[:, order**2 : (order + 1) ** 2]
    np.testing.assert_allclose(found, expected, atol=1e-8)


@pytest.mark.parametrize("boundary", ["TTF", "TTT"])
def test_sixth_powers_of_multipoles_are_summed_over_the_lattice(boundary):
    """Against the sum over images within a radius; charges, dipoles and quadrupoles."""
    system = System([random_structure(3, BOUNDARIES[boundary], seed=6)], 2, (0.8,))
    system.moments[:, 0] += 1  # charged
    atoms, cell = system.structures[0], system.structures[0].cell
    found = project(system, (0.8,), exponent=6)
    reach = 40.0 if boundary == "TTT" else 100.0
    counts = [range(-26, 27) if periodic else (0,) for periodic in atoms.pbc]
    images = torch.from_numpy(np.stack(np.meshgrid(*counts), -1).reshape(-1, 3) @ cell.array)
    # What lies beyond, as a continuum of charges.
    beyond = 4 * np.pi / (3 * cell.volume * reach**3)
    if boundary == "TTF":
        beyond = np.pi / (2 * np.linalg.norm(np.cross(cell[0], cell[1])) * reach**4)
    for i, width in ((0, 1.5), (1, 3.0)):
        expected = torch.zeros(9, dtype=torch.float64)
        expected[0] = system.moments[:, 0].sum() * beyond
        for j in range(3):
            vector = system.positions[i] - system.positions[j] - images
            distance = torch.linalg.vector_norm(vector, dim=1)
            vector = vector[(distance > 1e-6) & (distance < reach)]
            probe = torch.zeros((len(vector), 9), dtype=torch.float64).requires_grad_(True)
            source = to_cartesian(system.moments[j].expand(len(vector), 9))
            radial = SmearedPower(width, 0.8).radial(vector.square().sum(1), 4)
            energy = pair_interaction(to_cartesian(probe), source, vector, radial).sum()
            expected += torch.autograd.grad(energy, probe)[0].sum(0)
        orders = torch.tensor([0, 1, 1, 1, 2, 2, 2, 2, 2])
        expected *= width ** (orders + 6.0)
        torch.testing.assert_close(found[i, WIDTHS.index(width)], expected, rtol=1e-5, atol=1e-5)


def test_the_simple_cubic_lattice_has_the_published_sums():
    """A Gaussian's average of r^-6 is r^-6 + 15 s^2 r^-8 + 210 s^4 r^-10 + ..."""
    cubic = Atoms("H", cell=np.eye(3) * 16.0, pbc=True)
    system = System([cubic], 0, (0.8,))
    found = project(system, (0.8,), (0.8,), l_max=0, exponent=6)[0, 0, 0] / system.moments[0, 0]
    ratio = 0.05**2
    expected = 8.4019239748 + ratio * (15 * 6.9458079272 + ratio * 210 * 6.4261191025)
    # The next term, 3150 s^6 r^-12, stands for what is left.
    expected += ratio**3 * 3150 * 6.2021490451
    assert float(found) == pytest.approx(0.05**6 * expected, rel=2e-6)


def model_of(*, weights=None, width=0.0, **head):
    """Points beside Gaussians, dipoles, features of l = 1."""
    charges = {"kind": "latent", "l_max": 1, "width": {"H": width, "O": 0.8}}
    heads = {"field": {"kind": "field_features", **head}}
    return random_model(
        painn_section(["H", "O"], 3.0, charges=charges, heads=heads), weights=weights
    )


def strong_model(**head):
    """With an energy of the field that is no small correction."""
    model = model_of(weights=1, **head)
    with torch.no_grad():
        model.heads["field"].gate.fill_(20.0)
    return model


def water_like(boundary, n_atoms=4, seed=5):
    atoms = random_structure(n_atoms, BOUNDARIES[boundary], seed=seed)
    atoms.symbols[::2] = "O"
    return atoms


@pytest.mark.parametrize("exponent", [1, 6])
@pytest.mark.parametrize("boundary", BOUNDARIES)
def test_a_strong_head_keeps_the_contract(boundary, exponent):
    """Two widths of sources and of probes; the exponent 6 with one probe and fewer atoms."""
    model, atoms = strong_model(), water_like(boundary)
    if exponent == 6:
        model = strong_model(width=0.6, exponent=6, widths=[1.5], accuracy=1e-5)
        atoms = water_like(boundary, n_atoms=3)
        with torch.no_grad():
            model.heads["field"].gate.fill_(300.0)
    field = evaluate(model, [atoms]).energy_parts["field"].detach()
    assert abs(float(field)) > 0.05
    testing.check_forces(model, atoms)
    testing.check_hessian_symmetric(model, atoms, pairs=2)
    testing.check_rotation(model, atoms)
    testing.check_reflection(model, atoms)
    if boundary != "FFF":
        testing.check_stress(model, atoms)
        testing.check_supercell(model, atoms, repeats=(1, 2, 1))
        testing.check_wrapping(model, atoms)


def test_the_exponent_6_in_mixed_batches_and_on_paths():
    """One by one, trained by forces and stress, smooth where the waves come and go."""
    model = strong_model(width=0.6, exponent=6, widths=[1.5], accuracy=1e-4)
    atoms = [water_like(boundary, n_atoms=3) for boundary in BOUNDARIES]
    testing.check_batch(model, [*atoms, Atoms("O")])
    testing.check_training_gradient(model, [atoms[2]])
    testing.check_second_derivatives(model, atoms[0])
    path = testing.strain_path(atoms[2], seed=0)
    testing.check_smooth(model, path, span=(-0.05, 0.05), points=20)


def test_nothing_at_first_and_nothing_without_a_field():
    atoms = water_like("TTT")
    assert float(evaluate(model_of(), [atoms]).energy_parts["field"].detach()) == 0
    alone = evaluate(strong_model(), [Atoms("O"), atoms]).energy_parts["field"].detach()
    assert float(alone[0]) == 0
    assert float(alone[1]) != 0


def test_the_gate_opens_in_training():
    """Its gradient at zero is the energy behind it; then all others have one too."""
    model, atoms = model_of().train(), water_like("FFF")
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-2)
    head = model.heads["field"]
    for step in range(2):
        optimizer.zero_grad()
        (evaluate(model, [atoms]).energy - 1).square().sum().backward()
        assert float(head.gate.grad.abs()) > 0
        assert (float(head.field.weight.grad.abs().max()) > 0) == (step > 0)
        optimizer.step()


def test_orders_and_widths_are_those_of_the_configuration():
    for l_max, widths in ((0, [2.0]), (1, [1.0, 2.0, 4.0]), (2, [1.5])):
        model = strong_model(l_max=l_max, widths=widths)
        head = model.heads["field"]
        assert head.reads_tensors == (l_max > 0)
        assert len(head.mixes) == min(l_max, 1) + 1  # painn has l = 1
        testing.check_rotation(model, water_like("FFF"))
    model = model_of(l_max=0)
    assert all(p.requires_grad for p in model.heads["field"].parameters())


def test_what_it_cannot_project_is_refused():
    with pytest.raises(muse_lr.InputError, match="exponent 6 needs charges of a width"):
        model_of(exponent=6)  # its hydrogens are points
    with pytest.raises(muse_lr.InputError, match="exponent"):
        model_of(exponent=3)
    with pytest.raises(muse_lr.InputError, match="widths"):
        model_of(widths=[0.1])
