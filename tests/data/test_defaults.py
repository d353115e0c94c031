"""Rules for charges, global inputs and E0s of a written configuration."""

from __future__ import annotations

from pathlib import Path

import ase.io
import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, molecule

import muse_lr
from helpers import energies_of, random_model
from muse_lr.config.yaml import parse_yaml
from muse_lr.data.scaffold import make_configuration
from muse_lr.data.scaffold.defaults import choose_charges, choose_embedding
from muse_lr.train.config import load_config
from muse_lr.train.loop import train
from training_data import labeled_frames

HYDRONIUM = Atoms("OH3", [[0, 0, 0], [0.95, 0, 0], [-0.4, 0.85, 0], [-0.4, -0.6, 0.6]])
HYDROXIDE = Atoms("OH", [[0, 0, 0], [0.97, 0, 0]])
AMMONIUM = Atoms(
    "NH4", np.array([[0, 0, 0], [1, 1, 1], [1, -1, -1], [-1, 1, -1], [-1, -1, 1]]) * 0.59
)
WATER = molecule("H2O")


def beside(
    *parts: Atoms, charge: float | None = None, spacing: float = 5.0, **info: float
) -> Atoms:
    """Parts in a row."""
    whole = Atoms()
    for k, part in enumerate(parts):
        moved = part.copy()
        moved.translate([k * spacing, 0, 0])
        whole += moved
    if charge is not None:
        whole.info["total_charge"] = charge
    whole.info.update(info)
    return whole


def ion(symbol: str) -> Atoms:
    return Atoms(symbol, [[0, 0, 0]])


def periodic(atoms: Atoms) -> Atoms:
    atoms = atoms.copy()
    atoms.set_cell([20, 20, 20])
    atoms.pbc = True
    return atoms


@pytest.mark.parametrize(
    ("frames", "by_element"),
    [
        ([beside(WATER, WATER)], {}),
        ([beside(WATER), beside(WATER, molecule("CH3OH"))], {}),
        (
            [beside(ion("Cl"), WATER, charge=-1), beside(ion("Na"), WATER, charge=1)],
            {"Na": 1, "Cl": -1},
        ),
        ([periodic(beside(ion("Na"), WATER, ion("Cl"), WATER))], {"Na": 1, "Cl": -1}),
        ([beside(ion("Mg"), WATER, WATER, charge=2)], {"Mg": 2}),
        # Alone in their frames, but of several total charges.
        ([beside(ion("Cl"), charge=-1), beside(WATER)], {"Cl": -1}),
    ],
)  # fmt: skip
def test_pieces_that_can_part_get_split_charges(frames: list[Atoms], by_element: dict[str, int]):
    found = choose_charges(frames)
    assert found.kind == "split"
    assert found.by_element == by_element
    assert "size-consistent" in found.reason


@pytest.mark.parametrize(
    ("frames", "reason"),
    [
        ([beside(molecule("CH3OH"))], "nothing separates"),
        ([bulk("NaCl", "rocksalt", a=5.64, cubic=True)], "nothing separates"),
        # A chloride's charge follows from its element, that of ammonium does not.
        ([beside(AMMONIUM, ion("Cl"))], "such as H4N,"),
        ([beside(AMMONIUM, WATER, charge=1)], "such as H4N,"),
        (
            [beside(HYDRONIUM, WATER, charge=1), beside(HYDROXIDE, WATER, charge=-1)],
            "such as H3O, HO,",
        ),
        # Chlorine is an ion in one frame and bonded in the other.
        (
            [beside(ion("Cl"), WATER, charge=-1), beside(molecule("CH3Cl"), WATER)],
            "not those of single",
        ),
        # One composition with two total charges.
        ([beside(WATER, WATER), beside(WATER, WATER, charge=1)], "not those of single"),
    ],
)
def test_conserved_charges_are_kept_with_a_reason(frames: list[Atoms], reason: str):
    found = choose_charges(frames)
    assert found.kind == "conserved"
    assert reason in found.reason
    assert "not size-consistent" in found.reason


def test_isolated_atoms_do_not_count():
    frames = [ion("Na"), ion("Cl"), bulk("NaCl", "rocksalt", a=5.64, cubic=True)]
    assert choose_charges(frames).kind == "conserved"


def test_inputs_that_positions_do_not_tell_are_embedded():
    neutral, charged = beside(WATER, charge=0), beside(WATER, charge=1)
    assert choose_embedding([neutral, charged]).names == ("total_charge",)
    assert "not size-consistent" in choose_embedding([neutral, charged]).reason
    different = [beside(WATER, charge=0), beside(ion("Cl"), charge=-1)]
    assert choose_embedding(different).names == ()
    assert "the composition tells" in choose_embedding(different).reason
    assert choose_embedding([neutral, neutral]).reason == ""
    oxygen = molecule("O2")
    spins = [beside(oxygen, spin=1), beside(oxygen, spin=3)]
    assert choose_embedding(spins).names == ("spin",)
    assert choose_embedding([beside(oxygen, spin=3), beside(WATER, spin=1)]).names == ()
    # Another spin of another total charge follows from it.
    pair = [beside(oxygen, charge=0, spin=3), beside(oxygen, charge=-1, spin=2)]
    assert choose_embedding(pair).names == ("total_charge",)


def written(path: Path, frames: list[Atoms]) -> dict:
    """The configuration of frames with small random labels."""
    rng = np.random.default_rng(0)
    for atoms in frames:
        atoms.info.setdefault("REF_energy", -20.0 * len(atoms) + 0.1 * rng.normal())
        atoms.arrays["REF_forces"] = np.zeros((len(atoms), 3))
    ase.io.write(path / "data.xyz", frames)
    text = make_configuration(path / "data.xyz")
    (path / "config.yaml").write_text(text)
    load_config(path / "config.yaml")
    return parse_yaml(text, "text")


def test_the_choices_are_written(tmp_path: Path):
    pairs = [beside(ion("Cl"), WATER, charge=-1, spacing=3 + k / 9) for k in range(8)]
    charges = written(tmp_path, pairs)["model"]["charges"]
    assert charges == {
        "kind": "split", "by_element": {"Cl": -1}, "net_charge": "refuse", "width": 1.0
    }  # fmt: skip
    redox = [beside(WATER, charge=k % 2) for k in range(8)]
    for k, atoms in enumerate(redox):
        atoms.rattle(0.05, seed=k)
    assert written(tmp_path, redox)["model"]["backbone"]["embed"] == ["total_charge"]


@pytest.mark.parametrize(("key", "energy", "e0"), [
    ("interaction_energy", -30.0, "zero"),
    ("REF_energy", -0.2, "zero"),
    ("REF_energy", -30.0, None),
])  # fmt: skip
def test_energies_without_atoms_get_no_e0(tmp_path: Path, key: str, energy: float, e0: str | None):
    frames = [beside(WATER, WATER, spacing=3 + k / 9) for k in range(8)]
    for k, atoms in enumerate(frames):
        atoms.info[key] = energy + 0.01 * k
        atoms.arrays["REF_forces"] = np.zeros((len(atoms), 3))
    ase.io.write(tmp_path / "data.xyz", frames)
    keys = None if key == "REF_energy" else {"energy": key}
    text = make_configuration(tmp_path / "data.xyz", keys=keys)
    assert parse_yaml(text, "text")["model"].get("e0") == e0


def far_error(model: muse_lr.EnergyModel) -> float:
    """Energy of Cl- 100 A from water, minus the energies of both alone, eV."""
    pair = beside(ion("Cl"), WATER, charge=-1, spacing=100.0)
    together, first, second = energies_of(model, [pair, beside(ion("Cl"), charge=-1), WATER])
    return float(together - first - second)


def test_an_ion_far_from_a_molecule_has_the_sum_of_the_energies(tmp_path: Path):
    ase.io.write(tmp_path / "data.xyz", labeled_frames(8))
    section = parse_yaml(make_configuration(tmp_path / "data.xyz"), "text")["model"]
    section["backbone"] |= {"channels": 8, "layers": 1}
    assert section["charges"]["by_element"] == {"Na": 1, "Cl": -1}
    assert abs(far_error(random_model(section))) < 0.005
    conserved = {**section, "charges": {"kind": "conserved", "width": 1.0}}
    assert abs(far_error(random_model(conserved))) > 0.005, "the test can fail"


@pytest.mark.slow
def test_a_trained_ion_far_from_a_molecule_has_the_sum_of_the_energies(tmp_path: Path):
    ase.io.write(tmp_path / "data.xyz", labeled_frames(60))
    (tmp_path / "config.yaml").write_text(make_configuration(tmp_path / "data.xyz"))
    changes = {
        "model.backbone.channels": 16, "model.backbone.layers": 1, "training.epochs": 40,
        "training.directory": str(tmp_path / "run"), "training.learning_rate": 0.01,
    }  # fmt: skip
    train(load_config(tmp_path / "config.yaml", changes))
    assert abs(far_error(muse_lr.load_model(tmp_path / "run" / "model.pt").double())) < 0.005
