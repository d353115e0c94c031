"""Plans: equal steps for unequal models, losses that a variant cannot have, all errors at once."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.io import write

from helpers import run_cli
from muse_lr.ablate.check import check_runs, once
from muse_lr.ablate.equality import planned_equality
from muse_lr.ablate.study import load_study, resolve_runs
from muse_lr.config.yaml import dump_yaml, load_yaml
from muse_lr.data.dataset import group_stops
from muse_lr.data.reading import read_frames
from muse_lr.train.config import load_config
from muse_lr.train.loop import train

#: The variants of the acceptance: their neighbor lists end at 4, 4, 6, 6 and 12 A.
SHORT = {"model.charges": None, "model.heads": {}}
MUSE = {"kind": "muse", "levels": 1, "radius": 2.4, "cutoff": 5.0, "tensor_channels": 4}
VARIANTS = {
    "short_range": SHORT,
    "charges": {},
    "muse": {**SHORT, "model.multiscale": MUSE},
    "both": {"model.multiscale": MUSE},
    "cutoff_12": {**SHORT, "model.backbone.cutoff": 12.0},
}


def salts(count: int) -> list[Atoms]:
    """Periodic salts of 8 to 32 atoms and molecules of 2, with labels made up."""
    rng = np.random.default_rng(0)
    found = []
    for i in range(count):
        atoms = Atoms("NaCl", [[0, 0, 0], [2.8, 0, 0]])
        if i % 3:
            atoms = Atoms("NaCl" * 4, np.indices((2, 2, 2)).reshape(3, -1).T * 2.8, cell=[5.6] * 3)
            atoms.pbc = True
            atoms = atoms.repeat((1, 1, 1 + i % 4))
        atoms.rattle(0.05, seed=i)
        atoms.info["REF_energy"] = -3.0 * len(atoms) + rng.normal()
        atoms.arrays["REF_forces"] = rng.normal(size=(len(atoms), 3))
        atoms.arrays["REF_bec"] = rng.normal(size=(len(atoms), 9))
        found.append(atoms)
    return found


@pytest.fixture
def study(tmp_path):
    write(tmp_path / "train.xyz", salts(20), format="extxyz")
    backbone = {"kind": "painn", "channels": 4, "layers": 1, "cutoff": 4.0}

    def make(variants=VARIANTS, **training) -> Path:
        base = {
            "model": {"backbone": backbone},
            "data": {"train": "train.xyz", "valid": 0.2, "test": {"again": "train.xyz"}},
            "training": {
                "epochs": 3,
                "batch": {"graphs": 4, "atoms": 60},
                "device": "cpu",
                "schedule": {"warmup_steps": 4},
                **{key: value for key, value in training.items() if key != "drop"},
            },
        }
        dump_yaml(base, tmp_path / "base.yaml")
        content = {"base": "base.yaml", "reference": "short_range", "seeds": [0, 5]}
        if training.get("drop"):
            content["drop_impossible_losses"] = True
        path = tmp_path / "study.yaml"
        dump_yaml({**content, "variants": variants}, path)
        return path

    return make


def checked_of(path):
    study = load_study(path)
    runs, problems = resolve_runs(study, path, path.parent / "out")
    checked, more = check_runs(runs, study, path)
    return checked, problems + more


def test_five_variants_have_the_same_steps_batches_and_rates(study):
    checked, problems = checked_of(study())
    assert problems == []
    assert len(checked) == 10
    for seed in (0, 5):
        first, *others = [item for item in checked if item.run.seed == seed]
        assert first.work.structures == 3 * 16
        assert first.work.steps > 12  # the limit of atoms divides batches of 4
        assert [item.work for item in others] == 4 * [first.work]
        assert all(item.fingerprints == first.fingerprints for item in others)
    assert checked[0].work.batches != checked[1].work.batches, "seeds order the data differently"
    assert planned_equality(checked).unequal == []


def test_training_does_what_the_plan_says(study, tmp_path):
    """The work of a run of one variant is that planned for all, and the report is told so."""
    checked, _ = checked_of(study(epochs=1))
    for name in ("short_range/seed-5", "muse/seed-0"):
        (item,) = [c for c in checked if c.run.name == name]
        dump_yaml(item.run.config, tmp_path / "one.yaml")
        directory = train(load_config(tmp_path / "one.yaml", {"data.test": {}}))
        summary = load_yaml(directory / "summary.json")
        assert summary["work"] == vars(item.work)
        assert summary["parameters"] == item.parameters
        assert item.initial_weights in ({}, summary["initial_weights"])
        for data in ("training data", "validation data"):
            assert summary["fingerprints"][data] == item.fingerprints[data]
    assert set(item.initial_weights) == {"backbone", "multiscale"}


def test_what_is_not_equal_is_said_in_words(study):
    variants = {
        "short_range": SHORT,
        "small": {"training.batch.graphs": 2},
        "slow": {"training.learning_rate": 1e-4, "training.loss.forces": 3.0},
    }
    checked, problems = checked_of(study(variants))
    assert problems == []
    first, *lines, equal = planned_equality(checked).lines()
    assert first == "Not equal for all variants:"
    steps = {item.run.variant: item.work.steps for item in checked if item.run.seed == 0}
    assert steps["small"] > steps["slow"] == steps["short_range"]
    assert lines == [
        f"- steps: {steps['slow']} in `short_range`, `slow`; {steps['small']} in `small`",
        "- batches: `short_range` and `slow` differ from `small`",
        "- largest learning rate: 0.00200 in `short_range`, `small`; 0.000100 in `slow`",
        "- learning rates of all steps: `short_range` differs from `small` and from `slow`",
        "- learning-rate schedule: learning_rate 0.00200 in `short_range`, `small`; "
        "0.000100 in `slow`",
        "- loss: forces 10.0 in `short_range`, `small`; 3.00 in `slow`",
        "- batch: graphs 4 in `short_range`, `slow`; 2 in `small`",
    ]
    assert "training data" in equal


def test_other_elements_give_other_weights_though_no_part_is_configured_otherwise(study):
    variants = {
        "short_range": SHORT,
        "more": {**SHORT, "model.elements": ["H", "Na", "Cl"]},
        "narrow": {**SHORT, "model.backbone.channels": 3},
        "exact": {**SHORT, "training.dtype": "float64"},
    }
    checked, problems = checked_of(study(variants))
    assert problems == []
    equality = planned_equality(checked)
    said = "initial weights of backbone: `short_range` and `exact` differ from `more`"
    assert said in equality.unequal, "narrow is another part by its settings"
    assert not any("initial weights" in phrase for phrase in equality.equal)


def test_a_schedule_is_compared_key_by_key(study):
    variants = {
        "short_range": SHORT,
        "plateau": {**SHORT, "training.schedule.kind": "plateau"},
        "cold": {**SHORT, "training.schedule.warmup_steps": 7},
    }
    unequal = planned_equality(checked_of(study(variants))[0]).unequal
    assert unequal == [
        "learning-rate schedule: schedule.kind cosine in `short_range`, `cold`; plateau in "
        "`plateau` | schedule.warmup_steps 4 in `short_range`, `plateau`; 7 in `cold`",
        "learning rates of all steps: depend on the validation loss in `plateau` (schedule "
        "kind plateau)",
    ]


def test_a_plan_of_unequal_seeds_says_so(study, capsys):
    only = ("--only", "short_range/seed-0", "muse/seed-5")
    assert run_cli("ablate", study(), "--plan", *only) == 0
    out = capsys.readouterr().out
    assert "- seeds: 0 in `short_range`; 5 in `muse`" in out
    assert "No two variants have a common seed. Not compared: epochs, steps" in out
    (equal,) = [line for line in out.splitlines() if line.startswith("Equal")]
    assert "batch (graphs 4, atoms 60)" in equal
    assert "steps" not in equal


@pytest.mark.parametrize("device", ["gpu0", "cuda:99"])
def test_a_device_that_training_refuses_is_refused(study, capsys, device):
    assert run_cli("ablate", study(device=device), "--plan") == 2
    out, err = capsys.readouterr()
    assert out == ""
    (line,) = [line for line in err.splitlines() if line.startswith("muse-lr: ")]
    assert f"training.device: device '{device}' cannot be used here" in line
    assert all(repr(variant) in line for variant in VARIANTS)


def test_the_notes_of_the_check_are_printed(study, capsys):
    variants = {"short_range": SHORT, "idle": {"model.heads": {}}}
    assert run_cli("ablate", study(variants, schedule={"warmup_steps": 99}), "--plan") == 0
    lines = capsys.readouterr().out.splitlines()
    (idle,) = [line for line in lines if "no head and no loss reads the charges" in line]
    assert idle.startswith("note on idle: ")
    (warm,) = [line for line in lines if "warmup_steps: 99) takes the whole run" in line]
    assert warm.startswith("note: ")


def test_planning_divides_each_epoch_once_for_all_variants(study, monkeypatch):
    divided = []
    real = group_stops
    monkeypatch.setattr(
        "muse_lr.train.work.group_stops", lambda *args: divided.append(1) or real(*args)
    )
    checked_of(study())
    assert len(divided) == 2 * 3  # seeds, epochs


def test_a_memory_limit_changes_no_step(study):
    variants = {**VARIANTS, "cutoff_12": {**SHORT, "training.micro_batch.edges": 5}}
    checked, _ = checked_of(study(variants))
    assert planned_equality(checked).unequal == []


def test_what_only_training_decides_is_named(study):
    path = study(early_stopping=2, schedule={"kind": "plateau"})
    (first, second) = planned_equality(checked_of(path)[0]).unequal
    assert first.startswith("learning rates of all steps: depend on the validation loss in `short")
    assert second.startswith("early stopping may end variants")


def test_impossible_losses_are_refused_with_the_line_that_mends_them(study, capsys):
    loss = {"energy": 1.0, "forces": 10.0, "bec": 1.0}
    path = study(loss=loss)
    assert run_cli("ablate", path, "--plan") == 2
    lines = capsys.readouterr().err.splitlines()
    problems = [line for line in lines if line.startswith("muse-lr: ")]
    assert [line.split("'")[1] for line in problems] == ["short_range", "muse", "cutoff_12"]
    assert "training.loss.bec needs charges, but model.charges is null" in problems[0]
    assert "variants: short_range: {training.loss.bec: null}" in problems[0]
    assert "drop_impossible_losses: true" in problems[0]
    mended = {
        name: {**changes, **({"training.loss.bec": None} if "model.charges" in changes else {})}
        for name, changes in VARIANTS.items()
    }
    checked, problems = checked_of(study(mended, loss=loss))
    assert problems == []
    assert set(checked[0].run.config["training"]["loss"]) == {"energy", "forces"}


def test_impossible_losses_are_dropped_where_the_study_says_so(study):
    loss = {"energy": 1.0, "forces": 10.0, "bec": 1.0, "potential": 0.0}
    checked, problems = checked_of(study(loss=loss, drop=True))
    assert problems == []
    losses = {c.run.variant: set(c.run.config["training"]["loss"]) for c in checked}
    assert losses["muse"] == {"energy", "forces"}
    assert losses["both"] == {"energy", "forces", "bec"}
    equality = planned_equality(checked)
    assert "muse: training.loss.bec was dropped, since it needs charges" in " ".join(
        equality.unequal
    )
    assert any(
        text.startswith(
            "loss: bec not set in `short_range`, `muse`, `cutoff_12`; 1.00 in `charges`, `both`"
        )
        for text in equality.unequal
    )


def test_nothing_is_left_of_a_loss(study):
    variants = {"short_range": SHORT}
    checked, problems = checked_of(study(variants, loss={"bec": 1.0}, drop=True))
    assert checked == []
    assert "no loss is left" in problems[0]


def test_every_variant_that_is_wrong_has_a_line(study, capsys, tmp_path):
    frames = salts(2)
    frames[1].numbers[0] = 6
    write(tmp_path / "carbon.xyz", frames, format="extxyz")
    variants = {
        "short_range": SHORT,
        "typo": {"model.backbone.chanels": 3},
        "element": {"model.elements": ["Na", "Cl"], "data.test.again": "carbon.xyz"},
        "key": {"data.keys": {"energy": "REF_enrgy"}},
        "gone": {"data.train": "gone.xyz"},
        "part": {"model.charges": None},
    }
    assert run_cli("ablate", study(variants), "--plan") == 2
    out, err = capsys.readouterr()
    problems = [line for line in err.splitlines() if line.startswith("muse-lr: ")]
    assert out == ""
    assert {line.split("'")[1] for line in problems} == {"typo", "element", "key", "gone", "part"}
    for word in ("chanels", "carbon.xyz, frame 1", "REF_enrgy", "gone.xyz", "needs charges"):
        assert any(word in line for line in problems), word


def test_each_file_is_read_once(study, monkeypatch):
    read = []

    def counting(paths, *args, **kwargs):
        read.append([Path(path).name for path in paths])
        return read_frames(paths, *args, **kwargs)

    reader = once(counting)
    path = study()
    arguments = ([path.parent / "train.xyz"],)
    first = reader(*arguments, required=("energy",))
    assert reader(*arguments, required=("energy", "bec")) is first
    assert read == [["train.xyz"]]


def test_training_is_refused_before_the_first_run(study, capsys, tmp_path):
    """Without --plan too: a study does not fail at its last variant after hours."""
    path = study(loss={"energy": 1.0, "bec": 1.0})
    assert run_cli("ablate", path, "--out", tmp_path / "out") == 2
    assert "training.loss.bec: null" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
