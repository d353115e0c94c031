"""Pairwise dispersion: the heads c6 and d3, and the lattice sums that they share."""

from __future__ import annotations

import itertools
import sys

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import bulk, molecule
from ase.neighborlist import neighbor_list

import muse_lr
from helpers import energies_of, head_model
from muse_lr import testing
from muse_lr.heads.dispersion.free_atoms import FREE_ATOMS
from muse_lr.heads.dispersion.lattice_sum import PowerSplit, smooth_energy
from muse_lr.heads.dispersion.volumes import HARTREE, free_atoms
from muse_lr.structures.geometry import strained_geometry
from muse_lr.units import BOHR

CUTOFF = 8.0
#: Lattice sums of 1 / r^n over the nearest-neighbor distance, J. E. Lennard-Jones, A. E. Ingham,
#: Proc. R. Soc. A 107, 636 (1925), to more digits.
LATTICE_SUMS = {("sc", 6): 8.4019239748, ("sc", 8): 6.9458079272, ("fcc", 6): 14.4539210437}
#: Vectors of one slab, and of a crystal that is nothing special.
SKEWED = np.array([[4.0, 0.3, 0.0], [1.0, 3.5, 0.0], [0.4, -0.3, 5.0]])


def lattice_sum(atoms: Atoms, weights: torch.Tensor, coupling: torch.Tensor, power: int) -> float:
    """1/2 sum of C_ij / r^p by the two parts of the split."""
    split = PowerSplit.within(CUTOFF, 1e-11, power)
    batch = muse_lr.AtomsBatch.from_ase([atoms], CUTOFF)
    geometry = strained_geometry(batch, batch.positions, None)
    chosen = torch.ones(1, dtype=torch.bool)
    smooth = smooth_energy(weights, coupling, geometry, chosen, split)
    sender, receiver = geometry.edge_index
    distance = geometry.edge_lengths
    c = ((weights @ coupling)[sender] * weights[receiver]).sum(1)
    near = (c * split.short_range(distance) / distance**power).sum() / 2
    return float(near - smooth)


def direct_slab_sum(positions: np.ndarray, cell: np.ndarray, power: int, reach: float) -> float:
    """1/2 sum of 1 / r^p within ``reach``, and what a uniform plane adds beyond it."""
    n = np.arange(-400, 401)
    shifts = np.stack(np.meshgrid(n, n, indexing="ij"), -1).reshape(-1, 2) @ cell[:2]
    shifts = shifts[np.linalg.norm(shifts, axis=1) < reach]
    total = 0.0
    for first, second in itertools.product(positions, positions):
        squared = np.square(first - second + shifts).sum(1)
        total += (squared[squared > 1e-9] ** (-power / 2)).sum()
    area = np.linalg.norm(np.cross(cell[0], cell[1]))
    tail = len(positions) ** 2 * 2 * np.pi / area / ((power - 2) * reach ** (power - 2))
    return float(total + tail) / 2


@pytest.mark.parametrize(("lattice", "power"), LATTICE_SUMS)
def test_published_lattice_sums(lattice, power):
    atoms = bulk("Ar", lattice, a=3.0 if lattice == "sc" else 3.0 * np.sqrt(2))
    one = torch.ones((1, 1), dtype=torch.float64)
    found = 2 * lattice_sum(atoms, one, one, power) * 3.0**power
    assert found == pytest.approx(LATTICE_SUMS[lattice, power], abs=1e-8)


def test_crystal_sum_is_that_of_torch_pme():
    torchpme = pytest.importorskip("torchpme")
    generator = np.random.default_rng(1)
    atoms = Atoms("Ar4", generator.random((4, 3)) @ SKEWED, cell=SKEWED, pbc=True)
    charges = torch.from_numpy(generator.random((4, 1)) + 0.5)
    potential = torchpme.InversePowerLawPotential(6, smearing=0.9)
    calculator = torchpme.EwaldCalculator(potential, lr_wavelength=0.35, full_neighbor_list=True)
    i, j, d = neighbor_list("ijd", atoms, 9.0)
    values = calculator.to(torch.float64)(
        charges,
        torch.from_numpy(atoms.cell.array),
        torch.from_numpy(atoms.positions),
        torch.from_numpy(np.stack([i, j], 1)),
        torch.from_numpy(d),
    )
    expected = float((charges * values).sum())
    found = lattice_sum(atoms, charges, torch.ones((1, 1), dtype=torch.float64), 6)
    assert found == pytest.approx(expected, rel=1e-8)


@pytest.mark.parametrize("power", [6, 8])
def test_slab_sum_is_the_direct_one(power):
    generator = np.random.default_rng(0)
    positions = generator.random((3, 3)) @ np.diag([4.0, 3.5, 9.0])
    cell = SKEWED.copy()
    cell[2] = [0.4, -0.3, 30.0]
    atoms = Atoms("Ar3", positions, cell=cell, pbc=(1, 1, 0))
    one = torch.ones((3, 1), dtype=torch.float64)
    found = lattice_sum(atoms, one, torch.ones((1, 1), dtype=torch.float64), power)
    assert found == pytest.approx(direct_slab_sum(positions, cell, power, 400.0), rel=1e-8)


def test_several_channels_are_several_kinds_of_atoms():
    """Against the sum over a large cluster of images, its tail extrapolated as 1 / R^3."""
    generator = np.random.default_rng(2)
    atoms = Atoms("ArKr", generator.random((2, 3)) @ SKEWED, cell=SKEWED, pbc=True)
    weights = torch.tensor([[1.3, 0.0], [0.0, 0.7]], dtype=torch.float64)
    coupling = torch.tensor([[1.0, 2.0], [2.0, 5.0]], dtype=torch.float64)
    c = (weights @ coupling @ weights.T).numpy()

    def within(reach: float) -> float:
        i, j, d = neighbor_list("ijd", atoms, reach)
        return float((c[i, j] / d**6).sum()) / 2

    tail = c.sum() / 2 * 4 * np.pi / (3 * atoms.get_volume() * 40.0**3)
    assert lattice_sum(atoms, weights, coupling, 6) == pytest.approx(within(40.0) + tail, rel=1e-5)


def test_unlike_atoms_combine_as_published():
    free = free_atoms(["Ar", "Kr"])
    pairs = free.c6_pairs / (HARTREE * BOHR**6)
    (a, ca, _), (b, cb, _) = FREE_ATOMS["Ar"], FREE_ATOMS["Kr"]
    assert float(pairs[0, 0]) == pytest.approx(64.3, rel=1e-12)
    assert float(pairs[0, 1]) == pytest.approx(2 * ca * cb / (b / a * ca + a / b * cb), rel=1e-12)


@pytest.mark.parametrize("damping", ["fermi", "becke_johnson", "none"])
def test_a_damped_pair(damping):
    model = head_model("c6", ["C", "O"], damping=damping, radius_scale=0.9)
    distance = 3.1
    (a, ca, ra), (b, cb, rb) = FREE_ATOMS["C"], FREE_ATOMS["O"]
    c6 = 2 * ca * cb / (b / a * ca + a / b * cb) * HARTREE * BOHR**6
    radius = 0.9 * (ra + rb) * BOHR
    factor = {
        "fermi": 1 / (1 + np.exp(-20 * (distance / radius - 1))),
        "becke_johnson": distance**6 / (distance**6 + radius**6),
        "none": 1.0,
    }[damping]
    found = energies_of(model, [Atoms("CO", [[0, 0, 0], [0, 0, distance]])])
    assert found[0] == pytest.approx(-factor * c6 / distance**6, rel=1e-10)


def test_volumes_scale_c6_and_the_radii():
    model = head_model("c6", ["C", "O"])
    batch = muse_lr.AtomsBatch.from_ase([Atoms("CO", [[0, 0, 0], [0, 0, 20.0]])], model.cutoff)
    geometry = strained_geometry(batch, batch.positions, None)
    composition = torch.eye(2, dtype=torch.float64)
    energy = model.heads["head"].energy
    free = energy(geometry, composition, torch.ones(2, dtype=torch.float64))
    scaled = energy(geometry, composition, torch.tensor([0.8, 1.5], dtype=torch.float64))
    assert float(scaled / free) == pytest.approx(0.8 * 1.5, rel=1e-12)


def test_volumes_start_free_and_are_learned():
    dimer = Atoms("COCO", [[0, 0, 0], [0, 0, 1.2], [0, 0, 4.5], [0, 0, 5.7]])
    fixed = energies_of(head_model("c6", ["C", "O"]), [dimer])
    model = muse_lr.build_model(
        {"elements": ["C", "O"], "charges": None, "heads": {"c6": {}, "mbd": {}}}
    ).double()
    batch = muse_lr.AtomsBatch.from_ase([dimer], model.cutoff)
    output = model(batch)
    assert float(output.energy_parts["c6"].detach()) == pytest.approx(fixed[0], rel=1e-6)
    for name in ("c6", "mbd"):
        ratios = model.heads[name].volume_ratios
        gradients = torch.autograd.grad(
            output.energy_parts[name].sum(), list(ratios.parameters())[-1], retain_graph=True
        )
        assert float(gradients[0].abs().max()) > 0


def test_far_molecules_fall_off_as_the_sixth_power():
    """Local slopes between 30 and 100 A; d3 has a term in r^-8, which is still 1 % at 30 A."""
    for kind, start in (("c6", 30.0), ("mbd", 30.0), ("d3", 60.0)):
        model = head_model(kind, ["Ar", "Kr"])
        distances = np.geomspace(start, 100.0, 6)
        dimers = [Atoms("ArKr", [[0, 0, 0], [0, 0, distance]]) for distance in distances]
        slopes = np.diff(np.log(-energies_of(model, dimers))) / np.diff(np.log(distances))
        assert np.abs(slopes + 6).max() < 0.01, kind


def d3_of_package(
    atoms: Atoms, functional: str | dict[str, float], reach: float = 60.0, count: float = 40.0
) -> float:
    """Two-body D3(BJ) by the package dftd3, eV; cutoffs in Bohr."""
    interface = pytest.importorskip("dftd3.interface")
    cell = atoms.cell.array / BOHR if atoms.pbc.any() else None
    pbc = atoms.pbc if atoms.pbc.any() else None
    model = interface.DispersionModel(atoms.numbers, atoms.positions / BOHR, cell, pbc)
    model.set_realspace_cutoff(reach, 20.0, count)
    if isinstance(functional, str):
        damping = interface.RationalDampingParam(method=functional, atm=False)
    else:
        damping = interface.RationalDampingParam(**functional, s9=0.0)
    return model.get_dispersion(damping, grad=False)["energy"] * HARTREE


@pytest.mark.parametrize("functional", ["pbe", "b3lyp", "r2scan"])
def test_d3_of_molecules_is_that_of_dftd3(functional):
    names = ("C6H6", "CH3CH2OH", "SiH4", "NaCl", "CH3SCH3", "LiF", "HCOOH")
    molecules = [molecule(name) for name in names]
    elements = sorted({symbol for atoms in molecules for symbol in atoms.symbols})
    found = energies_of(head_model("d3", elements, functional=functional), molecules)
    expected = [d3_of_package(atoms, functional) for atoms in molecules]
    np.testing.assert_allclose(found, expected, atol=1e-7 * HARTREE, rtol=0)


def test_d3_of_a_crystal_is_that_of_dftd3_extrapolated():
    """The package ends the sum in space; what is left falls off as 1 / R^3."""
    atoms = bulk("NaCl", "rocksalt", a=5.6)
    atoms.rattle(0.05, seed=1)
    found = energies_of(head_model("d3", ["Na", "Cl"], cutoff=16.0), [atoms])[0]
    near, far = (d3_of_package(atoms, "pbe", reach) for reach in (60.0, 120.0))
    expected = far + (far - near) / (2**3 - 1)
    assert found == pytest.approx(expected, abs=2e-7 * HARTREE)


def test_d3_with_damping_parameters_of_its_own():
    """Those of GFN2-xTB, as they are published."""
    atoms, damping = molecule("C6H6"), {"s6": 1.0, "s8": 2.7, "a1": 0.52, "a2": 5.0}
    found = energies_of(head_model("d3", ["C", "H"], damping=damping), [atoms])[0]
    assert found == pytest.approx(d3_of_package(atoms, damping), abs=1e-7 * HARTREE)
    with pytest.raises(muse_lr.InputError, match="a2"):
        head_model("d3", ["C"], damping={"s8": 2.7, "a1": 0.52})


def test_d3_says_what_is_missing(monkeypatch):
    with pytest.raises(muse_lr.InputError, match="functional 'pbf'"):
        head_model("d3", ["C"], functional="pbf")
    monkeypatch.setitem(sys.modules, "tad_dftd3", None)
    with pytest.raises(muse_lr.InputError, match=r"muse_lr\[dispersion\]"):
        head_model("d3", ["C"])


def test_unknown_free_atoms_are_refused():
    with pytest.raises(muse_lr.InputError, match="polarizability is known of U"):
        head_model("c6", ["U"])


def test_accuracy_of_the_lattice_sum():
    crystal = testing.structures.crystal(("C", "O"), 3, minimum_distance=1.4)
    exact = energies_of(head_model("c6", ["C", "O"], accuracy=1e-12), [crystal])
    for accuracy in (1e-4, 1e-8):
        found = energies_of(head_model("c6", ["C", "O"], accuracy=accuracy), [crystal])
        assert abs(found - exact) < accuracy * abs(exact)
