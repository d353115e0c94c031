"""Data sets that scripts compute: geometries, labels, files, and runs that were killed."""

from __future__ import annotations

import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.data import covalent_radii
from ase.io import read

from muse_lr.data.hessians import read_hessians

pytest.importorskip("tblite")
sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from benchmarks.datasets.geometries import bonds_between, clashes, placed
from benchmarks.datasets.parts import run_tasks
from benchmarks.first_hour.tasks import gfn
from examples.folding import dataset as folding
from examples.folding.peptides import peptide
from examples.graphene import dataset as graphene
from examples.graphene.flakes import RINGS, adsorbate, flake, tilted
from examples.hessians import dataset as hessians
from examples.hessians import verify
from examples.hessians.molecules import Molecule

SMALL = Molecule("polyyne", 2)


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def contents(folder: Path) -> dict[str, bytes]:
    """Files below a folder and what they hold."""
    files = (path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def bonds(atoms: Atoms) -> tuple[int, np.ndarray]:
    """Number of bonds, and their lengths in units of the sum of covalent radii."""
    radii = covalent_radii[atoms.numbers]
    ratios = (atoms.get_all_distances() / (radii[:, None] + radii))[np.triu_indices(len(atoms), 1)]
    found = ratios[ratios < 1.25]
    return len(found), found


def force_error(atoms: Atoms, step: float = 2e-3) -> float:
    """Labeled force minus the difference of energies along a random direction, eV/A."""
    direction = np.random.default_rng(0).standard_normal(atoms.positions.shape)
    direction /= np.linalg.norm(direction)
    ahead, behind = (
        gfn_energy(Atoms(atoms.numbers, atoms.positions + sign * step * direction))
        for sign in (1, -1)
    )
    return float(np.sum(atoms.arrays["REF_forces"] * direction)) + (ahead - behind) / (2 * step)


def gfn_energy(atoms: Atoms) -> float:
    atoms.calc = gfn("GFN2-xTB", accuracy=0.01)
    return atoms.get_potential_energy()


def test_an_atom_is_placed_by_its_internal_coordinates(rng):
    points = 2 * rng.standard_normal((3, 3))
    for dihedral in (0.0, 60.0, -120.0):
        atoms = Atoms("C4", [*points, placed(*points[::-1], (1.4, 110.0, dihedral))])
        assert atoms.get_distance(2, 3) == pytest.approx(1.4)
        assert atoms.get_angle(3, 2, 1) == pytest.approx(110.0)
        assert np.cos(np.radians(atoms.get_dihedral(0, 1, 2, 3) - dihedral)) == pytest.approx(1)


def test_bonds_are_counted_along_the_chain():
    between = bonds_between(Molecule("polyyne", 3).guess())
    assert between[0].tolist() == [0, 1, 2, 3, 4, 4, 4, 4]
    assert (between == between.T).all()


@pytest.mark.parametrize("molecule", hessians.molecules(), ids=lambda molecule: molecule.name)
def test_molecules_have_their_formula_and_usual_bonds(molecule):
    atoms, n = molecule.guess(), molecule.units
    formulas = {
        "push_pull": {"C": 2 * n + 2, "H": 2 * n + 6, "N": 2, "O": 2},
        "polyyne": {"C": 2 * n, "H": 2},
        "alkane": {"C": n, "H": 2 * n + 2},
        "fatty_acid": {"C": 22, "H": 32, "O": 2},
    }
    assert Counter(atoms.symbols) == formulas[molecule.family]
    count, lengths = bonds(atoms)
    assert count == len(atoms) - 1  # a tree
    assert lengths.min() > 0.78
    assert not clashes(atoms, bonds_between(atoms))


def test_the_fatty_acid_is_folded():
    """Its ends are nearer than in a straight chain of 22 carbons, 27 A, and it is not flat."""
    atoms = Molecule("fatty_acid", 22).guess()
    assert atoms.get_distance(0, 21) < 12
    assert np.linalg.svd(atoms.positions - atoms.positions.mean(0), compute_uv=False)[2] > 4


@pytest.fixture
def few(monkeypatch):
    """Few frames of each set."""
    monkeypatch.setattr(hessians, "COUNTS", {"train": 2, "valid": 2, "test": 2})
    for module in (hessians, graphene, folding):
        monkeypatch.setattr(module, "CHUNK", 2)


def run_hessians(out: Path) -> None:
    hessians.run(out, 0, [SMALL])


def run_graphene(out: Path) -> None:
    tasks = [*graphene.frame_tasks(), *graphene.scan_tasks()]
    names = {"test_far-water-C24H12-00", "train-NaCl-00"}
    graphene.run(out, 0, [task for task in tasks if task.name in names])


def run_folding(out: Path) -> None:
    names = {"train-01-00", "test-02-00", "lengths-02", "concerted-02"}
    folding.run(out, 0, [task for task in folding.plan() if task.name in names])


@pytest.mark.parametrize("run", [run_hessians, run_graphene, run_folding])
def test_a_killed_run_gives_the_same_files(run, few, tmp_path, monkeypatch):
    monkeypatch.setattr(folding, "PATHS", {2: 1})
    run(tmp_path / "whole")
    expected = contents(tmp_path / "whole")
    run(tmp_path / "killed")
    parts = sorted((tmp_path / "killed" / "parts").iterdir())
    for path in (*parts[::2], *(tmp_path / "killed").glob("*.xyz")):
        path.unlink()
    run(tmp_path / "killed")
    assert contents(tmp_path / "killed") == expected
    assert not list(tmp_path.rglob(".*"))


def test_other_processes_give_the_same_frames(few, tmp_path):
    tasks = [task for task in folding.plan() if task.name in ("lengths-01", "lengths-02")]
    folding.run(tmp_path / "here", 0, tasks)
    folding.run(tmp_path / "there", 2, tasks)
    assert contents(tmp_path / "there") == contents(tmp_path / "here")


def test_a_failed_task_leaves_no_file(tmp_path, capsys):
    tasks = {tmp_path / f"{task.name}.xyz": task for task in folding.plan()[:3]}
    done = []

    def work(task, path):
        if len(done) == 1:
            raise KeyboardInterrupt
        path.write_text(task.name)
        done.append(task.name)

    with pytest.raises(KeyboardInterrupt):
        run_tasks("set", tasks, work)
    assert [path.name for path in tmp_path.iterdir()] == [f"{done[0]}.xyz"]
    assert "1/3 tasks" in capsys.readouterr().out


def test_hessians_and_samples_of_a_molecule(few, tmp_path):
    hessians.run(tmp_path, 0, [SMALL])
    frames = read_hessians(tmp_path / "hessians_positive.xyz")
    assert len(frames) == 1 + hessians.DISPLACED
    for frame in frames:
        assert np.abs(frame.hessian - frame.hessian.T).max() < 5e-3
        assert np.abs(frame.hessian.reshape(-1, len(frame.atoms), 3).sum(1)).max() < 1e-6
        assert 0 < frame.atoms.info["asymmetry"] < 1e-3
    minimum = frames[0]
    assert np.abs(minimum.atoms.arrays["REF_forces"]).max() < 1e-3
    assert np.linalg.eigvalsh(minimum.hessian)[0] > -0.01
    samples = read(tmp_path / "train.xyz", ":")
    limits = np.array(hessians.TEMPERATURES)
    for atoms in samples:
        assert limits[0] <= atoms.info["temperature"] <= limits[1]
        assert abs(force_error(atoms)) < 2e-3
        assert bonds(atoms)[0] == len(atoms) - 1
        above = atoms.info["REF_energy"] - minimum.atoms.info["REF_energy"]
        kelvin = atoms.info["temperature"] * 8.617e-5
        assert 0 < above < hessians.MOST_ENERGY * 13 / 2 * kelvin  # 3 * 6 - 5 modes
    assert samples[0].info["temperature"] != samples[1].info["temperature"]


def test_held_out_lengths_and_negatives_are_not_in_other_files():
    splits = {m.name: {t.split for t in hessians.sample_tasks(m)} for m in hessians.molecules()}
    assert splits["push_pull_09"] == splits["polyyne_10"] == {"test_held_out"}
    assert splits["push_pull_08"] == splits["alkane_16"] == {"train", "valid", "test"}
    groups = Counter(hessians.group(molecule) for molecule in hessians.molecules())
    assert groups == {"positive": 10, "held_out": 4, "negative": 2}


def test_rows_that_are_verified_are_differences_of_gradients(rng, tmp_path, capsys):
    """Of a quadratic energy: the blocks come back, and nothing is computed again."""
    atoms = Molecule("push_pull", 4).guess()
    chosen = verify.ends(atoms)
    assert [atoms.symbols[i] for i in chosen.values()] == ["N", "N", "O"]
    assert atoms.get_distance(chosen["nitro N"], chosen["amine N"]) > 10
    size = 3 * len(atoms)
    hessian = rng.standard_normal((size, size))
    hessian += hessian.T
    for i in chosen.values():
        for axis in range(3):
            for sign in (1, -1):
                gradient = sign * verify.STEP * hessian[3 * i + axis].reshape(-1, 3)
                verify.save(verify.part(tmp_path, i, axis, sign), gradient)
    verify.compute(atoms, chosen, tmp_path)
    i = chosen["amine N"]
    expected = hessian.reshape(len(atoms), 3, len(atoms), 3)[i].transpose(1, 0, 2)
    assert verify.row(tmp_path, i) == pytest.approx(expected)
    verify.compare(atoms, hessian, chosen, tmp_path)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("nitro N 0 to 3 A")
    assert all(line.endswith("cosine 1.00") for line in lines)


@pytest.mark.parametrize("name", RINGS)
def test_flakes_are_hexagonal_and_saturated(name):
    atoms = flake(name)
    assert atoms.get_chemical_formula() == name
    assert np.abs(atoms.positions[:, 2]).max() == 0
    between = atoms.get_all_distances()
    neighbors = ((between > 0.5) & (between < 1.5)).sum(1)
    assert (neighbors[atoms.numbers == 6] == 3).all()
    assert (neighbors[atoms.numbers == 1] == 1).all()
    turn = np.radians(60)
    rotation = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    turned = atoms.positions[:, :2] @ rotation.T
    gaps = np.linalg.norm(turned[:, None] - atoms.positions[:, :2], axis=-1).min(1)
    assert gaps.max() < 1e-6


def test_molecules_are_above_the_flake(rng):
    lower = flake("C24H12")
    for name in graphene.ADSORBATES:
        for _ in range(5):
            upper = tilted(adsorbate(name), name, 40.0, rng)
            atoms = graphene.above(lower, upper, 2.6, np.array([0.5, -0.3]))
            n = atoms.info["size_first"]
            assert atoms.positions[n:, 2].min() == pytest.approx(2.6)
            assert atoms.positions[n:, :2].mean(0) == pytest.approx([0.5, -0.3])
            own = atoms[n:].get_all_distances()
            assert own == pytest.approx(adsorbate(name).get_all_distances())
    water = adsorbate("water")
    assert water.positions[1, 2] < water.positions[0, 2] - 0.9  # one hydrogen below the oxygen
    assert water.positions[1, :2] == pytest.approx(water.positions[0, :2])


def test_scans_dissociate_and_interaction_energies_are_differences(monkeypatch, tmp_path):
    monkeypatch.setattr(graphene, "HEIGHTS", np.array([3.0, 15.0]))
    tasks = [task for task in graphene.scan_tasks() if task.name == "height-NaCl-C24H12"]
    graphene.run(tmp_path, 0, tasks)
    near, far = read(tmp_path / "height_scans.xyz", ":")
    assert near.info["scan"] == "NaCl-C24H12"
    assert (near.info["distance"], far.info["distance"]) == (3.0, 15.0)
    assert near.info["REF_interaction_energy"] == pytest.approx(-0.333, abs=0.01)
    assert abs(far.info["REF_interaction_energy"]) < 2e-3
    assert abs(far.info["REF_charge_transfer"]) < 1e-3 < abs(near.info["REF_charge_transfer"])
    difference = near.info["REF_energy"] - far.info["REF_energy"]
    interaction = near.info["REF_interaction_energy"] - far.info["REF_interaction_energy"]
    assert difference == pytest.approx(interaction, abs=1e-6)
    assert abs(force_error(near)) < 5e-3


def test_far_and_large_flakes_are_tests_only():
    tasks = graphene.frame_tasks()
    assert all("C96H24" not in task.name for task in tasks if task.split in ("train", "valid"))
    assert {task.options["flake"] for task in tasks if task.split == "test_large"} == {"C96H24"}
    counts = Counter(task.split for task in tasks if "adsorbate" in task.options)
    assert counts["train"] * graphene.CHUNK == 3 * (200 + 120)


def test_a_peptide_has_left_handed_residues_and_the_torsions_it_was_given():
    torsions = [(-63.0, -42.0), (-120.0, 130.0), (60.0, 40.0)]
    atoms = peptide(torsions)
    assert atoms.get_chemical_formula() == "C12H22N4O4"
    count, lengths = bonds(atoms)
    assert count == len(atoms) - 1
    assert 0.85 < lengths.min() < lengths.max() < 1.15
    size, first = 10, 7  # atoms of a residue, and its first one
    for i, (phi, psi) in enumerate(torsions):
        alpha, own, side = (first + size * i + k for k in (0, 2, 3))
        before = 1 if i == 0 else own - size
        nitrogen, following = (2, own + 6) if i == 0 else (own - 4, own + 6)
        for expected, dihedral in (
            (phi, (before, nitrogen, alpha, own)),
            (psi, (nitrogen, alpha, own, following)),
        ):
            difference = np.radians(atoms.get_dihedral(*dihedral) - expected)
            assert np.cos(difference) == pytest.approx(1, abs=1e-9)
        arms = atoms.positions[[nitrogen, own, side]] - atoms.positions[alpha]
        assert np.linalg.det(arms) > 0


def test_conformations_and_paths_are_free_of_clashes(rng):
    between = bonds_between(peptide([folding.EXTENDED] * 3))
    for kind in folding.CONFORMATIONS:
        assert not clashes(peptide(folding.drawn(kind, 3, rng)), between)
    for kind in ("sequential", "concerted"):
        for helical in np.linspace(0, 6, 13):
            assert not folding.has_clash(folding.along(kind, 6, helical))
        assert folding.along(kind, 6, 0.0) == [folding.EXTENDED] * 6
        assert folding.along(kind, 6, 6.0) == [folding.HELIX] * 6


def test_the_labels_of_peptides(few, tmp_path):
    tasks = [task for task in folding.plan() if task.name == "train-02-00"]
    folding.run(tmp_path, 0, tasks)
    frames = read(tmp_path / "train.xyz", ":")
    assert [atoms.info["conformation"] for atoms in frames] == ["helix", "extended"]
    for atoms in frames:
        assert abs(force_error(atoms)) < 5e-3
        assert bonds(atoms)[0] == len(atoms) - 1
    assert {task.options["residues"] for task in folding.plan() if task.split == "train"} == set(
        range(1, 7)
    )
