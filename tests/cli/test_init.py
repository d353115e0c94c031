"""The configuration that init writes loads, builds a model, and says what the data is."""

from __future__ import annotations

import re
from pathlib import Path

import ase.io
import numpy as np
import pytest
from ase import Atoms
from ase.build import molecule

from helpers import run_command
from muse_lr.cli import init as command
from muse_lr.config.registry import SLOTS, kinds
from muse_lr.config.yaml import parse_yaml
from muse_lr.data.dataset import sizes_of
from muse_lr.data.scaffold import make_configuration
from muse_lr.data.scaffold.text import quote
from muse_lr.errors import InputError
from muse_lr.model.build import build_model
from muse_lr.train.config import load_config
from muse_lr.train.costs import Costs
from muse_lr.train.setup import read_data
from muse_lr.train.work import Batches


def frames(count: int = 24, stress: bool = False) -> list[Atoms]:
    """Labeled molecules, or crystals with a stress."""
    rng = np.random.default_rng(0)
    result = []
    for k in range(count):
        atoms = molecule(("H2O", "NH3")[k % 2])
        atoms.rattle(0.05, seed=k)
        if stress:
            atoms.set_cell([8, 8, 8])
            atoms.pbc = True
            atoms.info["REF_stress"] = np.zeros(9)
        forces = rng.normal(size=(len(atoms), 3))
        atoms.arrays["REF_forces"] = forces - forces.mean(0)
        atoms.info.update(REF_energy=-10.0 * len(atoms) + rng.normal(), total_charge=k % 2)
        result.append(atoms)
    return result


def test_the_configuration_loads_and_builds_a_model(tmp_path: Path) -> None:
    ase.io.write(tmp_path / "train.xyz", frames())
    ase.io.write(tmp_path / "far.xyz", frames(2))
    output = tmp_path / "configs" / "water.yaml"
    train, far = str(tmp_path / "train.xyz"), str(tmp_path / "far.xyz")
    assert (
        run_command(command, train, "--test", f"far={far}", "-o", str(output), "--no-estimate") == 0
    )
    config = load_config(output)
    assert config.model.elements == ("H", "N", "O")
    assert config.data.train == (train,)
    assert config.data.test == {"far": (far,)}
    assert config.data.keys == {"energy": "REF_energy", "forces": "REF_forces"}
    assert config.data.partial == ()
    assert set(config.training.loss) == {"energy", "forces"}
    batch, limits = config.training.batch, config.training.micro_batch
    assert batch.graphs == 32
    assert 4 * 32 <= batch.atoms <= 6 * 32, "NH3 and H2O in equal numbers: 3.5 atoms on average"
    assert limits.edges >= 32 * 12, "all batches of molecules up to NH3 fit"
    text = output.read_text()
    assert "# E0 check: one energy for each element leaves" in text
    assert "rank 2 of 3" in text
    assert "total charges here: 0, 1" in text
    model = build_model(output)
    assert model.cutoff >= 5.0


@pytest.mark.parametrize(("count", "trained"), [(2, 1), (4, 2), (24, 22), (48, 43), (72, 65)])
def test_the_steps_of_an_epoch_are_those_of_training(tmp_path: Path, count: int, trained: int):
    """The fraction for validation is larger for a few frames; 32 molecules make a batch."""
    ase.io.write(tmp_path / "train.xyz", frames(count))
    text = make_configuration(tmp_path / "train.xyz")
    steps = -(-trained // 32)
    assert f"# about {steps} step{'s' * (steps > 1)} per epoch" in text
    (tmp_path / "config.yaml").write_text(text)
    config = load_config(tmp_path / "config.yaml")
    data = read_data(config)
    assert len(data.train) == trained
    assert Batches(sizes_of(data.train), config.training).total_steps == (
        steps * config.training.epochs
    )


def comments(text: str) -> str:
    """All comments on one line."""
    lines = (line.strip() for line in text.splitlines())
    return " ".join(" ".join(x for x in lines if x.startswith("#")).replace("#", "").split())


def test_the_comment_on_e0s_tells_ions_from_neutral_atoms(tmp_path: Path) -> None:
    neutral, ions = frames(), frames()
    for atoms in neutral:
        atoms.info["total_charge"] = 0
    for atoms, there in ((neutral, False), (ions, True)):
        ase.io.write(tmp_path / "train.xyz", atoms)
        text = comments(make_configuration(tmp_path / "train.xyz"))
        assert ("There are ions: fitted E0s contain their ionization energies" in text) == there
        assert "do not tell all of them apart (rank 2 of 3)" in text
    for charge, there in ((0, False), (1, True)):
        atoms = [Atoms(symbol, info={"REF_energy": -9.0}) for symbol in "HNO"]
        if charge:
            atoms.append(Atoms("H", info={"REF_energy": 4.0, "total_charge": 1}))
        for atom in atoms:
            atom.arrays["REF_forces"] = np.zeros((1, 3))
        ase.io.write(tmp_path / "train.xyz", [*neutral, *atoms])
        text = make_configuration(tmp_path / "train.xyz")
        assert parse_yaml(text, "text")["model"]["e0"] == "isolated"
        assert "These frames are not trained on" in comments(text)
        assert ("not trained on, while frames of one ion are." in comments(text)) == there


def test_relative_paths_start_at_the_configuration(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "sub").mkdir()
    ase.io.write(tmp_path / "sub" / "train.xyz", frames())
    monkeypatch.chdir(tmp_path / "sub")
    run_command(command, "train.xyz", "-o", "../config.yaml", "--no-estimate")
    config = load_config(tmp_path / "config.yaml")
    assert config.data.train == (str(tmp_path / "sub" / "train.xyz"),)
    assert "train: [sub/train.xyz]" in (tmp_path / "config.yaml").read_text()


def test_printing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    ase.io.write(tmp_path / "train.xyz", frames(stress=True))
    assert run_command(command, str(tmp_path / "train.xyz"), "--no-estimate") == 0
    data = parse_yaml(capsys.readouterr().out, "printed")
    assert set(data["training"]["loss"]) == {"energy", "forces", "stress"}
    assert data["model"]["heads"]["coulomb"]["kind"] == "coulomb"


def test_every_registered_kind_is_named(tmp_path: Path) -> None:
    ase.io.write(tmp_path / "train.xyz", frames())
    text = make_configuration(tmp_path / "train.xyz")
    named = set(re.findall(r"[\w.-]+", text))
    for slot in SLOTS:
        assert set(kinds(slot)) <= named


def test_boundaries_that_the_coulomb_head_lacks(tmp_path: Path) -> None:
    from muse_lr.config.registry import lookup

    slabs = frames()
    for atoms in slabs:
        atoms.set_cell([8, 8, 8])
        atoms.pbc = (True, True, False)
    ase.io.write(tmp_path / "train.xyz", slabs)
    data = parse_yaml(make_configuration(tmp_path / "train.xyz"), "text")
    supported = "TTF" in lookup("head", "coulomb").boundaries
    assert (data["model"]["heads"]["coulomb"] is not None) == supported


def test_labels_on_some_frames_become_partial(tmp_path: Path) -> None:
    mixed = frames()
    del mixed[3].arrays["REF_forces"]
    ase.io.write(tmp_path / "train.xyz", mixed)
    data = parse_yaml(make_configuration(tmp_path / "train.xyz"), "text")
    assert data["data"]["partial"] == ["forces"]


def test_named_keys_and_energies_alone(tmp_path: Path) -> None:
    odd = frames()
    for atoms in odd:
        atoms.info["E dft: #1"] = atoms.info.pop("REF_energy")
        del atoms.arrays["REF_forces"]
    ase.io.write(tmp_path / "train.traj", odd)
    with pytest.raises(InputError, match="no energy"):
        make_configuration(tmp_path / "train.traj")
    data = parse_yaml(
        make_configuration(tmp_path / "train.traj", keys={"energy": "E dft: #1"}), "text"
    )
    assert data["data"]["keys"] == {"energy": "E dft: #1"}
    assert set(data["training"]["loss"]) == {"energy"}


def test_bad_input_is_refused_and_nothing_written(tmp_path: Path) -> None:
    bad = frames()
    bad[5].positions[0] = np.nan
    bad[7].positions[1] = bad[7].positions[0]
    ase.io.write(tmp_path / "bad.xyz", bad)
    output = tmp_path / "config.yaml"
    with pytest.raises(InputError, match=r"bad\.xyz, frame 5: .* \(and 1 more"):
        run_command(command, str(tmp_path / "bad.xyz"), "-o", str(output))
    assert not output.exists()
    ase.io.write(tmp_path / "good.xyz", frames())
    unknown = molecule("CH4")
    unknown.info["REF_energy"], unknown.arrays["REF_forces"] = -1.0, np.zeros((5, 3))
    ase.io.write(tmp_path / "test.xyz", [unknown])
    good, test = str(tmp_path / "good.xyz"), str(tmp_path / "test.xyz")
    with pytest.raises(InputError, match=r"test set far: 1 of 1 frames contains C"):
        run_command(command, good, "--test", f"far={test}")
    with pytest.raises(InputError, match="only letters"):
        run_command(command, good, "--test", f"x y={good}")
    with pytest.raises(InputError, match="two test sets are named 'good'"):
        run_command(command, good, "--test", good, "--test", good)


def test_an_existing_file_is_kept(tmp_path: Path) -> None:
    ase.io.write(tmp_path / "train.xyz", frames())
    output = tmp_path / "config.yaml"
    output.write_text("mine")
    with pytest.raises(InputError, match="exists"):
        run_command(command, str(tmp_path / "train.xyz"), "-o", str(output))
    assert output.read_text() == "mine"


HOSTILE = [
    "a b.xyz",
    "a: {b}.xyz",
    "- x",
    "#x",
    "true",
    "No",
    "1e-6",
    "a]\nmodel: evil",
    'quo"te\\',
    "\x7f\x85\u2028",
    "!!python/object:os.system",
    "é😀",
]


@pytest.mark.parametrize("text", HOSTILE)
def test_names_are_quoted(text: str) -> None:
    assert parse_yaml(f"x: [{quote(text)}]", "text") == {"x": [text]}


def test_a_hostile_file_name_stays_a_name(tmp_path: Path) -> None:
    path = tmp_path / "a\ntraining: {epochs: 1}\n#<script>.xyz"
    ase.io.write(path, frames(), format="extxyz")
    data = parse_yaml(make_configuration(path), "text")
    assert data["data"]["train"] == [str(path)]
    assert data["training"]["epochs"] > 1


def test_a_configuration_in_the_working_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    ase.io.write("-data.xyz", frames(4), format="extxyz")
    text = make_configuration("-data.xyz")
    assert parse_yaml(text, "text")["data"]["train"] == ["-data.xyz"]
    assert parse_yaml(text, "text")["data"]["valid"] == 0.5


COSTS = Costs(
    start=2.0, read=1.0, draft=0.5, drafted=24, frame=0.0, step=75.0, fastest_step=0.36,
    valid=0.0, test=0.0, checkpoint=0.0, finish=0.5, peak_memory_mb=1234, parameters=4321,
)  # fmt: skip


def test_the_cost_of_the_training_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """24 molecules make one step of 500 epochs."""
    monkeypatch.setattr("muse_lr.ablate.proposal.measure.measure_alone", lambda *_: COSTS)
    ase.io.write(tmp_path / "train.xyz", frames())
    assert run_command(command, str(tmp_path / "train.xyz")) == 0
    out, err = capsys.readouterr()
    said = " ".join(
        line.removeprefix("#").strip() for line in out.partition("model:")[0].splitlines()
    )
    for text in (said, " ".join(err.split())):
        assert "about 3 min 04 s for 500 epochs (500 steps of 360 ms)" in text
        assert "4,321 parameters and 1.2 GB of memory" in text
    parse_yaml(out, "printed")


def test_a_cost_that_cannot_be_measured_is_no_error(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(*_: object) -> Costs:
        raise InputError("out of memory")

    monkeypatch.setattr("muse_lr.ablate.proposal.measure.measure_alone", failing)
    ase.io.write(tmp_path / "train.xyz", frames())
    assert run_command(command, str(tmp_path / "train.xyz")) == 0
    assert "could not be measured: out of memory" in capsys.readouterr().out
