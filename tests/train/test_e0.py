"""Energies of isolated atoms: where they come from, and what is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.io import write

import muse_lr
from muse_lr.cli.main import main
from muse_lr.config.yaml import dump_yaml
from muse_lr.data.dataset import fingerprint
from muse_lr.errors import InputError
from muse_lr.model.describe import describe
from muse_lr.train.config import load_config
from muse_lr.train.loop import train
from muse_lr.train.setup import Setup, prepare

ENERGIES = {"Na": -9.5, "Cl": -19.5}


def single(symbol: str, energy: float, **info) -> Atoms:
    """One atom with an energy and no forces."""
    return Atoms(symbol, info={"REF_energy": energy, **info})


def dimers(count: int = 12) -> list[Atoms]:
    frames = []
    for k in range(count):
        atoms = Atoms("NaCl", positions=[[0, 0, 0], [0, 0, 2.3 + 0.05 * k]])
        atoms.info["REF_energy"] = -33.0 + 0.01 * k
        atoms.arrays["REF_forces"] = np.zeros((2, 3))
        frames.append(atoms)
    return frames


def atoms_of(energies=ENERGIES) -> list[Atoms]:
    return [single(symbol, energy) for symbol, energy in energies.items()]


def setup(
    tmp_path: Path,
    frames: list[Atoms],
    e0=None,
    extra: list[Atoms] = (),
    training=None,
    **data,
) -> Setup:
    write(tmp_path / "a.xyz", frames, format="extxyz")
    if extra:
        write(tmp_path / "extra.xyz", extra, format="extxyz")
        data["isolated_atoms"] = "extra.xyz"
    backbone = {"kind": "painn", "channels": 4, "layers": 1, "cutoff": 4.0}
    config = {
        "model": {"backbone": backbone, "e0": e0},
        "data": {"train": "a.xyz", "valid": 0.25, **data},
        "training": {"epochs": 1, "directory": "run", "device": "cpu", **(training or {})},
    }
    dump_yaml(config, tmp_path / "config.yaml")
    return prepare(load_config(tmp_path / "config.yaml"))


def sizes(found: Setup) -> int:
    return len(found.train) + len(found.valid)


def test_isolated_atoms_give_the_e0s_and_leave_the_training_set(tmp_path):
    found = setup(tmp_path, atoms_of() + dimers(), "isolated")
    assert found.model.config.e0 == ENERGIES
    assert found.config.model.e0 == ENERGIES
    assert sizes(found) == 12
    assert all(len(f.atoms) == 2 for f in (*found.train.frames, *found.valid.frames))
    note = next(note for note in found.notes if "isolated atoms" in note)
    assert "a.xyz, frame 0" in note
    assert "not trained on" in note
    assert "E0s              Na -9.5 Cl -19.5 eV" in describe(found.model)


def test_the_written_configuration_gives_the_same_training_set(tmp_path):
    first = setup(tmp_path, atoms_of() + dimers(), "isolated")
    again = prepare(first.config)
    assert [f.source for f in again.train.frames] == [f.source for f in first.train.frames]


OXYGEN = [single("O", -400.0)]


@pytest.mark.parametrize(
    ("e0", "inside", "extra"),
    [
        ("isolated", atoms_of(), []),
        ("isolated", [], atoms_of()),
        ("isolated", atoms_of({"Na": -9.5}), atoms_of({"Cl": -19.5})),
        ("isolated", atoms_of(), atoms_of()),
        ("isolated", atoms_of() + OXYGEN, OXYGEN),  # no other frame has this element
        ("isolated", [single("Na", -9.500004), *atoms_of()], []),
        ("zero", atoms_of({"Na": 0.0, "Cl": -0.1}), []),
        ("lstsq", atoms_of(), []),
    ],
)
def test_the_written_configuration_runs_with_the_same_data(tmp_path, e0, inside, extra):
    setup(tmp_path, inside + dimers(), e0, extra)
    first = prepare(load_config(tmp_path / "config.yaml"))
    written = train(load_config(tmp_path / "config.yaml")) / "config.yaml"
    again = prepare(load_config(written))
    for one, two in ((first.train, again.train), (first.valid, again.valid)):
        assert fingerprint(one.frames) == fingerprint(two.frames)
        assert [f.source for f in one.frames] == [f.source for f in two.frames]
    assert again.model.config.e0 == first.model.config.e0
    assert again.model.elements == first.model.elements


@pytest.mark.parametrize("e0", ["lstsq", "zero", ENERGIES, {"Na": 0.0, "Cl": 0.0}])
@pytest.mark.parametrize("stay", [True, False])
def test_whether_isolated_atoms_are_trained_on_can_be_configured(tmp_path, e0, stay):
    found = setup(tmp_path, atoms_of() + dimers(), e0, train_on_isolated=stay)
    assert sizes(found) == 12 + 2 * stay
    (note,) = [note for note in found.notes if "frame 0" in note]
    assert ("not trained on" in note) == (not stay)
    assert note.startswith("E0s are") == (not stay and e0 == ENERGIES)
    with pytest.raises(InputError, match="train_on_isolated is true, but"):
        setup(tmp_path, atoms_of() + dimers(), "isolated", train_on_isolated=True)


def test_a_file_that_contradicts_the_numbers_is_refused(tmp_path):
    numbers = dict(ENERGIES, Cl=-19.4)
    with pytest.raises(InputError, match=r"extra.xyz, frame 1.*-19.5 eV.*model.e0 has -19.4"):
        setup(tmp_path, dimers(), numbers, atoms_of())
    assert setup(tmp_path, dimers(), ENERGIES, atoms_of()).model.config.e0 == ENERGIES


def test_nothing_left_to_train_on_names_the_isolated_atoms(tmp_path):
    for others in ([], dimers(1)):
        with pytest.raises(InputError, match=r"isolated atoms .*a.xyz, frame 0.*are left"):
            setup(tmp_path, atoms_of() + others, "isolated", training={"loss": {"energy": 1}})
    write(tmp_path / "v.xyz", atoms_of(), format="extxyz")
    frames, loss = atoms_of() + dimers(), {"loss": {"energy": 1}}
    with pytest.raises(InputError, match=r"data.valid: 2 of 2 frames are isolated"):
        setup(tmp_path, frames, "isolated", valid="v.xyz", training=loss)
    with pytest.raises(InputError, match="no frame has a label forces, since all are isolated"):
        setup(tmp_path, atoms_of(), "isolated")


def test_notes_name_each_isolated_atom_once_and_those_of_test_sets(tmp_path):
    frames = atoms_of() + dimers()
    found = setup(tmp_path, frames, "isolated", valid="a.xyz", test={"far": "a.xyz"})
    first, second = [note for note in found.notes if "isolated atom" in note]
    assert "(Na -9.5, Cl -19.5 eV)" in first or "(Cl -19.5, Na -9.5 eV)" in first
    assert first.count("frame 0") == first.count("frame 1") == 1
    assert second.startswith("test set far: 2 frames are isolated atoms")
    assert "metrics" in second
    assert len(found.test["far"].frames) == 14
    unused = setup(tmp_path, frames, "lstsq", valid="a.xyz").notes
    (note,) = [note for note in unused if "isolated atom" in note]
    assert note.startswith("2 frames are isolated atoms")
    assert note.count("frame 0") == 1


@pytest.mark.parametrize("role", ["valid", "test", "isolated_atoms"])
def test_files_of_another_level_of_theory_are_refused(tmp_path, role):
    """Only the training frames show that "energy" is another quantity than "REF_energy"."""
    frames, others = dimers(), dimers() if role != "isolated_atoms" else atoms_of()
    for atoms in frames:
        atoms.info["total_energy"] = atoms.info["REF_energy"] + 1.0
    for atoms in others:
        atoms.info["total_energy"] = atoms.info.pop("REF_energy")
    write(tmp_path / "b.xyz", others, format="extxyz")
    given = {role: {"far": "b.xyz"} if role == "test" else "b.xyz"}
    e0 = "isolated" if role == "isolated_atoms" else None
    with pytest.raises(
        InputError, match=r"b.xyz, frame 0: mixed labels.*a.xyz, frame \d+ has both"
    ):
        setup(tmp_path, frames, e0, **given)
    keys = {"energy": ["REF_energy", "total_energy"]}
    assert sizes(setup(tmp_path, frames, e0, keys=keys, **given)) >= 12


def test_labels_of_several_keys_and_undefined_ones_are_noted(tmp_path):
    frames = dimers()
    for atoms in frames[:5]:
        atoms.info["dft_energy"] = atoms.info.pop("REF_energy")
    frames[7].info["REF_stress"] = np.zeros(9)
    found = setup(tmp_path, frames, test={"far": "a.xyz"}).notes
    for start in ("", "test set far: "):
        counts = "REF_energy (7 frames), dft_energy (5 frames)"
        assert f"{start}the energy is read from several keys: {counts}" in found
        assert any(note.startswith(f"{start}1 frame has a stress") for note in found)


@pytest.mark.parametrize("e0", [None, "lstsq", "average", "zero", {"Na": -1.0, "Cl": -2.0}])
def test_isolated_atoms_that_are_not_used_are_named(tmp_path, e0):
    found = setup(tmp_path, atoms_of() + dimers(), e0)
    assert sizes(found) == 14
    note = next(note for note in found.notes if "isolated atoms" in note)
    assert "Na: " in note
    assert "model.e0: isolated" in note


def test_fit_mean_and_zero(tmp_path):
    frames = [*dimers(8), Atoms("Na2", [[0, 0, 0], [0, 0, 3]])]
    frames[-1].info["REF_energy"], frames[-1].arrays["REF_forces"] = -20.0, np.zeros((2, 3))
    data = {"valid": "a.xyz"}
    per_atom = [a.info["REF_energy"] / 2 for a in frames]
    mean = setup(tmp_path, frames, "average", **data).model.config.e0
    assert mean == {symbol: pytest.approx(np.mean(per_atom)) for symbol in ENERGIES}
    assert setup(tmp_path, frames, "zero", **data).model.config.e0 == dict.fromkeys(ENERGIES, 0.0)
    counts = np.array([[a.symbols.count(s) / 2 for s in ENERGIES] for a in frames])
    expected = np.linalg.lstsq(counts, np.array(per_atom), rcond=None)[0]
    fitted = [setup(tmp_path, frames, e0, **data).model.config.e0 for e0 in (None, "lstsq")]
    assert fitted[0] == fitted[1]
    np.testing.assert_allclose([fitted[0][s] for s in ENERGIES], expected, rtol=1e-9)


def test_a_file_of_its_own(tmp_path):
    found = setup(tmp_path, dimers(), "isolated", extra=atoms_of())
    assert found.model.config.e0 == ENERGIES
    assert sizes(found) == 12
    mixed = setup(tmp_path, [single("Na", -9.5), *dimers()], "isolated", atoms_of({"Cl": -19.5}))
    assert mixed.model.config.e0 == ENERGIES


@pytest.mark.parametrize(
    ("frames", "e0", "extra", "message"),
    [
        (atoms_of({"Na": -9.5}), "isolated", [], "no isolated atom of Cl"),
        ([], "isolated", [], "no isolated atom of Na, Cl"),
        ([*atoms_of(), single("Na", -9.6)], "isolated", [], "of Na differ.*frame 0.*frame 2"),
        (atoms_of(), "isolated", atoms_of({"Cl": -19.4}), "of Cl differ.*extra.xyz"),
        ([], "isolated", dimers(1), "one neutral atom"),
        ([], "isolated", [single("Na", -4.0, total_charge=1)], "one neutral atom"),
        (
            [],
            "isolated",
            [single("Na", -9.5, electric_field=np.array([0, 0, 0.1]))],
            "without an electric field, not Na in a field",
        ),
        ([], "lstsq", atoms_of(), "only used if model.e0 is isolated"),
        ([], "isolatd", [], "did you mean 'isolated'"),
        ([], {"Na": "low"}, [], "a number in eV"),
        ([], {"Xx": 1.0}, [], "no element"),
    ],
)
def test_what_gives_no_e0s_is_refused_by_name(tmp_path, frames, e0, extra, message):
    with pytest.raises(InputError, match=message):
        setup(tmp_path, [*frames, *dimers()], e0, extra)


@pytest.mark.parametrize(
    ("atoms", "kept"),
    [
        (single("Na", -4.0, total_charge=1), True),
        (single("Na", -4.0, charge=1), True),
        (Atoms("Na", cell=[3, 3, 3], pbc=True, info={"REF_energy": -9.7}), True),
        (Atoms("Na", cell=[12, 12, 12], pbc=True, info={"REF_energy": -9.5}), False),
        (Atoms("Na", cell=[9, 9, 1], pbc=[1, 1, 0], info={"REF_energy": -9.5}), False),
        (
            Atoms(
                "Na",
                cell=[6] * 3,
                pbc=True,
                info={"REF_energy": -9.5, "config_type": "IsolatedAtom"},
            ),
            False,
        ),
    ],
)
def test_ions_and_crystals_of_one_atom_are_trained_on(tmp_path, atoms, kept):
    atoms.arrays["REF_forces"] = np.zeros((1, 3))
    found = setup(tmp_path, [*atoms_of(), atoms, *dimers()], "isolated")
    assert sizes(found) == 12 + kept


def test_models_without_data_need_numbers(tmp_path, capsys):
    section = {"elements": ["Na", "Cl"], "backbone": {"channels": 4, "layers": 1}}
    with pytest.raises(InputError, match="needs training data"):
        muse_lr.build_model({**section, "e0": "isolated"})
    assert muse_lr.build_model({**section, "e0": "zero"}).config.e0 == dict.fromkeys(ENERGIES, 0.0)
    setup(tmp_path, atoms_of() + dimers(), "isolated")
    assert main(["info", str(tmp_path / "config.yaml")]) == 0
    assert "elements         Na Cl" in capsys.readouterr().out


def test_a_run_writes_numbers(tmp_path):
    setup(tmp_path, atoms_of() + dimers(), "isolated")
    directory = train(load_config(tmp_path / "config.yaml"))
    assert load_config(directory / "config.yaml").model.e0 == ENERGIES
    assert muse_lr.load_model(directory / "model.pt").config.e0 == ENERGIES
    assert "not trained on" in (directory / "report.html").read_text()
