"""Test data against training data: elements and compositions that training lacks."""

from __future__ import annotations

import ase.io
import numpy as np
import pytest
from ase import Atoms

from helpers import run_cli
from muse_lr.data.composition import outside_span
from muse_lr.data.reading import read_frames
from muse_lr.data.scaffold.survey import survey
from muse_lr.data.together import check_tests, composition_notes
from muse_lr.errors import InputError
from muse_lr.train.config import load_config
from muse_lr.train.setup import draft, read_data


def chains(*formulas: str) -> list[Atoms]:
    """Chains of 1.5 A with energies."""
    frames = []
    for k, formula in enumerate(formulas):
        atoms = Atoms(formula)
        atoms.positions[:, 0] = [1.5 * i for i in range(len(atoms))]
        atoms.rattle(0.05, seed=k)
        atoms.info["REF_energy"] = -10.0 * len(atoms) + 0.01 * k
        frames.append(atoms)
    return frames


WATER = chains(*["NaCl", "H2O", "NaClH2O", "NaClH4O2"] * 3)


def sourced(frames: list[Atoms]) -> list[tuple[Atoms, str]]:
    return [(atoms, f"t.xyz, frame {k}") for k, atoms in enumerate(frames)]


@pytest.mark.parametrize(
    ("formula", "outside"),
    [("Na4Cl4H2O", False), ("H20O10", False), ("Na2ClH2O", True), ("HO", True), ("Ar", True)],
)
def test_compositions_outside_of_the_span(formula, outside):
    assert outside_span(WATER, chains("NaCl", formula)) == [1] * outside


def test_a_test_set_in_the_span_is_fine():
    assert list(check_tests(WATER, {"far": sourced(chains("Na4Cl4", "H2O"))})) == []


def test_energies_that_fitted_e0s_do_not_determine():
    frames = chains("NaCl", "NaH2O", "NaH2O")
    (finding,) = check_tests(WATER, {"ions": sourced(frames)})
    assert (finding.severity, finding.kind) == ("warning", "composition of ions")
    assert "test set ions: the composition of 2 of 3 frames" in finding.message
    assert "such as H2NaO (t.xyz, frame 1)" in finding.message
    assert "model.e0" in finding.message
    assert list(check_tests(WATER, {"ions": sourced(frames)}, fitted=False)) == []
    isolated = sourced(chains("Na"))
    assert list(check_tests(WATER, {"atoms": isolated})) == [], "they are no test of the E0s"


@pytest.mark.parametrize(("extra", "words"), [("K", "K, which does"), ("KF", "F and K, which do")])
def test_elements_that_training_lacks(extra, words):
    frames = chains("NaCl", f"Na{extra}", f"Cl{extra}", "H2O")
    (finding,) = check_tests(WATER, {"salts": sourced(frames)})
    assert finding.severity == "error"
    assert f"test set salts: 2 of 4 frames contain {words} not occur" in finding.message
    assert "the first is t.xyz, frame 1" in finding.message
    assert "leave these frames out" in finding.message


def write(path, frames: list[Atoms]) -> str:
    ase.io.write(path, frames)
    return str(path)


def test_the_check_of_data_compares_test_sets(tmp_path, capsys):
    train = write(tmp_path / "train.xyz", WATER)
    ions = write(tmp_path / "ions.xyz", chains("NaH2O", "NaCl"))
    assert run_cli("data", "check", train, "--test", ions) == 0
    out = capsys.readouterr().out
    assert "test set ions: the composition of 1 of 2 frames" in out
    salts = write(tmp_path / "salts.xyz", chains("KCl", "NaCl"))
    assert run_cli("data", "check", train, "--test", f"other={salts}") == 2
    assert "test set other: 1 of 2 frames contains K" in capsys.readouterr().out
    fine = write(tmp_path / "fine.xyz", chains("NaCl"))
    capsys.readouterr()
    assert run_cli("data", "check", train, "--test", fine) == 0
    assert capsys.readouterr().out.endswith("The training data lack nothing of them.\n")
    assert run_cli("data", "check", train, "--test", str(tmp_path / "none.xyz")) == 2
    assert "against" not in capsys.readouterr().out


def test_init_and_study_warn_and_refuse(tmp_path):
    train = write(tmp_path / "train.xyz", WATER)
    ions = write(tmp_path / "ions.xyz", chains("NaH2O", "NaCl"))
    *_, warning = survey(train, {"ions": ions}).warnings
    assert "composition of 1 of 2 frames" in warning
    with pytest.raises(InputError, match="test set far: 1 of 2 frames contains K"):
        survey(train, {"far": write(tmp_path / "salts.xyz", chains("KCl", "NaCl"))})


def renamed(frames: list[Atoms], **names: str) -> list[Atoms]:
    """Copies with other names of their labels."""
    frames = [atoms.copy() for atoms in frames]
    for atoms in frames:
        for new, old in names.items():
            atoms.info[new] = atoms.info.pop(old)
    return frames


def test_errors_of_a_test_set_are_errors_of_a_survey(tmp_path):
    train = write(tmp_path / "train.xyz", renamed(WATER, E_dft="REF_energy"))
    test = write(tmp_path / "far.xyz", WATER[:2])
    with pytest.raises(InputError, match=r"^test set far: .*far\.xyz: on all frames.*'E_dft'"):
        survey(train, {"far": test}, {"energy": "E_dft"})
    broken = chains("NaCl", "H2O")
    broken[1].positions[0, 0] = np.nan
    bad = write(tmp_path / "bad.xyz", broken)
    with pytest.raises(InputError, match=r"^test set far: .*bad\.xyz, frame 1: "):
        survey(test, {"far": bad})


def test_other_default_keys_of_a_test_set(tmp_path, capsys):
    train = write(tmp_path / "train.xyz", WATER)
    test = write(tmp_path / "far.xyz", renamed(WATER[:2], dft_energy="REF_energy"))
    words = "test set far: the energy is under 'dft_energy', but under 'REF_energy'"
    with pytest.raises(InputError, match=words):
        survey(train, {"far": test})
    assert run_cli("data", "check", train, "--test", test) == 2
    assert words in capsys.readouterr().out


def test_warnings_of_both_files_are_told(tmp_path):
    train = write(tmp_path / "train.xyz", WATER)
    found = survey(train, {"far": write(tmp_path / "far.xyz", WATER[:1])})
    ours, ranks, theirs = found.all_warnings
    assert ours == f"{train}: there are no forces"
    assert ranks.startswith(f"{train}: the E0s of H, O, Na and Cl cannot be told apart")
    assert theirs == f"test set far: {tmp_path / 'far.xyz'}: there are no forces"


def test_total_charges_and_spins_that_training_lacks():
    train = chains("NaCl", "NaCl", "H2O")
    train[0].info["charge"] = 1
    test = chains("NaCl", "NaCl", "H2O", "H2O")
    test[0].info["charge"] = 1
    for atoms in test[1:3]:
        atoms.info["charge"] = -1
    test[3].info["spin"] = 3
    charge, spin = check_tests(train, {"far": sourced(test)})
    assert charge.severity == spin.severity == "warning"
    assert "test set far: 2 of 4 frames have a total charge that does not occur" in charge.message
    assert "(2 with -1)" in charge.message
    assert "1 of 4 frames have a spin that does not occur" in spin.message
    assert list(check_tests(train, {"far": sourced(test[:1])})) == []


def test_energies_that_are_differences_need_no_e0s(tmp_path):
    for atoms in (train := chains(*["NaCl", "H2O"] * 6)):
        atoms.info["interaction_energy"] = atoms.info.pop("REF_energy")
    file = write(tmp_path / "train.xyz", train)
    ions = chains("NaH2O")
    ions[0].info["interaction_energy"] = ions[0].info.pop("REF_energy")
    ions = write(tmp_path / "ions.xyz", ions)
    assert survey(file, {"ions": ions}, {"energy": "interaction_energy"}).warnings == [
        f"test set ions: {ions}: there are no forces"
    ]


@pytest.mark.parametrize(("e0", "noted"), [("lstsq", True), ("zero", False)])
def test_a_run_notes_them(tmp_path, e0, noted):
    write(tmp_path / "train.xyz", WATER)
    write(tmp_path / "ions.xyz", chains("NaH2O", "NaCl"))
    (tmp_path / "config.yaml").write_text(
        f"model: {{e0: {e0}, backbone: {{channels: 8, layers: 1, cutoff: 3.0}}}}\n"
        "data: {train: train.xyz, valid: 0.25, test: {ions: ions.xyz}}\n"
        "training: {epochs: 1, loss: {energy: 1}}\n"
    )
    config = load_config(tmp_path / "config.yaml")
    notes = draft(config, read_data(config)).notes
    assert any("test set ions: the composition of 1 of 2 frames" in n for n in notes) == noted


def test_frames_without_energies_do_not_count(tmp_path):
    frames = read_frames(write(tmp_path / "a.xyz", chains("NaCl", "NaH2O")))
    (text,) = composition_notes(frames[:1], {"t": frames})
    assert "1 of 2" in text
    frames[1].labels.clear()
    assert composition_notes(frames[:1], {"t": frames}) == []


def test_reading_for_a_model_counts_the_unknown_frames(tmp_path):
    file = write(tmp_path / "a.xyz", chains("NaCl", "KCl", "K2Cl2"))
    with pytest.raises(InputError, match=r"a\.xyz, frame 1: atom 0 is K.* 2 of 3\.") as error:
        read_frames(file, elements=["Na", "Cl"])
    assert "Leave them out" in str(error.value)
