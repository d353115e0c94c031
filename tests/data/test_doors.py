"""A structure means the same in files, batches, the calculator, training data and phonons."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

import ase.db
import ase.io
import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import bulk
from hypothesis import given
from hypothesis import strategies as st

import muse_lr
from muse_lr import AtomsBatch, Calculator, InputError
from muse_lr.data.check import check_file
from muse_lr.data.dataset import Dataset, fingerprint
from muse_lr.data.labels import LABELS, read_label
from muse_lr.data.reading import Frame, read_frames
from muse_lr.structures.batch import ATOM_LABELS, LABEL_SHAPES
from muse_lr.structures.state import CHARGE_KEYS, SPIN_KEYS, read_state
from muse_lr.train.config import BatchConfig, Label
from muse_lr.train.evaluate import evaluate

#: (energy, total charge, spin), or the refusal.
Meaning = tuple[float, float, float] | str


@pytest.fixture(scope="module")
def model() -> muse_lr.EnergyModel:
    torch.manual_seed(0)
    section = {
        "elements": ["H", "O"],
        "backbone": {
            "channels": 4,
            "layers": 1,
            "cutoff": 3.0,
            "embed": ["total_charge", "spin"],
        },
        "charges": {"kind": "conserved", "width": 0.5},
        "heads": {"coulomb": {"kind": "coulomb"}, "field": {"kind": "external_field"}},
    }
    return muse_lr.build_model(section).double().eval()


def hydroxyl(info: dict[str, Any]) -> Atoms:
    return Atoms("OH", [[0.1, 0, 0], [0, 0.2, 0.97]], info=dict(info))


def by_batch(model: muse_lr.EnergyModel, atoms: Atoms, path: Path) -> Meaning:
    batch = AtomsBatch.from_ase([atoms], model.cutoff)
    return float(model(batch).energy.detach()), float(batch.total_charge), float(batch.spin)


def by_calculator(model: muse_lr.EnergyModel, atoms: Atoms, path: Path) -> Meaning:
    atoms = atoms.copy()
    atoms.calc = Calculator(model)
    energy = atoms.get_potential_energy()
    return energy, atoms.calc.extras["total_charge"], float(atoms.calc.neighbor_list.spin)


def _training(model: muse_lr.EnergyModel, atoms: Atoms, path: Path, suffix: str) -> Dataset:
    file = path / f"a{suffix}"
    ase.io.write(file, atoms)
    return Dataset.from_frames(read_frames([file]), model.cutoff)


def by_training_file(model: muse_lr.EnergyModel, atoms: Atoms, path: Path) -> Meaning:
    batch = _training(model, atoms, path, ".xyz").batch([0])
    return float(model(batch).energy.detach()), float(batch.total_charge), float(batch.spin)


def by_trajectory(model: muse_lr.EnergyModel, atoms: Atoms, path: Path) -> Meaning:
    batch = _training(model, atoms, path, ".traj").batch([0])
    return float(model(batch).energy.detach()), float(batch.total_charge), float(batch.spin)


def by_deployment(model: muse_lr.EnergyModel, atoms: Atoms, path: Path) -> Meaning:
    ase.io.write(path / "b.xyz", atoms)
    return by_calculator(model, ase.io.read(path / "b.xyz"), path)


def by_evaluation(model: muse_lr.EnergyModel, atoms: Atoms, path: Path) -> Meaning:
    data = _training(model, atoms, path, ".xyz")
    found = evaluate(model, data, BatchConfig(graphs=1)).frames[0]
    charge = float(found.arrays["muse_charges"].sum())
    return found.info["muse_energy"], charge, float(data.batch([0]).spin)


DOORS: tuple[Callable[[muse_lr.EnergyModel, Atoms, Path], Meaning], ...] = (
    by_batch,
    by_calculator,
    by_training_file,
    by_trajectory,
    by_deployment,
    by_evaluation,
)


def meaning(door: Callable[..., Meaning], *arguments: Any) -> Meaning:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return door(*arguments)
        except InputError as error:
            text = str(error)
    return text[text.index("info[") :] if "info[" in text else text[text.index("electric_field") :]


NUMBERS = [0, 1, -1, 2, 3, 0.5, 1.0, np.int64(1), np.float64(-1.0), float("nan"), True]
FIELDS = [None, [0.0, 0.1, 0.0], np.array([0, 0, 1]), [0.1, 0.2], [0.0, float("inf"), 0.0]]


@given(
    charges=st.dictionaries(st.sampled_from(CHARGE_KEYS), st.sampled_from(NUMBERS), max_size=2),
    spins=st.dictionaries(st.sampled_from(SPIN_KEYS), st.sampled_from(NUMBERS), max_size=2),
    field=st.sampled_from(FIELDS),
)
def test_every_door_gives_the_same_numbers_or_the_same_refusal(
    model: muse_lr.EnergyModel,
    tmp_path_factory: pytest.TempPathFactory,
    charges: dict[str, Any],
    spins: dict[str, Any],
    field: Any,
) -> None:
    info = charges | spins | ({} if field is None else {"electric_field": field})
    path = tmp_path_factory.mktemp("doors")
    atoms = hydroxyl(info)
    expected = meaning(by_batch, model, atoms, path)
    for door in DOORS[1:]:
        found = meaning(door, model, atoms, path)
        if isinstance(expected, str):
            context = (door.__name__, info, expected, found)
            assert isinstance(found, str), context
            assert found.split(" is ")[0] == expected.split(" is ")[0], context
        else:
            np.testing.assert_allclose(found, expected, atol=1e-7, err_msg=f"{door} {info}")


def test_the_data_check_reads_the_same_state(tmp_path: Path) -> None:
    frames = [hydroxyl({"charge": -1}), hydroxyl({"total_charge": 1, "multiplicity": 3})]
    frames[0].positions += 0.1
    for atoms in frames:
        atoms.info["REF_energy"] = 0.0
    ase.io.write(tmp_path / "a.xyz", frames)
    report = check_file(tmp_path / "a.xyz")
    assert report.total_charges == {"-1": 1, "1": 1}
    assert report.spins == {"3": 1}
    assert not report.keys


def crystal(k: int, **labels: Any) -> Atoms:
    atoms = bulk("NaCl", "rocksalt", a=5.6 + 0.1 * k)
    atoms.info.update(REF_energy=-1.0, **labels)
    return atoms


def test_each_frame_uses_its_own_key(tmp_path: Path) -> None:
    """Stresses and virials of joined data sets are both read, with one meaning."""
    stress = np.array([[0.01, 0.002, 0], [0.002, -0.01, 0.001], [0, 0.001, 0.03]])
    frames = []
    for k in range(4):
        volume = crystal(k).get_volume()
        given: dict[str, Any] = [
            {"REF_stress": stress},
            {"REF_virials": -stress * volume},
            {"stress": stress.ravel()},
            {"virial": (-stress * volume).astype(">f4")},
        ][k]
        frames.append(crystal(k, **given))
    ase.io.write(tmp_path / "a.xyz", frames)
    for frame in read_frames([tmp_path / "a.xyz"], required=["stress"]):
        np.testing.assert_allclose(frame.labels["stress"], stress, atol=1e-7)
    report = check_file(tmp_path / "a.xyz")
    assert sum(report.labels["stress"].values()) == 4
    assert len(report.labels["stress"]) == 4
    assert not [finding for finding in report.errors if "mixed" in finding.kind]


def test_several_keys_can_be_configured(tmp_path: Path) -> None:
    first, second = crystal(0), crystal(1)
    first.info["mine"], second.info["yours"] = 1.0, 2.0
    ase.io.write(tmp_path / "a.xyz", [first, second])
    frames = read_frames([tmp_path / "a.xyz"], keys={"energy": ["mine", "yours"]})
    assert [float(frame.labels["energy"]) for frame in frames] == [1.0, 2.0]
    with pytest.raises(InputError, match=r"mixed labels.*'mine'"):
        read_frames([tmp_path / "a.xyz"], keys={"energy": "mine"})


def test_a_stress_of_a_slab_without_volume_is_refused(tmp_path: Path) -> None:
    atoms = crystal(0, REF_stress=0.1 * np.eye(3))
    atoms.pbc = [True, True, False]
    ase.io.write(tmp_path / "a.xyz", atoms)
    assert "stress" in read_frames([tmp_path / "a.xyz"])[0].labels
    cell = atoms.cell.array.copy()
    cell[2] = 0
    atoms.cell = cell
    ase.io.write(tmp_path / "a.xyz", atoms)
    with pytest.raises(InputError, match=r"frame 0: there is a stress.*no volume"):
        read_frames([tmp_path / "a.xyz"])
    assert [f.kind for f in check_file(tmp_path / "a.xyz").errors] == ["stress value"]
    assert "stress" not in read_frames([tmp_path / "a.xyz"], partial=["stress"])[0].labels


@pytest.mark.parametrize("name", ["a.db", "a.json"])
def test_databases_keep_what_they_state(tmp_path: Path, name: str) -> None:
    with ase.db.connect(tmp_path / name) as database:
        pairs = {"total_charge": -1, "spin": 2, "REF_energy": -3.5}
        database.write(hydroxyl({}), key_value_pairs=pairs, data={"REF_forces": np.ones((2, 3))})
    (frame,) = read_frames([tmp_path / name], required=["energy", "forces"])
    state = read_state(frame.atoms)
    assert (state.total_charge, state.spin) == (-1, 2)
    np.testing.assert_array_equal(frame.labels["forces"], np.ones((2, 3)))
    assert frame.labels["energy"] == -3.5


def test_labels_of_another_shape_are_refused(tmp_path: Path) -> None:
    atoms = hydroxyl({})
    atoms.info["forces"] = np.arange(6).reshape(3, 2)
    with pytest.raises(InputError, match=r"forces under 'forces' has shape \(3, 2\)"):
        read_label(atoms, "forces", "forces")
    atoms.info["forces"] = np.arange(6)
    assert read_label(atoms, "forces", "forces").tolist() == [[0, 1, 2], [3, 4, 5]]
    for label, value, match in [
        ("forces", np.zeros((3, 2)), r"label forces has shape \(3, 2\), not \(2, 3\)"),
        ("stress", np.zeros(6), r"label stress has shape \(6,\), not \(3, 3\)"),
        ("foo", 1.0, "'foo' is not a label"),
    ]:
        with pytest.raises(InputError, match=match):
            AtomsBatch.from_ase([atoms], 3.0, [{label: value}])


def test_the_fingerprint_of_data_contains_the_state() -> None:
    made = []
    for info in ({}, {"charge": 1}, {"spin": 4}, {"electric_field": [0, 0, 0.1]}):
        made.append(fingerprint([Frame(hydroxyl(info), {}, "a")]))
    groups = hydroxyl({})
    groups.arrays["coarse_index"] = np.array([0, 0])
    assert len({*made, fingerprint([Frame(groups, {}, "a")])}) == 5
    assert made[1] == fingerprint([Frame(hydroxyl({"total_charge": 1.0}), {}, "b")])


@pytest.mark.parametrize("charge", [1e-9, -1e-8])
def test_rounding_errors_do_not_charge_a_structure(charge: float) -> None:
    state = read_state(hydroxyl({"total_charge": charge}))
    assert (state.total_charge, state.charge_stated) == (0, True)


def test_every_list_of_labels_is_the_same() -> None:
    """A label is declared for files, for batches and for the loss."""
    assert set(LABELS) == set(LABEL_SHAPES) == set(get_args(Label))
    for name, label in LABELS.items():
        assert LABEL_SHAPES[name] == label.shape
        assert (name in ATOM_LABELS) == label.per_atom


def dimer(**info: Any) -> Atoms:
    atoms = Atoms("OHOH", [[0, 0, 0], [0, 0, 1.0], [4, 0, 0], [4, 0, 1.0]], info=info)
    atoms.info.update(REF_energy=0.0, size_first=2)
    return atoms


def test_fragments_of_a_dimer(model: muse_lr.EnergyModel) -> None:
    def energies(atoms: Atoms) -> dict[str, Any]:
        data = Dataset.from_frames([Frame(atoms, {}, "a")], model.cutoff)
        return evaluate(model, data, BatchConfig(graphs=1)).frames[0].info

    assert "muse_interaction_energy" in energies(dimer())
    with pytest.warns(UserWarning, match="no fragment_total_charges"):
        assert "muse_interaction_energy" not in energies(dimer(charge=1))
    known = energies(dimer(charge=1, fragment_total_charges=[1, 0]))
    assert "muse_interaction_energy" in known
    for wrong in ({"fragment_total_charges": [1, 1]}, {"fragment_total_charges": "1 -1"}):
        with pytest.raises(InputError, match="fragment_total_charges"):
            energies(dimer(**wrong))
    for size in (0, 4, -1, 1.5, "x"):
        atoms = dimer()
        atoms.info["size_first"] = size
        with pytest.raises(InputError, match="size_first"):
            energies(atoms)


def test_predictions_hold_what_is_defined(model: muse_lr.EnergyModel) -> None:
    """No stress without a volume, no dipole of a crystal, and that of a slab along its normal."""
    crystal = Atoms("OH", [[0, 0, 0], [0, 0.5, 1.0]], cell=[4, 4, 4], pbc=True)
    slab, bare = crystal.copy(), crystal.copy()
    slab.pbc = bare.pbc = [True, True, False]
    bare.cell = [[4, 0, 0], [0, 4, 0], [0, 0, 0]]
    frames = [Frame(a, {}, "a") for a in (crystal, slab, bare, hydroxyl({}))]
    data = Dataset.from_frames(frames, model.cutoff)
    found = evaluate(model, data, BatchConfig(graphs=4)).frames
    assert ["muse_stress" in a.info for a in found] == [True, True, False, False]
    assert ["muse_dipole" in a.info for a in found] == [False, True, True, True]
    for atoms in found[1:3]:
        expected = atoms.arrays["muse_charges"] @ atoms.positions[:, 2]
        np.testing.assert_allclose(atoms.info["muse_dipole"], [0, 0, expected], atol=1e-10)
