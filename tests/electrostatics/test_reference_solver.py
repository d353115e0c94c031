"""The reference solver: multipoles, slabs, derivatives, symmetries."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from ase import Atoms

import muse_lr
from charge_systems import FFF, SLABS, TTT, System, random_structure
from muse_lr.structures.reciprocal import shortest_vector
from muse_lr.units import COULOMB_CONSTANT

BOUNDARIES = [TTT, *SLABS, FFF]
each_boundary = pytest.mark.parametrize(
    "pbc", BOUNDARIES, ids=lambda pbc: "".join("FT"[p] for p in pbc)
)


def clusters(positions, moments, spread):
    """Point charges that have these moments up to l = 2 but for terms of order spread^2."""
    charges, places = [], []

    def add(site, charge, displacement):
        charges.append(charge)
        places.append(site + spread * np.asarray(displacement, float))

    x, y, z = np.eye(3)
    for site, values in zip(positions, moments, strict=True):
        q, my, mz, mx, qxy, qyz, qzz, qxz, qxx_yy = np.pad(values, (0, 9 - len(values)))
        add(site, q, 0 * x)
        for axis, value in ((x, mx), (y, my), (z, mz)):
            add(site, value / (2 * spread), axis)
            add(site, -value / (2 * spread), -axis)
        # Each traceless pair of directions a, b: charges + at +-a, - at +-b.
        r = np.sqrt(0.5)
        pairs = [
            (r * (x + y), r * (x - y), qxy / 3**0.5),
            (r * (y + z), r * (y - z), qyz / 3**0.5),
            (r * (x + z), r * (x - z), qxz / 3**0.5),
            (x, y, qxx_yy / 3**0.5),
            (z, x, qzz / 3),
            (z, y, qzz / 3),
        ]
        for plus, minus, value in pairs:
            for axis, sign in ((plus, 1), (minus, -1)):
                for side in (1, -1):
                    add(site, sign * value / (2 * spread**2), side * axis)
    # Charges at one place are one charge.
    places = np.array(places)
    _, first, member = np.unique(
        np.round(places, 9), axis=0, return_index=True, return_inverse=True
    )
    merged = np.zeros(len(first))
    np.add.at(merged, member.ravel(), charges)
    return merged, places[first]


def cluster_energy(atoms, moments, width, spread):
    """Energy of the clusters without that of each cluster alone."""

    def energy(positions, charges, pbc):
        structure = Atoms(f"H{len(charges)}", positions, cell=atoms.cell, pbc=pbc)
        system = System([structure], 0, [width], accuracy=1e-12)
        return float(system.energies(moments=torch.from_numpy(charges)[:, None]))

    sites = zip(atoms.positions[:, None], moments[:, None], strict=True)
    parts = [clusters(*site, spread) for site in sites]
    charges, places = (np.concatenate(values) for values in zip(*parts, strict=True))
    own = sum(energy(places, charges, False) for charges, places in parts)
    return energy(places, charges, atoms.pbc) - own


@each_boundary
@pytest.mark.parametrize("l_max", [1, 2])
def test_multipoles_are_limits_of_clusters_of_charges(pbc, l_max):
    atoms = random_structure(3, pbc, seed=4, distance=1.6)
    system = System([atoms], l_max, [0.5], accuracy=1e-12, seed=5)
    moments = system.moments.numpy()
    coarse, fine = (cluster_energy(atoms, moments, 0.5, s) for s in (0.04, 0.02))
    assert float(system.energies()) == pytest.approx((4 * fine - coarse) / 3, rel=2e-5, abs=2e-5)


@each_boundary
@pytest.mark.parametrize("cell", ["cubic", "triclinic"])
@pytest.mark.parametrize("l_max", [0, 1, 2])
@pytest.mark.parametrize("widths", [[0.0], [0.5], [0.3, 0.7]], ids=str)
def test_derivatives_to_second_order(pbc, cell, l_max, widths):
    """In positions, moments and cell, mixed ones included."""
    system = System([random_structure(2, pbc, cell, seed=1)], l_max, widths, accuracy=1e-6, seed=2)
    inputs = [system.positions.clone(), system.moments.clone(), system.no_strain]
    inputs = tuple(tensor.requires_grad_(True) for tensor in inputs)

    def energy(positions, moments, strain):
        return system.energies(positions, moments, strain).sum()

    options = {"eps": 1e-5, "atol": 2e-6, "rtol": 1e-5, "fast_mode": True}
    assert torch.autograd.gradcheck(energy, inputs, **options)
    assert torch.autograd.gradgradcheck(energy, inputs, **options)


@each_boundary
@pytest.mark.parametrize("l_max", [0, 2])
def test_hessian_is_symmetric(pbc, l_max):
    system = System([random_structure(3, pbc, seed=3)], l_max, [0.4], seed=4)
    hessian = torch.autograd.functional.hessian(
        lambda positions, moments: system.energies(positions, moments).sum(),
        (system.positions, system.moments),
    )
    sizes = (system.positions.numel(), system.moments.numel())
    rows = [
        torch.cat([block.reshape(sizes[i], sizes[j]) for j, block in enumerate(row)], dim=1)
        for i, row in enumerate(hessian)
    ]
    matrix = torch.cat(rows)
    torch.testing.assert_close(matrix, matrix.T, rtol=0, atol=1e-9)


@pytest.mark.parametrize("widths", [[0.0], [0.6], [0.4, 1.1]], ids=str)
def test_a_mixed_batch_is_its_structures_one_by_one(widths):
    structures = [random_structure(n, pbc, seed=n) for n, pbc in enumerate(BOUNDARIES, start=1)]
    structures += [Atoms("H"), random_structure(4, FFF, seed=9)]
    together = System(structures, 2, widths)
    energies = together.energies()
    for graph, atoms in enumerate(structures):
        mine = together.batch.batch == graph
        alone = System([atoms], 2, widths)
        alone.width = together.width[mine]
        energy = alone.energies(moments=together.moments[mine])
        torch.testing.assert_close(energy, energies[graph : graph + 1], rtol=0, atol=1e-12)
    assert energies[-2] == 0  # a lone atom


@each_boundary
@pytest.mark.parametrize("l_max", [0, 2])
@pytest.mark.parametrize("width", [0.0, 0.4])
def test_the_splitting_does_not_matter(pbc, l_max, width):
    """With a net charge in the cell."""
    atoms = random_structure(4, pbc, seed=5)
    energies = [
        float(System([atoms], l_max, [width], accuracy=1e-12, cutoff=c, seed=6).energies())
        for c in (5.0, 7.0, 9.0)
    ]
    assert np.ptp(energies) < 1e-6


@each_boundary
def test_wrapping_and_equivalent_cells(pbc):
    atoms = random_structure(4, pbc, seed=7)
    wrapped = atoms.copy()
    rng = np.random.default_rng(8)
    wrapped.positions += (rng.integers(-2, 3, (4, 3)) * np.array(pbc)) @ atoms.cell.array
    equivalent = atoms.copy()
    change = np.array([[1, 1, 0], [0, 1, 0], [0, 0, 1]])
    if pbc == (False, True, True):
        change = np.array([[1, 0, 0], [0, 1, -1], [0, 0, 1]])
    if pbc == (True, False, True):
        change = np.array([[1, 0, 2], [0, 1, 0], [0, 0, 1]])
    equivalent.set_cell(change @ atoms.cell.array)
    moved = atoms.copy()
    moved.positions += 3.3
    energies = [
        System([a], 2, [0.3], accuracy=1e-8, seed=9).neutral().energies()
        for a in (atoms, wrapped, equivalent, moved)
    ]
    torch.testing.assert_close(torch.cat(energies), energies[0].expand(4), rtol=0, atol=2e-9)


@pytest.mark.parametrize("pbc", [TTT, *SLABS], ids=str)
def test_energy_and_stress_are_continuous_under_strain(pbc):
    """No step where waves enter: a jump would not shrink with the step."""
    system = System([random_structure(4, pbc, seed=2)], 1, [0.3], accuracy=1e-6)
    jumps = []
    for points in (101, 201):
        scales = torch.linspace(-0.05, 0.05, points, dtype=torch.float64)
        strain = (scales[:, None, None] * torch.eye(3).double()).requires_grad_(True)
        energies = torch.cat([system.energies(strain=s[None]) for s in strain])
        (slope,) = torch.autograd.grad(energies.sum(), strain)
        slope = slope.diagonal(dim1=1, dim2=2).sum(1)
        jumps.append([np.abs(np.diff(v.detach().numpy(), 3)).max() / 4 for v in (energies, slope)])
    coarse, fine = jumps
    assert fine[0] < 1e-7 + coarse[0] / 4
    assert fine[1] < 1e-7 + coarse[1] / 4


@pytest.mark.parametrize("pbc", SLABS, ids=str)
def test_charged_slab_does_not_feel_its_vacuum(pbc):
    axis = pbc.index(False)
    energies = []
    for vacuum in (30.0, 60.0, 120.0, 240.0):
        atoms = random_structure(4, pbc, seed=3)
        cell = atoms.cell.array.copy()
        cell[axis] *= vacuum / np.linalg.norm(cell[axis])
        atoms.set_cell(cell)
        energies.append(float(System([atoms], 0, accuracy=1e-8).energies()))
    assert np.ptp(energies) < 1e-9


def test_charged_slab_in_three_dimensions_converges_to_it():
    """The three-dimensional sum with Ballenegger's slab term, by torch-pme, vacuum growing."""
    from torchpme import CoulombPotential, EwaldCalculator

    atoms = random_structure(4, (True, True, False), "cubic", seed=3)
    system = System([atoms], 0, accuracy=1e-9)
    exact = float(system.energies())
    errors = []
    for height in (20.0, 30.0, 40.0):
        tall = atoms.copy()
        tall.set_cell([5.0, 5.0, height])
        batch = muse_lr.AtomsBatch.from_ase([tall], cutoff=6.0)
        calculator = EwaldCalculator(
            CoulombPotential(smearing=1.0), lr_wavelength=0.45, full_neighbor_list=True
        ).double()
        charges = system.moments
        potential = calculator(
            charges,
            batch.cell[0],
            batch.positions,
            batch.edge_index.T,
            torch.linalg.vector_norm(
                batch.positions[batch.edge_index[0]]
                - batch.positions[batch.edge_index[1]]
                + batch.edge_shift.double() @ batch.cell[0],
                dim=1,
            ),
            periodic=torch.tensor([True, True, False]),
        )
        energy = COULOMB_CONSTANT * float((charges * potential).sum())
        errors.append(abs(energy - exact))
    assert errors[0] < 1e-5
    assert errors[-1] < 1e-8


@pytest.mark.parametrize("width", [0.0, 0.4])
def test_dipolar_slab_is_a_plate_capacitor(width):
    """Two charged square lattices: E = 2 pi k q^2 d / A + their own energy, no field outside."""
    side, charge = 2.0, 0.7

    def energy(distance):
        plates = Atoms(
            "H2", [[0, 0, 0], [0.3, 0.4, distance]], cell=[side, side, 40], pbc=(1, 1, 0)
        )
        system = System([plates], 0, [width], accuracy=1e-11)
        return float(
            system.energies(moments=torch.tensor([[charge], [-charge]], dtype=torch.float64))
        )

    difference = energy(14.0) - energy(9.0)
    force = 2 * np.pi * COULOMB_CONSTANT * charge**2 / side**2
    # exp(-2 pi d / a) is what is left of the lattices at a distance.
    assert difference == pytest.approx(5.0 * force, abs=1e-8)


@pytest.mark.parametrize("pbc", [TTT, (True, True, False)], ids=str)
@pytest.mark.parametrize(("moment", "power"), [(0, 1), (2, 3)], ids=["charge", "dipole"])
def test_a_growing_cell_converges_to_the_open_molecule(pbc, moment, power):
    """A charge converges as 1/L, a dipole as 1/L^3."""
    molecule = random_structure(3, FFF, seed=2)
    open_system = System([molecule], 1, accuracy=1e-9).neutral()
    moments = open_system.moments
    if moment == 0:
        moments[0, 0] += 1
    exact = float(open_system.energies(moments=moments))
    differences = []
    for length in (30.0, 60.0):
        atoms = molecule.copy()
        atoms.set_cell([length] * 3)
        atoms.pbc = pbc
        system = System([atoms], 1, accuracy=1e-9, cutoff=8.0)
        differences.append(float(system.energies(moments=moments)) - exact)
    slope = np.log2(abs(differences[0] / differences[1]))
    assert slope == pytest.approx(power, abs=0.05)


@pytest.mark.parametrize("l_max", [0, 1, 2])
@pytest.mark.parametrize("pbc", [TTT, (True, True, False)], ids=str)
@pytest.mark.parametrize("accuracy", [1e-3, 1e-5, 1e-7])
def test_accuracy_is_delivered(l_max, pbc, accuracy):
    """Of forces, over k q_rms^2 (N/V)^(2/3) for charges and over their own RMS for multipoles."""
    atoms = random_structure(6, pbc, seed=1)

    def forces(target):
        system = System([atoms], l_max, accuracy=target).neutral()
        positions = system.positions.clone().requires_grad_(True)
        return torch.autograd.grad(system.energies(positions).sum(), positions)[0]

    exact = forces(1e-13)
    scale = exact.square().mean().sqrt()
    if l_max == 0:
        q_rms = System([atoms], 0).neutral().moments.square().mean().sqrt()
        scale = COULOMB_CONSTANT * q_rms**2 * (6 / atoms.get_volume()) ** (2 / 3)
    assert float((forces(accuracy) - exact).square().mean().sqrt() / scale) < accuracy


def test_latent_ewald_identity():
    """B. Cheng's sum at sigma_LES is the Gaussian density's energy at sigma_LES / sqrt 2.

    E = (k / 2V) sum_{k != 0} 4 pi / k^2 exp(-sigma^2 k^2 / 2) |S|^2, own energies taken off.
    """
    atoms = random_structure(6, TTT, seed=4)
    sigma = 1.0
    system = System([atoms], 0, [sigma / 2**0.5], accuracy=1e-10).neutral()
    q = system.moments[:, 0].numpy()
    reciprocal = 2 * np.pi * np.linalg.inv(atoms.cell.array).T
    n = np.stack(np.meshgrid(*[np.arange(-9, 10)] * 3, indexing="ij"), -1).reshape(-1, 3)
    k = n[(n != 0).any(1)] @ reciprocal
    squared = (k**2).sum(1)
    factor = np.abs(np.exp(1j * k @ atoms.positions.T) @ q) ** 2
    latent = (2 * np.pi / atoms.get_volume() * np.exp(-(sigma**2) * squared / 2) / squared) @ factor
    latent -= (q**2).sum() / (sigma * np.sqrt(2 * np.pi))
    assert float(system.energies()) == pytest.approx(COULOMB_CONSTANT * latent, rel=1e-6)


def test_shortest_vector_of_skewed_planes():
    basis = torch.tensor([[3.0, 0.4, 0.1], [0.2, 2.5, -0.3]], dtype=torch.float64)
    exact = min(
        float((m * basis[0] + n * basis[1]).norm())
        for m in range(-3, 4)
        for n in range(-3, 4)
        if (m, n) != (0, 0)
    )
    changes = torch.tensor([[[1, 0], [0, 1]], [[7, 3], [2, 1]], [[1, 40], [0, 1]]]).double()
    skewed = changes @ basis
    found = shortest_vector(skewed[:, 0], skewed[:, 1])
    torch.testing.assert_close(found, torch.full_like(found, exact))
