"""The data of the first hour: structures, force fields against their derivatives, files."""

from __future__ import annotations

import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import read

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from benchmarks.first_hour import batio3, datasets, ion_water, mica_water, perovskite, water
from benchmarks.first_hour.ionic import IonicCalculator
from benchmarks.first_hour.tasks import Task


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def check_derivatives(atoms, force_field, rng, step=1e-4):
    """Forces and stress are the derivatives of the energy along random directions."""

    def energy(positions, cell):
        moved = Atoms(atoms.numbers, positions, cell=cell, pbc=atoms.pbc)
        moved.calc = IonicCalculator(force_field)
        return moved.get_potential_energy()

    atoms.calc = IonicCalculator(force_field)
    forces, cell = atoms.get_forces(), atoms.cell.array
    direction = rng.standard_normal(forces.shape)
    direction /= np.linalg.norm(direction)
    ahead, behind = (energy(atoms.positions + s * step * direction, cell) for s in (1, -1))
    expected = (behind - ahead) / (2 * step)
    assert (forces * direction).sum() == pytest.approx(expected, abs=1e-4)
    if atoms.pbc.all():
        strain = rng.standard_normal((3, 3))
        strain += strain.T
        up, down = np.eye(3) + step * strain, np.eye(3) - step * strain
        change = energy(atoms.positions @ up, cell @ up) - energy(
            atoms.positions @ down, cell @ down
        )
        slope = change / (2 * step * atoms.get_volume())
        assert (atoms.get_stress(voigt=False) * strain).sum() == pytest.approx(slope, abs=1e-4)


@pytest.mark.parametrize("name", datasets.SETS)
def test_plans_have_unique_names_and_both_splits(name):
    tasks = datasets.module_of(name).plan()
    assert len({task.name for task in tasks}) == len(tasks)
    assert {task.split for task in tasks} == {"train", "test"}


def test_tilts_keep_the_octahedra(rng):
    """Each Pb keeps six bromines at their distance, to first order."""
    ideal = perovskite.cubic(5.8)
    turned = perovskite.tilted(ideal, [0.0, 0.0, 6.0])
    leads, bromines = (np.flatnonzero(ideal.numbers == z) for z in (82, 35))
    for lead in leads:
        distances = np.sort(turned.get_distances(lead, bromines, mic=True))[:6]
        assert distances == pytest.approx(2.9, abs=0.02)
    moved = np.linalg.norm(turned.positions - ideal.positions, axis=1)
    assert np.count_nonzero(moved > 0.1) == 16  # those in the plane of the turn
    assert moved.max() == pytest.approx(2.9 * np.radians(6), rel=1e-6)
    assert perovskite.tilted(ideal, np.zeros(3)).positions == pytest.approx(ideal.positions)


def test_the_shell_model_has_the_lattice_constant_of_experiment(rng):
    """The pressure changes its sign between 3.98 and 4.02 A (experiment: 4.00)."""
    pressures = []
    for constant in (3.98, 4.02):
        atoms = batio3.cubic((1, 1, 1), constant)
        atoms.positions += 2e-3 * rng.standard_normal(atoms.positions.shape)
        atoms.calc = IonicCalculator(batio3.force_field(atoms))
        pressures.append(-atoms.get_stress()[:3].mean())
    assert pressures[0] > 0 > pressures[1]


def test_derivatives_of_the_shell_model(rng):
    atoms = batio3.cubic((1, 1, 2))
    atoms.positions += 0.05 * rng.standard_normal(atoms.positions.shape)
    check_derivatives(atoms, batio3.force_field(atoms), rng)


@pytest.mark.parametrize("pattern", batio3.PATTERNS)
def test_polar_directions(pattern, rng):
    vectors = batio3.directions(pattern, 8, rng)
    length = 0.0 if pattern == "none" else 1.0
    assert np.linalg.norm(vectors, axis=1) == pytest.approx(length)
    same = np.allclose(vectors, vectors[0])
    assert same == (pattern in ("none", "001", "011", "111"))


@pytest.mark.parametrize("seed", range(4))
def test_a_muscovite_layer_is_neutral_and_has_its_formula(seed):
    """Also: no oxygen belongs to two tetrahedral Al, which would give the layer a charge."""
    slab = mica_water.layer(np.random.default_rng(seed))
    assert Counter(slab.symbols) == {"K": 4, "Al": 12, "Si": 12, "O": 48, "H": 8}
    assert slab.pbc.tolist() == [True, True, False]
    kinds = Counter(water.kinds_of(slab))
    assert kinds["tetrahedral Al"] == 4
    assert kinds["hydroxyl oxygen"] == kinds["hydroxyl hydrogen"] == 8
    assert kinds["oxygen next to tetrahedral Al"] == 16
    assert water.force_field(slab).charges.sum() == pytest.approx(0, abs=1e-9)
    heights = slab.positions[slab.numbers == 19, 2]
    assert np.count_nonzero(heights > slab.positions[:, 2].mean()) == 2


def test_derivatives_of_a_wet_slab(rng):
    wet = mica_water.wetted(mica_water.layer(rng), 4, rng)
    assert water.kinds_of(wet).count("water oxygen") == 4
    check_derivatives(wet, water.force_field(wet), rng)


def test_the_energy_of_spc_water_and_an_ion():
    """Against the sums of ClayFF written out by hand: one ion and one molecule."""
    molecule = Atoms("OH2", [[0, 0, 0], [1.0, 0, 0], [-0.3333, 0.9428, 0]])
    atoms = Atoms("Na", [[0, 0, 3.0]]) + molecule
    atoms.calc = IonicCalculator(water.force_field(atoms))
    r = atoms.get_distances(0, [1, 2, 3])
    coulomb = 14.399645478 * (np.array([-0.82, 0.41, 0.41]) / r).sum()
    kcal = 0.0433641
    minimum, depth = (2.6378 + 3.5532) / 2, kcal * np.sqrt(0.1301 * 0.1554)
    ratio = (minimum / r[0]) ** 6
    vectors = molecule.positions[1:]
    lengths = np.linalg.norm(vectors, axis=1)
    angle = np.arccos(vectors[0] @ vectors[1] / lengths.prod())
    intra = 554.1349 * ((lengths - 1) ** 2).sum() + 45.7696 * (angle - np.radians(109.47)) ** 2
    expected = coulomb + depth * (ratio**2 - 2 * ratio) + kcal * intra
    assert atoms.get_potential_energy() == pytest.approx(expected, abs=1e-5)


def test_clusters_and_far_ions(rng):
    atoms = ion_water.cluster("NaCl", 3, rng)
    assert atoms.get_chemical_formula() == "H6ClNaO3"
    far = ion_water.moved_away(atoms, 9.0)
    assert far.get_distances(0, range(1, len(far))).min() == pytest.approx(9.0, abs=1e-4)
    assert far.positions[1:] == pytest.approx(atoms.positions[1:])


def test_styles_of_keys():
    atoms = Atoms("Ar", cell=[4.0] * 3, pbc=True)
    stress = np.arange(6.0)
    results = {"energy": -1.0, "forces": np.zeros((1, 3)), "stress": stress}
    atoms.calc = SinglePointCalculator(atoms, **results)
    assert datasets.as_written(atoms, "results").get_stress() == pytest.approx(stress)
    frame = datasets.as_written(atoms, "reference")
    assert frame.calc is None
    assert frame.info["REF_energy"] == -1.0
    assert frame.info["REF_stress"] == pytest.approx([0, 5, 4, 5, 1, 3, 4, 3, 2])


def test_a_killed_run_goes_on(tmp_path, monkeypatch):
    """Parts that exist are kept, the others computed, and the order is that of the plan."""
    computed = []

    class Toy:
        STYLE = "reference"

        @staticmethod
        def plan():
            return [Task("b", "train"), Task("a", "train"), Task("c", "test")]

        @staticmethod
        def compute(task):
            computed.append(task.name)
            atoms = Atoms("Ar", [[0, 0, ord(task.name)]])
            results = {"energy": float(ord(task.name)), "forces": np.zeros((1, 3))}
            atoms.calc = SinglePointCalculator(atoms, **results)
            return [atoms]

    monkeypatch.setattr(datasets, "module_of", lambda name: Toy)
    datasets.compute("toy", tmp_path)
    (tmp_path / "parts/toy/a.xyz").unlink()
    first = (tmp_path / "toy_train.xyz").read_text()
    datasets.compute("toy", tmp_path)
    assert computed == ["b", "a", "c", "a"]
    assert (tmp_path / "toy_train.xyz").read_text() == first
    energies = [a.info["REF_energy"] for a in read(tmp_path / "toy_train.xyz", ":")]
    assert energies == [ord("b"), ord("a")]
    assert not list(tmp_path.rglob(".*"))


def test_random_numbers_depend_on_the_name_only():
    first, again, other = Task("a", "train"), Task("a", "test"), Task("b", "train")
    assert first.rng(1).random() == again.rng(1).random() != other.rng(1).random()
