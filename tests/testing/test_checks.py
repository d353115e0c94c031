"""The checks pass a sound potential and catch broken ones."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import pytest
from ase import Atoms
from ase.calculators.emt import EMT
from ase.calculators.lj import LennardJones
from ase.neighborlist import neighbor_list

import muse_lr
from muse_lr import testing
from muse_lr.testing import CheckFailed, NotApplicable, Outputs, Potential, structures
from muse_lr.units import COULOMB_CONSTANT

CUTOFF = 3.0
MOLECULE = structures.molecule(["H", "O", "C", "H"], 3, minimum_distance=1.2)
CRYSTAL = structures.crystal(["Na", "Cl", "O"], 5, minimum_distance=1.6, looseness=0.4)
EITHER = pytest.mark.parametrize("atoms", [MOLECULE, CRYSTAL], ids=["molecule", "crystal"])


@dataclass
class PairPotential(Potential):
    """E = sum_{i<j} Z_i Z_j w(r), w = (1 - r/rc)^power, with the charges q = Z/10 - 1 beside it."""

    power: int = 3
    with_tail: bool = False
    provides: frozenset[str] = field(default=frozenset({"forces", "stress", "charges", "dipole"}))
    cutoff: float = CUTOFF
    coulomb: bool | None = False

    def evaluate(self, structures, compute=()):
        rows = [self.one(atoms, compute) for atoms in structures]
        join = {"forces": np.concatenate, "charges": np.concatenate}
        return Outputs(
            energy=np.array([row["energy"] for row in rows]),
            **{name: join.get(name, np.stack)([row[name] for row in rows]) for name in compute},
        )

    def one(self, atoms, compute):
        i, j, distance, vector = neighbor_list("ijdD", atoms, self.cutoff)
        strength = atoms.numbers[i] * atoms.numbers[j] / 20
        share = 1 - distance / self.cutoff
        slope = -self.power * share ** (self.power - 1) / self.cutoff
        pair = (strength * slope / distance)[:, None] * vector  # dE/dr of each ordered pair
        forces = np.zeros((len(atoms), 3))
        np.add.at(forces, i, pair)
        charges = atoms.numbers / 10 - 1.0
        row = {
            "energy": 0.5 * (strength * share**self.power).sum(),
            "forces": forces,
            "charges": charges,
            "dipole": charges @ atoms.positions,
        }
        if "stress" in compute:
            row["stress"] = 0.5 * pair.T @ vector / atoms.cell.volume
        if self.with_tail and len(atoms) > 1:
            distances = atoms.get_all_distances()[np.triu_indices(len(atoms), 1)]
            products = np.outer(charges, charges)[np.triu_indices(len(atoms), 1)]
            row["energy"] += COULOMB_CONSTANT * (products / distances).sum()
        return row


class Broken(PairPotential):
    """A pair potential whose results of each structure are spoilt by ``fault(atoms, row)``."""

    def __init__(self, fault, **options):
        super().__init__(**options)
        self.fault = fault

    def one(self, atoms, compute):
        row = super().one(atoms, compute)
        return {**row, **self.fault(atoms, row)}


def caught(name, fault, *arguments, **options):
    """Assert that ``check_<name>`` passes the sound potential and catches the broken one."""
    check = getattr(testing, f"check_{name}")
    assert check(PairPotential(), *arguments, **options).passed
    with pytest.raises(CheckFailed, match=rf"^{name}: .* exceeds the tolerance") as failure:
        check(Broken(fault), *arguments, **options)
    measurement = failure.value.measurement
    assert measurement.name == name
    assert not measurement.value <= measurement.tolerance
    assert measurement.what
    return measurement


@EITHER
def test_forces_off_by_one_per_cent(atoms):
    measurement = caught("forces", lambda a, row: {"forces": 1.01 * row["forces"]}, atoms)
    assert measurement.unit == "eV/A"


def test_energy_with_noise():
    rng = np.random.default_rng(0)
    caught("forces", lambda a, row: {"energy": row["energy"] + 1e-4 * rng.normal()}, MOLECULE)


def test_energy_that_is_not_a_number():
    caught("forces", lambda a, row: {"energy": np.nan}, MOLECULE)


def test_stress_that_forgets_a_term():
    caught("stress", lambda a, row: {"stress": row.get("stress", 0) + 1e-3 * np.eye(3)}, CRYSTAL)


def test_stress_with_the_other_sign():
    caught("stress", lambda a, row: {"stress": -row.get("stress", 0)}, CRYSTAL)


def test_stress_that_is_not_symmetric():
    skew = np.array([[0, 1, 0], [-1, 0, 0], [0, 0, 0]])
    caught("stress", lambda a, row: {"stress": row.get("stress", 0) + 1e-3 * skew}, CRYSTAL)


@EITHER
def test_forces_that_are_no_gradient(atoms):
    def swirl(a, row):
        x, y, z = (a.positions - a.positions[0]).T
        return {"forces": row["forces"] + 1e-3 * np.stack([-y, x, 0 * z], axis=1)}

    caught("hessian_symmetric", swirl, atoms)


@EITHER
def test_energy_that_depends_on_the_origin(atoms):
    origin = lambda a, row: {"energy": row["energy"] + 1e-6 * a.positions[0, 0]}  # noqa: E731
    caught("translation", origin, atoms)


def test_dipole_of_an_ion_that_ignores_the_origin():
    centered = lambda a, row: {  # noqa: E731
        "dipole": row["charges"] @ (a.positions - a.positions.mean(0))
    }
    caught("translation", centered, MOLECULE)


@EITHER
def test_forces_that_do_not_rotate(atoms):
    push = lambda a, row: {"forces": row["forces"] + [1e-6, 0, 0]}  # noqa: E731
    caught("rotation", push, atoms)


def test_stress_that_does_not_rotate():
    push = lambda a, row: {"stress": row.get("stress", 0) + np.diag([1e-6, 0, 0])}  # noqa: E731
    caught("rotation", push, CRYSTAL)


def test_energy_that_knows_left_from_right():
    def chiral(a, row):
        b, c, d = a.positions[1:4] - a.positions[0]
        return {"energy": row["energy"] + 1e-4 * np.cross(b, c) @ d}

    assert testing.check_rotation(Broken(chiral), MOLECULE).passed
    caught("reflection", chiral, MOLECULE)


def test_energy_that_prefers_right_handed_cells():
    handed = lambda a, row: {  # noqa: E731
        "energy": row["energy"] + 1e-4 * np.sign(np.linalg.det(a.cell.array))
    }
    caught("reflection", handed, CRYSTAL)


@EITHER
def test_charges_that_depend_on_the_order(atoms):
    first = lambda a, row: {"charges": row["charges"] + 1e-6 * np.arange(len(a))}  # noqa: E731
    caught("permutation", first, atoms)


def test_energy_that_depends_on_the_image():
    image = lambda a, row: {  # noqa: E731
        "energy": row["energy"] + 1e-6 * np.square(a.positions).sum()
    }
    caught("wrapping", image, CRYSTAL)


def test_energy_that_depends_on_the_lattice_vectors():
    vectors = lambda a, row: {"energy": row["energy"] + 1e-6 * a.cell.lengths().sum()}  # noqa: E731
    caught("equivalent_cell", vectors, CRYSTAL)


def test_energy_per_cell_that_falls_as_one_over_n():
    finite_size = lambda a, row: {"energy": row["energy"] * (1 + 1e-3 / len(a))}  # noqa: E731
    caught("supercell", finite_size, CRYSTAL)
    caught("far_copies", finite_size, MOLECULE)


def test_charges_that_change_in_a_supercell():
    caught("supercell", lambda a, row: {"charges": row["charges"] / len(a)}, CRYSTAL)


def test_results_that_depend_on_the_batch():
    class Leaky(PairPotential):
        def evaluate(self, structures, compute=()):
            out = super().evaluate(structures, compute)
            mean = 1e-6 * np.mean([len(atoms) for atoms in structures])
            return Outputs(**{**vars(out), "energy": out.energy + mean})

    batch = [structures.molecule(["H"]), MOLECULE, CRYSTAL]
    assert testing.check_batch(PairPotential(), batch).passed
    with pytest.raises(CheckFailed, match="energy in a batch"):
        testing.check_batch(Leaky(), batch)


def test_coulomb_tail_of_far_copies():
    sound = PairPotential(with_tail=True, coulomb=True)
    assert testing.check_far_copies(sound, MOLECULE).passed
    doubled = Broken(lambda a, row: {"charges": 2 * row["charges"]}, with_tail=True, coulomb=True)
    with pytest.raises(CheckFailed, match="Coulomb tail"):
        testing.check_far_copies(doubled, MOLECULE)


def test_far_copies_without_charges():
    nothing = {"provides": frozenset({"forces"}), "coulomb": None}
    assert testing.check_far_copies(PairPotential(with_tail=True, **nothing), MOLECULE).passed
    constant = lambda a, row: {"energy": row["energy"] + 1e-3}  # noqa: E731
    with pytest.raises(CheckFailed, match="extrapolated"):
        testing.check_far_copies(Broken(constant, with_tail=True, **nothing), MOLECULE)


def test_leaking_charge_is_known_where_it_is_declared():
    other = structures.molecule(["Na", "Cl"], 1, minimum_distance=2.0)
    leak = lambda a, row: {"energy": row["energy"] + 1e-3 * np.ptp(a.numbers) ** 2}  # noqa: E731
    caught("size_consistency", leak, MOLECULE, other)
    declared = Broken(leak)
    declared.size_consistent = False
    measurement = testing.check_size_consistency(declared, MOLECULE, other)
    assert not measurement.passed
    assert "known: the potential declares size_consistent: false" in str(measurement)
    with pytest.raises(CheckFailed):
        testing.check_far_copies(declared, MOLECULE, strict=True)


def test_charge_that_is_not_conserved():
    ion = MOLECULE.copy()
    ion.info["total_charge"] = 1
    exact = lambda a, row: {"charges": np.full(len(a), a.info["total_charge"] / len(a))}  # noqa: E731
    assert testing.check_total_charge(Broken(exact), ion).passed
    with pytest.raises(CheckFailed, match="charges' sum from 1 e"):
        testing.check_total_charge(PairPotential(), ion)


@pytest.mark.parametrize(
    ("power", "smooth"),
    [(0, False), (1, False), (2, False), (3, True), (4, True)],
    ids=["jump", "kink", "C1", "C2", "C3"],
)
def test_smoothness_of_the_cutoff(power, smooth):
    path = testing.separation_path(MOLECULE, CUTOFF)
    scan = testing.displacement_path(CRYSTAL, seed=1)
    for walk, options in ((path, {"look_at": (0.0,)}), (path, {}), (scan, {})):
        if smooth:
            testing.check_smooth(PairPotential(power=power), walk, **options)
        else:
            with pytest.raises(CheckFailed, match="jump of the second derivative"):
                testing.check_smooth(PairPotential(power=power), walk, **options)


def test_energy_that_jumps_when_a_strained_cell_has_another_k_vector():
    path = testing.strain_path(CRYSTAL, seed=2)
    assert testing.check_smooth(PairPotential(), path, span=(-0.1, 0.1)).passed
    counts = lambda a, row: {  # noqa: E731
        "energy": row["energy"] + 1e-3 * np.floor(10 * a.cell.volume)
    }
    with pytest.raises(CheckFailed, match="smooth"):
        testing.check_smooth(Broken(counts), path, span=(-0.1, 0.1))


@pytest.mark.parametrize(
    ("check", "atoms"),
    [
        (testing.check_wrapping, MOLECULE),
        (testing.check_equivalent_cell, MOLECULE),
        (testing.check_supercell, MOLECULE),
        (testing.check_stress, MOLECULE),
        (testing.check_far_copies, CRYSTAL),
        (testing.check_permutation, structures.molecule(["H"])),
        (testing.check_second_derivatives, MOLECULE),
    ],
)
def test_what_has_no_meaning_is_said(check, atoms):
    with pytest.raises(NotApplicable):
        check(PairPotential(), atoms)


@pytest.mark.parametrize("path", [testing.strain_path])
def test_open_boundaries_have_no_strain_path(path):
    with pytest.raises(NotApplicable):
        path(MOLECULE)


def test_any_ase_calculator_can_be_checked():
    atoms = structures.crystal(["Cu", "Au"], 2, minimum_distance=2.3, looseness=0.3)
    for check in (testing.check_forces, testing.check_stress, testing.check_rotation):
        assert check(EMT(), atoms, tolerance=1e-5).passed
    with pytest.raises(NotApplicable, match="charges"):
        testing.check_total_charge(EMT(), atoms)
    with pytest.raises(NotApplicable, match="needs a muse_lr model"):
        testing.check_save_load(EMT(), [atoms])


def test_a_calculator_with_a_bare_cutoff_is_caught():
    atoms = Atoms("Ar2", [[0, 0, 0], [2.5, 0, 0]])
    path = testing.separation_path(atoms, 3.0)
    with pytest.raises(CheckFailed):
        testing.check_smooth(LennardJones(rc=3.0, smooth=False), path)


def test_what_is_no_potential_is_refused():
    with pytest.raises(muse_lr.InputError, match="cannot check a dict"):
        testing.check_forces({}, MOLECULE)
