"""Sparse periodic structures: splittings on a ladder, and sums in portions."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from ase import Atoms

from charge_systems import SLABS, TTT, System, random_structure
from muse_lr.density import ChargeDensity
from muse_lr.electrostatics import edge_sums
from muse_lr.electrostatics.ewald import reciprocal_space, reference, waves
from muse_lr.electrostatics.ewald.open_sum import open_energy
from muse_lr.electrostatics.fields import fields_at_atoms
from muse_lr.electrostatics.mesh.pme import PMESolver
from muse_lr.electrostatics.operators.charge_matrix import charge_matrix
from muse_lr.electrostatics.operators.charge_operator import LatticeOperator
from muse_lr.errors import InputError
from muse_lr.structures import sparse
from muse_lr.structures.geometry import strained_geometry
from muse_lr.units import COULOMB_CONSTANT

#: The simple cubic lattice of point charges in a background: E = -k q^2 C / 2 L.
CUBIC = 2.837297479480620


def sparse_structures():
    """A crystal, a slab and a skewed cell with two, one and three rungs at the usual densities."""
    structures = []
    for pbc, size in ((TTT, (21, 24, 26)), (SLABS[2], (16, 14, 5)), (TTT, (50, 11, 80))):
        atoms = random_structure(3, TTT, seed=len(structures))
        atoms.set_cell(np.diag(size) + np.tri(3, k=-1), scale_atoms=False)
        atoms.pbc = pbc
        structures.append(atoms)
    return structures


def on_one_rung(monkeypatch, rung):
    """Let every periodic structure be on this rung."""
    monkeypatch.setattr(
        sparse,
        "density_rungs",
        lambda cell, pbc, counts: torch.where(pbc.any(1), rung, 0 * counts),
    )


def everything(system):
    """Energies, gradients and the gradient of a function of the gradients."""
    leaves = [system.positions.clone(), system.moments.clone(), system.no_strain.clone()]
    for leaf in leaves:
        leaf.requires_grad_(True)
    energies = system.energies(*leaves)
    slopes = torch.autograd.grad(energies.sum(), leaves, create_graph=True)
    total = sum(slope.square().sum() for slope in slopes)
    return [energies, *slopes, *torch.autograd.grad(total, leaves)]


def assert_close(found, expected, tolerance):
    for one, other in zip(found, expected, strict=True):
        assert (one - other).abs().max() <= tolerance * other.abs().max()


@pytest.mark.parametrize(("widths", "l_max"), [((0.0,), 0), ((0.4, 0.9), 2)])
def test_every_rung_has_the_energy_and_all_derivatives(monkeypatch, widths, l_max):
    """To the accuracy of both sums, for charged cells too."""
    structures = [random_structure(3, pbc, seed=i) for i, pbc in enumerate((TTT, SLABS[0]))]
    results = []
    for rung in (0, 1, 2):
        on_one_rung(monkeypatch, rung)
        system = System(structures, l_max, widths, accuracy=1e-10)
        results.append(everything(system))
        assert system.batch.tables.sparse.present == (rung,)
    for found in results[1:]:
        assert_close(found, results[0], 1e-9 if l_max == 0 else 1e-8)


def test_the_step_between_rungs_is_below_the_accuracy(monkeypatch):
    accuracy = 1e-6
    structures = [random_structure(3, TTT, seed=seed) for seed in range(4)]
    for atoms in structures:
        atoms.set_cell(12 * np.eye(3), scale_atoms=False)
    found = []
    for rung in (0, 1):
        on_one_rung(monkeypatch, rung)
        system = System(structures, 0, accuracy=accuracy).neutral()
        found.append(system.energies())
    scale = COULOMB_CONSTANT * system.moments.square().mean() / 12 * 3 ** (1 / 3)
    assert ((found[1] - found[0]).abs() / 3 < accuracy * scale).all()


@pytest.mark.parametrize("length", [9.0, 15.0, 50.0, 264.0, 5000.0])
def test_an_ion_in_a_cubic_box(length):
    system = System([Atoms("Na", [[1, 2, 3]], cell=length * np.eye(3), pbc=True)], 0)
    expected = -COULOMB_CONSTANT * float(system.moments) ** 2 * CUBIC / (2 * length)
    assert float(system.energies()) == pytest.approx(expected, rel=1e-8)


def test_a_molecule_in_a_large_box_and_in_a_large_plane():
    """The energy of the molecule and that of its dipole with those of the images."""
    molecule = random_structure(3, (False, False, False), seed=2)
    boxed, plane = molecule.copy(), molecule.copy()
    boxed.set_cell(264 * np.eye(3), scale_atoms=False)
    plane.set_cell(264 * np.eye(3), scale_atoms=False)
    boxed.pbc, plane.pbc = True, (True, True, False)
    system = System([molecule, boxed, plane], 0)
    system.moments[:] = torch.tensor([0.7, -1.2, 0.5]).double().repeat(3)[:, None]
    alone, in_box, in_plane = system.energies().tolist()
    dipole = (system.moments[:3] * system.positions[:3]).sum(0)
    shift = -2 * np.pi / 3 * COULOMB_CONSTANT * float(dipole.square().sum()) / 264**3
    assert in_box - alone == pytest.approx(shift, abs=2e-9)
    # Half the sum of 1 / R^3 over a square lattice is 4.516811.
    along = float(dipole[:2].square().sum()) / 2 - float(dipole[2]) ** 2
    shift = -COULOMB_CONSTANT * 4.516811 * along / 264**3
    assert in_plane - alone == pytest.approx(shift, abs=2e-9)


def test_forces_and_stress_on_both_sides_of_a_rung_against_finite_differences():
    structures = []
    for length in (14.3, 14.5, 28.7, 28.9):
        atoms = random_structure(3, TTT, seed=5)
        atoms.set_cell(length * np.eye(3), scale_atoms=False)
        structures.append(atoms)
    system = System(structures, 1, (0.5,), accuracy=1e-10)
    assert system.batch.tables.sparse.rungs.tolist() == [0, 1, 1, 2]
    _, by_positions, _, by_strain = everything(system)[:4]
    rng = np.random.default_rng(0)
    step = 1e-4
    move = torch.from_numpy(rng.normal(size=system.positions.shape))
    bend = torch.from_numpy(rng.normal(size=system.no_strain.shape))
    bend = bend + bend.mT
    ahead = system.energies(system.positions + step * move, strain=step * bend)
    behind = system.energies(system.positions - step * move, strain=-step * bend)
    slope = (by_positions * move).sum(1).view(4, 3).sum(1) + (by_strain * bend).sum((1, 2))
    torch.testing.assert_close((ahead - behind) / (2 * step), slope, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("l_max", [0, 1])
def test_portions_of_waves_and_pairs_have_all_derivatives(monkeypatch, l_max):
    structures = [random_structure(3, TTT, seed=1), *sparse_structures()]
    expected = everything(System(structures, l_max, (0.6,), accuracy=1e-8))
    numbers = []
    portions = reciprocal_space.ReciprocalSpace.portions

    def counted(space, components):
        numbers.append(len(portions(space, components)))
        return portions(space, components)

    monkeypatch.setattr(reciprocal_space.ReciprocalSpace, "portions", counted)
    monkeypatch.setattr(reciprocal_space, "PORTION_BYTES", 2**21)
    monkeypatch.setattr(edge_sums, "PORTION", 5)
    monkeypatch.setattr(reference, "PORTION", 5)
    found = everything(System(structures, l_max, (0.6,), accuracy=1e-8))
    assert max(numbers) > 4
    assert_close(found, expected, 1e-11)


def test_the_hessian_in_portions(monkeypatch):
    system = System(sparse_structures()[:1], 0, (0.6,), accuracy=1e-6)
    expected = torch.autograd.functional.hessian(
        lambda positions: system.energies(positions).sum(), system.positions
    )
    monkeypatch.setattr(reciprocal_space, "PORTION_BYTES", 2**19)
    monkeypatch.setattr(edge_sums, "PORTION", 5)
    monkeypatch.setattr(reference, "PORTION", 5)
    found = torch.autograd.functional.hessian(
        lambda positions: system.energies(positions).sum(), system.positions
    )
    torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-11)


def test_fields_and_matrices_on_rungs():
    """Each is a derivative of the energy of the same solver."""
    system = System(sparse_structures(), 0, (0.75,), accuracy=1e-8)
    geometry = strained_geometry(system.batch, system.positions, None)
    moments = system.moments.clone().requires_grad_(True)
    energy = system.energies(moments=moments).sum()
    (potential,) = torch.autograd.grad(energy, moments)
    fields = fields_at_atoms(system.density(), geometry, system.solver)
    torch.testing.assert_close(fields.potential, potential[:, 0], rtol=1e-9, atol=1e-10)
    every = torch.ones(3, dtype=torch.bool)
    matrix = charge_matrix(system.width, geometry, every, system.solver)
    charges = system.moments.view(3, 3, 1)
    torch.testing.assert_close((matrix @ charges).flatten(), potential[:, 0], rtol=1e-9, atol=1e-10)


def test_the_mesh_on_rungs():
    system = System(sparse_structures(), 0, (0.75,), accuracy=1e-6)
    geometry = strained_geometry(system.batch, system.positions, None)
    mesh = PMESolver((0.75,), 1e-6, 6.0)
    every = torch.ones(3, dtype=torch.bool)
    moments = system.moments.clone().requires_grad_(True)
    density = ChargeDensity(moments, system.width, geometry.graph_index, 3)
    found = mesh.energy(density, geometry, every)
    torch.testing.assert_close(found, system.energies(), rtol=1e-5, atol=1e-5)
    (potential,) = torch.autograd.grad(found.sum(), moments)
    for graph in range(3):
        atoms = slice(3 * graph, 3 * graph + 3)
        operator = LatticeOperator(system.width, geometry, graph, mesh)
        own = operator(system.moments[atoms, 0])
        torch.testing.assert_close(own, potential[atoms, 0], rtol=1e-7, atol=1e-8)


def test_a_sheared_cell_has_the_energy_of_the_cell_on_the_way_of_many_waves(monkeypatch):
    atoms = random_structure(3, TTT, seed=1)
    sheared = atoms.copy()
    sheared.set_cell(np.array([[1, 0, 0], [40, 1, 0], [-7, 25, 1]]) @ atoms.cell.array)
    monkeypatch.setattr(reciprocal_space, "PORTION_BYTES", 2**22)
    system = System([atoms, sheared], 1, (0.6,))
    system.moments[3:] = system.moments[:3]
    one, other = system.energies().tolist()
    assert other == pytest.approx(one, rel=1e-11)


def test_too_many_waves_are_refused(monkeypatch):
    cell, slab = torch.eye(3).double()[None] * 264, torch.tensor([False])
    waves.check_number_of_waves(cell, slab, torch.tensor([9]), 4.0)
    message = r"periodic box of 2640 x 2640 x 2640 Å with 9 atoms needs 1.2e\+10 k vectors"
    with pytest.raises(InputError, match=message):
        waves.check_number_of_waves(10 * cell, slab, torch.tensor([9]), 4.0)
    monkeypatch.setattr(waves, "WAVE_LIMIT", 100)
    monkeypatch.setattr(reciprocal_space, "PORTION_BYTES", 2**10)
    system = System(sparse_structures()[1:2], 0)
    with pytest.raises(InputError, match=r"slab in a box of 16 x 14.04 x .* with 3 atoms needs"):
        system.energies()


def test_open_systems_do_not_change():
    atoms = random_structure(3, (False, False, False), seed=1)
    system = System([atoms, *sparse_structures()], 0)
    geometry = strained_geometry(system.batch, system.positions, None)
    assert system.energies()[0] == open_energy(system.density(), geometry)[0]
