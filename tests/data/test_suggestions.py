"""What the data check asks and suggests: gaps, walls, isolated atoms, charges, units."""

from __future__ import annotations

from pathlib import Path

import ase.io
import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, fcc111, molecule
from ase.calculators.lj import LennardJones
from ase.units import Bohr, Debye

from muse_lr.charges.base import ChargeModel
from muse_lr.config.registry import CHARGES, lookup
from muse_lr.data.check import check_file
from muse_lr.data.check_text import format_report
from muse_lr.data.findings import CheckReport
from muse_lr.data.reading import read_frames
from muse_lr.data.scaffold import make_configuration
from muse_lr.data.vacuum import gap_question
from muse_lr.errors import InputError
from muse_lr.structures.lattice import modulo_cell
from muse_lr.units import COULOMB_CONSTANT


def check(tmp_path: Path, frames: list[Atoms], keys=None) -> CheckReport:
    ase.io.write(tmp_path / "a.xyz", frames, format="extxyz", write_results=False)
    return check_file(tmp_path / "a.xyz", keys)


def kinds(report: CheckReport) -> set[str]:
    return {finding.kind for finding in report.findings}


@pytest.mark.parametrize("vacuum", [15.0, 60.0])
@pytest.mark.parametrize("axis", [0, 1, 2])
def test_a_slab_with_a_gap_is_asked_about(axis, vacuum):
    """However it is wrapped, in any order of the axes."""
    slab = fcc111("Al", (2, 2, 3), vacuum=vacuum / 2)
    slab.pbc = True
    order = np.roll([0, 1, 2], axis - 2)
    slab.set_cell(slab.cell.array[np.argsort(order)], scale_atoms=False)
    slab.positions += np.random.default_rng(0).uniform(-50, 50, 3)
    slab.wrap()
    question = gap_question(slab)
    assert question is not None
    open_axis = int(np.flatnonzero([w != "T" for w in question.boundary.split()])[0])
    normal = slab.cell.reciprocal().array[open_axis]
    expected = 1 / np.linalg.norm(normal) - 2 * 4.05 / 3**0.5
    assert question.width == pytest.approx(expected)
    assert "slab" in question.text
    slab.pbc = [w == "T" for w in question.boundary.split()]
    assert gap_question(slab) is None


def test_molecules_and_wires_in_boxes_and_dense_cells():
    water = molecule("H2O", cell=[20, 21, 22], pbc=True)
    question = gap_question(water)
    assert question.boundary == "F F F"
    assert "molecule" in question.text
    water.pbc = [True, True, False]
    assert gap_question(water).boundary == "F F F"
    wire = Atoms("C2", [[0, 0, 0], [1.3, 0, 0]], cell=[2.6, 15, 15], pbc=True)
    assert "wire" in gap_question(wire).text
    assert gap_question(bulk("NaCl", "rocksalt", a=5.64, cubic=True)) is None
    assert gap_question(molecule("H2O")) is None


def scan(distances, forces=True, shift=0.0) -> list[Atoms]:
    """NaCl at several distances, with the energies of Born and Mayer."""
    frames = []
    for r in distances:
        atoms = Atoms("NaCl", positions=[[0, 0, 0], [0, 0, r]])
        wall = 2000 * np.exp(-r / 0.3)
        atoms.info["REF_energy"] = -600 + wall - COULOMB_CONSTANT / r + shift
        if forces:
            push = wall / 0.3 - COULOMB_CONSTANT / r**2
            atoms.arrays["REF_forces"] = np.array([[0, 0, -push], [0, 0, push]])
        frames.append(atoms)
    return frames


@pytest.mark.parametrize("forces", [True, False])
def test_a_repulsive_wall_may_be_physics(tmp_path, forces):
    frames = scan([1.2, 1.3, *np.linspace(2.1, 3.2, 30)], forces)
    report = check(tmp_path, frames)
    walls = [f for f in report.findings if f.kind == "repulsive wall"]
    assert [f.frame for f in walls] == [0, 1]
    assert "may be physics" in walls[0].message
    assert "atoms 0 and 1" in walls[0].message
    assert "energy outlier" not in kinds(report)


@pytest.mark.parametrize("forces", [True, False])
@pytest.mark.parametrize("count", [30, 75])
def test_the_whole_wall_of_a_scan_without_noise(tmp_path, forces, count):
    """Argon: outliers above the fit are the shortest distances, one after another."""
    frames = []
    for r in np.linspace(2.2, 6, count):
        atoms = Atoms("Ar2", [[0, 0, 0], [0, 0, r]])
        atoms.calc = LennardJones(sigma=3.4, epsilon=0.0104, rc=50.0)
        atoms.info["REF_energy"] = atoms.get_potential_energy()
        if forces:
            atoms.arrays["REF_forces"] = atoms.get_forces()
        atoms.calc = None
        frames.append(atoms)
    report = check(tmp_path, frames)
    assert "energy outlier" not in kinds(report)
    walls = [f.frame for f in report.findings if f.kind == "repulsive wall"]
    assert walls == list(range(len(walls)))
    assert len(walls) >= 7


def test_a_wall_between_rigid_molecules(tmp_path):
    """The bonds are all equal, so that only the distance between the molecules can explain it."""
    frames = []
    for k, r in enumerate(np.linspace(2.3, 5.0, 40)):
        atoms, other = molecule("H2O"), molecule("H2O")
        atoms.extend(Atoms(other.symbols, other.positions + np.array([0, r, 0])))
        atoms.info["REF_energy"] = -4000 + 1e-3 * np.sin(k)
        frames.append(atoms)
    frames[0].info["REF_energy"] += 3.0
    frames[25].info["REF_energy"] += 1.0
    (alone,) = [f for f in check(tmp_path, frames).findings if f.frame == 0]
    assert "outlier" in alone.kind
    assert "may be physics" in alone.message
    frames[1].info["REF_energy"] += 2.0
    report = check(tmp_path, frames)
    assert [f.frame for f in report.findings if f.kind == "energy outlier"] == [25]
    assert {f.frame for f in report.findings if "may be physics" in f.message} == {0, 1}
    assert [f.frame for f in report.findings if f.kind == "repulsive wall"] == [1]


@pytest.mark.parametrize("error", [30.0, -30.0])
def test_a_wrong_energy_is_still_an_outlier(tmp_path, error):
    frames = scan(np.linspace(2.1, 3.2, 30))
    frames[7].info["REF_energy"] += error
    report = check(tmp_path, frames)
    assert [f.frame for f in report.findings if f.kind == "energy outlier"] == [7]
    assert "repulsive wall" not in kinds(report)


def isolated(symbols: str, **changes) -> list[Atoms]:
    values = {"N": -10.0, "C": -20.0} | changes
    parts = Atoms(symbols).get_chemical_symbols()
    return [Atoms(s, info={"REF_energy": values["NC"["NC".index(s[0])]]}) for s in parts]


def test_isolated_atoms_are_named_and_written_by_init(tmp_path):
    report = check(tmp_path, isolated("NaCl") + scan(np.linspace(2, 3, 20)))
    assert report.isolated == {"Na": -10.0, "Cl": -20.0}
    assert report.errors == []  # they have no forces
    assert "energy outlier" not in kinds(report)
    assert "model.e0: isolated" in format_report(report)
    assert "e0: isolated" in make_configuration(tmp_path / "a.xyz")


def test_isolated_atoms_that_lack_or_differ(tmp_path):
    frames = scan(np.linspace(2, 3, 20))
    report = check(tmp_path, isolated("Na") + frames)
    (note,) = [f for f in report.findings if f.kind == "isolated atoms"]
    assert "none of Cl" in note.message
    assert "e0: isolated" not in make_configuration(tmp_path / "a.xyz")
    report = check(tmp_path, isolated("NaCl") + isolated("Na", N=-10.1) + frames)
    (warning,) = [f for f in report.warnings if f.kind == "isolated atoms"]
    assert "differ" in warning.message


@pytest.mark.parametrize(
    ("key", "zero"),
    [
        ("interaction_energy", True),
        ("E_int", True),
        ("formation_energy", True),
        ("atomization_energy", True),
        ("E_ads", True),
        ("dE", True),
        ("dE_ccsd", True),
        ("delta_energy", True),
        ("DeltaE", True),
        ("Ecoh", True),
        ("relative_energy", True),
        ("total_energy", False),
        ("mode_energy", False),
        ("node_e", False),
        ("dft_energy_internal", False),
    ],
)
def test_differences_of_energies_suggest_zero(tmp_path, key, zero):
    frames = scan(np.linspace(2, 3, 20))
    for atoms in frames:
        atoms.info[key] = atoms.info.pop("REF_energy")
    report = check(tmp_path, frames, {"energy": key})
    assert ("relative energies" in kinds(report)) == zero
    text = make_configuration(tmp_path / "a.xyz", keys={"energy": key})
    assert ("e0: zero" in text) == zero


def test_small_energies_suggest_zero(tmp_path):
    frames = scan(np.linspace(2.4, 3, 20), shift=600 + 5.0)
    assert "relative energies" in kinds(check(tmp_path, frames))


def test_charged_sets_are_told_what_their_charges_do(tmp_path):
    frames = scan(np.linspace(2, 3, 20))
    assert "charges" not in kinds(check(tmp_path, frames))
    frames[3].info["charge"] = 1
    report = check(tmp_path, frames)
    (note,) = [f for f in report.findings if f.kind == "charges"]
    assert note.severity == "note"
    named = note.message.split("model.charges but ")[1].split(".")[0].split(", ")
    for kind in CHARGES:
        model: type[ChargeModel] = lookup("charges", kind)
        assert (kind in named) == (not model.exact_total_charge)


def test_a_file_of_isolated_atoms_only_is_no_training_set(tmp_path):
    (note,) = [f for f in check(tmp_path, isolated("NaCl")).findings if "isolated" in f.kind]
    assert "data.isolated_atoms" in note.message
    with pytest.raises(InputError, match=r"all frames are isolated atoms.*data\.isolated_atoms"):
        make_configuration(tmp_path / "a.xyz")


def test_ions_of_one_atom_need_no_forces(tmp_path):
    """They are zero by symmetry, but not in a field or in a crystal."""
    ion = Atoms("Na", info={"REF_energy": -5.0, "total_charge": 1})
    frames = scan(np.linspace(2, 3, 20))
    assert check(tmp_path, [ion, *frames]).errors == []
    assert len(read_frames([tmp_path / "a.xyz"], required=["forces"])) == 21
    for change in ({"electric_field": [0, 0, 0.1]}, {"cell": [3, 3, 3], "pbc": True}):
        other = ion.copy()
        other.info.update({k: v for k, v in change.items() if k == "electric_field"})
        other.set_cell(change.get("cell"))
        other.pbc = change.get("pbc", False)
        assert [f.kind for f in check(tmp_path, [other, *frames]).errors] == ["mixed forces"]
        with pytest.raises(InputError, match=r"frame 0.*mixed labels"):
            read_frames([tmp_path / "a.xyz"])


def test_an_atom_in_a_field_is_no_isolated_atom(tmp_path):
    frames = isolated("NaCl")
    frames[0].info["electric_field"] = [0, 0, 0.1]
    report = check(tmp_path, frames + scan(np.linspace(2, 3, 20)))
    assert report.isolated == {"Cl": -20.0}
    assert report.errors == []  # no force acts on it


def test_spins_name_the_parts_that_read_them(tmp_path):
    frames = scan(np.linspace(2, 3, 20))
    frames[3].info["spin"] = 3
    (note,) = [f for f in check(tmp_path, frames).findings if f.kind == "spin"]
    for name in ("fukui", "scf", "painn", "embed"):
        assert name in note.message


def polar_frames(count: int = 6) -> list[Atoms]:
    """A crystal of fixed charges: P = sum q r, known up to lattice vectors."""
    rng, frames = np.random.default_rng(0), []
    for _ in range(count):
        atoms = bulk("NaCl", "rocksalt", a=5.64, cubic=True)
        charges = np.where(atoms.symbols == "Na", 1.1, -1.1)
        moves = 0.05 * rng.normal(size=atoms.positions.shape)
        atoms.positions += moves
        atoms.info["REF_energy"] = -100.0 * len(atoms) + rng.normal()
        atoms.info["REF_polarization"] = modulo_cell(charges @ moves, atoms)
        atoms.arrays["REF_bec"] = (charges[:, None, None] * np.eye(3)).reshape(-1, 9)
        alpha = 8.0 * 1.5 / COULOMB_CONSTANT * np.eye(3)
        atoms.info["REF_polarizability"] = alpha.ravel()
        epsilon = np.eye(3) + 4 * np.pi * COULOMB_CONSTANT * alpha / atoms.get_volume()
        atoms.info["REF_dielectric"] = epsilon.ravel()
        frames.append(atoms)
    return frames


VOLUME = 5.64**3


@pytest.mark.parametrize(
    ("key", "factor", "hint"),
    [
        ("REF_polarization", 1.0, None),
        ("REF_polarization", -1.0, "opposite sign"),
        ("REF_polarization", 1 / Debye, "Debye"),
        ("REF_polarization", 1 / Bohr, "e Bohr"),
        ("REF_polarization", 1 / VOLUME, "e/A^2"),
        ("REF_polarization", 16.021766 / VOLUME, "C/m^2"),
        ("REF_polarizability", COULOMB_CONSTANT, "A^3"),
        ("REF_polarizability", COULOMB_CONSTANT / Bohr**3, "Bohr^3"),
        ("REF_polarizability", 0.5, "do not belong together"),
    ],
)
def test_units_of_responses(tmp_path, key, factor, hint):
    frames = polar_frames()
    for atoms in frames:
        atoms.info[key] = factor * atoms.info[key]
    report = check(tmp_path, frames)
    messages = [f.message for f in report.findings if f.kind == "units"]
    assert report.errors == []
    assert messages == [] if hint is None else any(hint in message for message in messages)


@pytest.mark.parametrize(
    ("factor", "hint"),
    [(1.0, None), (COULOMB_CONSTANT, "A^3"), (COULOMB_CONSTANT / Bohr**3, "Bohr^3"), (1e5, "unit")],
)
def test_units_of_polarizabilities_of_molecules(tmp_path, factor, hint):
    """That of water is 1.45 A^3."""
    frames = [molecule("H2O", info={"REF_energy": -2000.0 + k}) for k in range(3)]
    for k, atoms in enumerate(frames):
        atoms.rattle(0.01, seed=k)
        atoms.info["REF_polarizability"] = factor * 1.45 / COULOMB_CONSTANT * np.eye(3).ravel()
    messages = [f.message for f in check(tmp_path, frames).findings if f.kind == "units"]
    assert messages == [] if hint is None else any(hint in message for message in messages)


def test_a_susceptibility_is_no_dielectric_tensor(tmp_path):
    frames = polar_frames()
    for atoms in frames:
        atoms.info["REF_dielectric"] = atoms.info["REF_dielectric"] - np.eye(3).ravel()
    messages = [f.message for f in check(tmp_path, frames).findings if f.kind == "units"]
    assert any("susceptibility" in message for message in messages)
