"""Mistakes in Python: one line that says what is wrong and what to write; summaries that say it."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import bulk, molecule
from ase.calculators.lj import LennardJones

import muse_lr
from muse_lr import InputError
from muse_lr.data.dataset import Dataset
from muse_lr.data.reading import read_frames
from muse_lr.model.energy_model import EnergyModel
from muse_lr.phonons import Phonons
from muse_lr.testing import as_potential, check_translation
from muse_lr.train.config import resolve
from training_data import write_run

SECTION = {"elements": ["H", "O"], "backbone": {"channels": 4, "layers": 1, "cutoff": 4.0}}
WATER = molecule("H2O")
SALT = bulk("NaCl", "rocksalt", a=5.64)
from_ase = muse_lr.AtomsBatch.from_ase


@pytest.fixture(scope="module")
def model() -> EnergyModel:
    return muse_lr.build_model(SECTION).eval()


def batch_of(*structures: Atoms) -> muse_lr.AtomsBatch:
    return from_ase(list(structures or (WATER, WATER)), cutoff=4.0)


def on_meta(model: EnergyModel) -> Any:
    return model(batch_of().to("meta"))


def with_numpy(model: EnergyModel) -> Any:
    batch = batch_of()
    batch.positions = batch.positions.numpy()
    return model(batch)


def build(**section: Any) -> EnergyModel:
    return muse_lr.build_model({**SECTION, **section})


def config_file() -> Any:
    return resolve({"data": {"train": "a.xyz"}}, "c.yaml", Path(), "c")


MISTAKES: list[tuple[Callable[[EnergyModel], Any], str]] = [
    # what a model takes
    (lambda m: m(WATER), r"takes an AtomsBatch, not an Atoms: model\(muse_lr.AtomsBatch.from_ase\("
     r"\[atoms\], cutoff=model.cutoff\)\).*muse_lr.Calculator\(model\)"),
    (lambda m: m([WATER]), r"not a list: .*from_ase\(\[atoms, \.\.\.\]"),
    (lambda m: m("a.xyz"), "not the text 'a.xyz': .*from_ase"),
    (lambda m: m(None), "not None: .*from_ase"),
    (on_meta, r"the batch is on meta and the model on cpu: move it with batch.to\(model.device\)"),
    (with_numpy, "batch.positions is a ndarray, not a torch.Tensor"),
    (lambda m: m(from_ase([WATER], 2.0)), r"ends at 2 A, the model needs 4 A: .*model.cutoff"),
    (lambda m: m(batch_of(SALT)), "has the element Na, which the model does not support: .* H, O$"),
    (lambda m: m(batch_of(molecule("CH4"))), "has the element C, .* supports H, O$"),
    # what it computes
    (lambda m: m(batch_of(), compute="force"), r"'force' \(did you mean 'forces'\?\)"),
    (lambda m: m(batch_of(), "forces", "stress"), r"one tuple, compute=\('forces', 'stress'\)"),
    (lambda m: m(batch_of(), compute=("energy", "forces")), "always computed: leave it out"),
    (lambda m: m(batch_of(), compute=None), r"compute=\('forces', 'stress'\), not None"),
    (lambda m: m(batch_of(), compute=(3,)), "cannot compute 3; known: forces, stress"),
    (lambda m: m(batch_of())["forces"], "attribute of the output: output.forces"),
    (lambda m: batch_of().to(torch.float32), r"keeps float64.*model.to\(torch.float32\)"),
    # batches
    (lambda m: from_ase(WATER, 4.0), r"takes a list of ase.Atoms, not an Atoms: from_ase\(\[at"),
    (lambda m: from_ase("a.xyz", 4.0), "not the text 'a.xyz': .*ase.io.read"),
    (lambda m: from_ase(["a.xyz"], 4.0), "structure 0: an ase.Atoms is needed, .*ase.io.read"),
    (lambda m: from_ase([WATER, None], 4.0), "structure 1: an ase.Atoms is needed, not None"),
    (lambda m: from_ase(np.zeros((3, 3)), 4.0), "takes a list of ase.Atoms, not a ndarray"),
    (lambda m: from_ase([WATER], m), "cutoff is an EnergyModel: a distance in A"),
    (lambda m: from_ase([WATER], "5"), "cutoff is the text '5'"),
    (lambda m: from_ase([WATER], None), "cutoff is None"),
    (lambda m: from_ase([WATER], -1), "cutoff is -1"),
    # labels
    (lambda m: from_ase([WATER], 4.0, ["energy"]), r"\[{'energy': -76.3, .*item 0 is the text 'en"),
    (lambda m: from_ase([WATER], 4.0, {"energy": 1}), r"each structure, .*, not a dict"),
    (lambda m: from_ase([WATER], 4.0, "energy"), r"each structure, .*, not the text 'energy'"),
    (lambda m: from_ase([WATER] * 2, 4.0, [{}]), "labels has 1 items for 2 structures"),
    (lambda m: from_ase([WATER], 4.0, [{"enrgy": 1}]), r"'enrgy' is not .*'energy'\?\); known: en"),
    (lambda m: from_ase([WATER], 4.0, [{"energy": None}]), "label energy is None: leave it out"),
    # elements
    (lambda m: build(elements=[11, 17]), "elements: 11 is no element: write its symbol, Na$"),
    (lambda m: build(elements=np.array([1, 8])), "a list of chemical symbols"),
    (lambda m: build(elements="HO"), r"a list of chemical symbols is needed, such as \[H, O\]"),
    (lambda m: build(elements={"H", "O"}), "a list of chemical symbols"),
    (lambda m: build(elements=["h", "O"]), "'h' is no element: write its symbol, H$"),
    (lambda m: build(elements=["Sodium"]), "'Sodium' is no element: write its symbol, Na$"),
    (lambda m: build(elements=["Cx"]), "'Cx' is no element$"),
    (lambda m: build(charges={"kind": "fixed", "by_element": {1: 1}}), "by_element: 1 .*, H$"),
    (lambda m: build(charges={"kind": "split", "by_element": {"NA": 1}}), "'NA' is no .*, Na$"),
    (lambda m: build(charges={"width": {8: 1.0}}), "charges.width: 8 is no element.*, O$"),
    (lambda m: build(multiscale={"species": [8]}), "multiscale.species: 8 is no element.*, O$"),
    (lambda m: build(heads={"zbl": {"distances": {"1-8": 1.0}}}), "'1' is no element.*, H$"),
    (lambda m: build(e0={1: -13.6}), "e0: 1 is no element: write its symbol, H$"),
    (lambda m: m.set_e0({8: 1.0}), "8 is no element: write its symbol, O$"),
    (lambda m: m.set_e0([0.0, 1.0]), "E0s map elements to energies in eV.*not a list"),
    # configurations and model files
    (lambda m: muse_lr.build_model(None), "a mapping such as .*, not None"),
    (lambda m: muse_lr.build_model(["H"]), "a mapping such as .*, not a list"),
    (lambda m: muse_lr.build_model("own.pt"), "own.pt is a model file: .*muse_lr.load_model"),
    (lambda m: muse_lr.build_model(config_file()), "not a Config: give its attribute .model"),
    (lambda m: muse_lr.load_model("c.yaml"), "c.yaml is a configuration: muse_lr.build_model"),
    (lambda m: muse_lr.load_model(m), "an EnergyModel, which needs no loading"),
    (lambda m: muse_lr.load_model(SECTION), "not a dict: muse_lr.build_model"),
    (lambda m: muse_lr.save_model("a.pt", m), r"save_model\(model, 'model.pt'\), not the text"),
    (lambda m: muse_lr.Calculator(SECTION), "not a dict: muse_lr.build_model"),
    (lambda m: muse_lr.Calculator(WATER), "path of a model file is needed, not an Atoms"),
    (lambda m: muse_lr.Calculator(None), "path of a model file is needed, not None"),
    (lambda m: muse_lr.Calculator(m, dtype=torch.float64), "text 'float32' or 'float64'"),
    (lambda m: muse_lr.Calculator(m, extras="bec"), "'bec' is none of quadrupole, polarization"),
    (lambda m: Phonons(SALT, m), "path of a model file is needed, not an Atoms"),
    (lambda m: Phonons(m, "POSCAR"), "crystal: an ase.Atoms is needed, .*ase.io.read"),
    (lambda m: Phonons(muse_lr.Calculator(m), SALT), "not a Calculator: give its attribute .model"),
    (lambda m: check_translation(WATER, m), "cannot check an Atoms: give a model or its file"),
    # data
    (lambda m: read_frames("gone.xyz"), "^gone.xyz: cannot read this file"),
    (lambda m: read_frames([], keys="energy"), "{'energy': 'dft_energy'}, not the text 'energy'"),
    (lambda m: muse_lr.read_dataset("a.xyz", m), "cutoff is an EnergyModel"),
    (lambda m: Dataset.from_frames([WATER], 4.0), "not an Atoms: .*muse_lr.read_dataset"),
]  # fmt: skip


@pytest.mark.parametrize(("mistake", "message"), MISTAKES, ids=[text for _, text in MISTAKES])
def test_the_message_says_what_to_write(
    model: EnergyModel, mistake: Callable[[EnergyModel], Any], message: str
) -> None:
    with pytest.raises(InputError, match=message) as caught:
        mistake(model)
    assert "\n" not in str(caught.value)


def test_what_is_accepted_in_several_forms(model: EnergyModel, tmp_path: Any) -> None:
    one = model(batch_of(), compute="forces")
    torch.testing.assert_close(one.forces, model(batch_of(), compute=["forces"]).forces)
    file = tmp_path / "m.pt"
    muse_lr.save_model(model, file)
    assert as_potential(file).model.elements == as_potential(str(file)).model.elements == ("H", "O")
    check_translation(str(file), WATER, tolerance=1e-3)
    energy = torch.tensor(1.0, requires_grad=True)
    batch = from_ase([WATER], torch.tensor(4.0), [{"energy": energy}])
    assert batch["label_energy"].tolist() == [1.0]


def test_a_calculator_on_the_atoms_is_no_label() -> None:
    atoms = WATER.copy()
    atoms.calc = LennardJones()
    atoms.get_potential_energy()
    assert "no labels" in repr(batch_of(atoms))


def test_phonons_read_a_model_file(tmp_path: Any) -> None:
    pytest.importorskip("phonopy")
    charges = {"kind": "fixed", "by_element": {"Na": 1, "Cl": -1}, "width": 1.0}
    model = muse_lr.build_model(
        {"elements": ["Na", "Cl"], "backbone": None, "charges": charges, "heads": {"zbl": {}}}
    )
    muse_lr.save_model(model, tmp_path / "m.pt")
    from_file = Phonons(str(tmp_path / "m.pt"), SALT, (1, 1, 1)).gamma().transverse
    np.testing.assert_allclose(from_file, Phonons(model, SALT, (1, 1, 1)).gamma().transverse)


def test_summary_of_a_model() -> None:
    model = muse_lr.build_model(
        {
            **SECTION,
            "multiscale": {"kind": "muse", "radius": 3.0, "cutoff": 7.0},
            "heads": {"coulomb": {}, "wall": {"kind": "zbl"}, "c6": None},
        }
    )
    lines = repr(model).splitlines()
    assert len(lines) == 9
    assert lines[0] == "EnergyModel("
    assert lines[1].split(None, 1) == ["elements", "H, O"]
    count = sum(p.numel() for p in model.backbone.parameters())
    assert lines[2].split(None, 1)[1] == f"painn, {count:,} parameters, edges up to 4 A"
    assert lines[3].split()[1] == "muse,"
    assert lines[5].split(None, 1)[1] == "coulomb, wall (zbl)"
    assert lines[6].split(None, 1) == ["cutoff", f"{model.cutoff:g} A"]
    total = sum(p.numel() for p in model.parameters())
    assert lines[7].split(None, 1)[1] == f"{total:,}, float32, cpu"
    assert str(model.double()) == repr(model).replace("float32", "float64")
    tree = model.tree()
    assert "(backbone): PaiNN(" in tree
    assert len(tree.splitlines()) > 30
    empty = muse_lr.build_model({"elements": ["H"], "backbone": None, "charges": None, "heads": {}})
    assert repr(empty).count("none") == 4


def test_summary_of_a_batch() -> None:
    ion = Atoms("O", info={"total_charge": -1})
    salt = SALT.copy()
    batch = from_ase([WATER, ion, salt], 4.0, [{"energy": 1.0}, {}, {"stress": np.eye(3)}])
    edges = batch.edge_index.shape[1]
    assert repr(batch) == (
        f"AtomsBatch(3 graphs, 6 atoms, {edges} edges within 4 A; boundaries 2 FFF, 1 TTT; "
        "total charges -1 to 0; labels energy, stress; float64, cpu)"
    )
    single = from_ase([ion], 4.0)
    assert repr(single).startswith("AtomsBatch(1 graph, 1 atom, 0 edges")
    assert "total charge -1; no labels" in repr(single)
    assert repr(single.to("meta")) == "AtomsBatch(1 graph, 1 atom, 0 edges; meta)"
    assert repr(muse_lr.AtomsBatch()).startswith("AtomsBatch(incomplete")


def test_summaries_of_output_data_and_calculator(model: EnergyModel, tmp_path: Any) -> None:
    output = model(batch_of(), compute=("forces", "charges"))
    assert repr(output) == (
        "ModelOutput(energy (2,) eV, forces (6, 3) eV/A, charges (6,) e; energy_parts e0, "
        "backbone, coulomb)"
    )
    write_run(tmp_path)
    dataset = muse_lr.read_dataset(tmp_path / "train.xyz@:5", 4.0)
    assert repr(dataset) == (
        "Dataset(5 structures, 20 atoms, edges within 4 A; labels dipole, energy, forces)"
    )
    calculator = muse_lr.Calculator(model)
    assert repr(calculator) == (
        "Calculator(painn + conserved + coulomb; H, O; float64, cpu; skin 0.5 A)"
    )


def test_datasets_are_read_with_keys_and_labels(tmp_path: Any) -> None:
    write_run(tmp_path)
    file = tmp_path / "train.xyz"
    files, keys = [f"{file}@:3", f"{file}@-2:"], {"energy": "distance"}
    data = muse_lr.read_dataset(files, 4.0, keys, "energy")
    expected = [frame.atoms.info["distance"] for frame in data.frames]
    assert len(expected) == 5
    assert data.batch(range(5))["label_energy"].tolist() == expected
    with pytest.raises(InputError, match="Na, which the model does not know; it knows H, O, Cl"):
        muse_lr.read_dataset(file, 4.0, elements=("H", "O", "Cl"))
    with pytest.raises(InputError, match="no frame has a label stress"):
        muse_lr.read_dataset(file, 4.0, required="stress")


LAZY = """
import sys
import muse_lr
names = dir(muse_lr)
assert {"phonons", "testing", "datasets", "units", "read_dataset", "Calculator"} <= set(names)
assert not {"torch", "ase", "numpy"} & set(sys.modules), "import muse_lr imports too much"
assert "ion_pairs_train" in muse_lr.datasets.names()
assert muse_lr.units.COULOMB_CONSTANT > 14
assert "torch" not in sys.modules
places = {"Phonons": "muse_lr.phonons.Phonons", "train": "muse_lr.train.loop.train"}
for name, place in places.items():
    try:
        getattr(muse_lr, name) if name == "Phonons" else muse_lr.__getattr__(name)
    except AttributeError as error:
        assert f"no attribute '{name}'; see {place}" in str(error), error
    else:
        raise AssertionError(name)
"""


def test_modules_are_there_after_the_import_and_load_on_first_use() -> None:
    done = subprocess.run([sys.executable, "-c", LAZY], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert muse_lr.phonons.Phonons is Phonons
    assert muse_lr.testing.as_potential is as_potential
