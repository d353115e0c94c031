"""The configuration: strict, with errors that name the key and what to do."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from muse_lr import InputError
from muse_lr.config.overrides import apply_override, parse_assignment
from muse_lr.config.schema import validate
from muse_lr.config.yaml import format_yaml, load_yaml, parse_yaml
from muse_lr.model.build import build_model
from muse_lr.train.config import Config, load_config, resolve


def resolved(raw) -> dict:
    return resolve(raw, "config.yaml", Path("/base"), "config").model_dump(mode="json")


def test_every_key_but_the_data_has_a_default():
    config = resolved({"data": {"train": "a.xyz"}})
    assert config["model"]["backbone"]["kind"] == "painn"
    assert config["model"]["charges"]["kind"] == "conserved"
    assert config["data"]["train"] == ["/base/a.xyz"]
    assert config["training"]["directory"].endswith("/runs/config")


def test_a_resolved_configuration_resolves_to_itself():
    config = resolved({"data": {"train": "a.xyz"}, "model": {"heads": {"zbl": {}, "c": None}}})
    assert resolved(parse_yaml(format_yaml(config), "again")) == config


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        ({}, "data: this key is needed"),
        ({"data": {}}, "data.train: this key is needed"),
        ({"data": {"train": "x"}, "modell": {}}, r"modell: unknown key \(did you mean 'model'"),
        (
            {"data": {"train": "x"}, "model": {"backbone": {"cuttof": 5}}},
            r"model.backbone.cuttof: unknown key \(did you mean 'cutoff'",
        ),
        (
            {"data": {"train": "x"}, "model": {"heads": {"coulomb": {"acuracy": 1}}}},
            r"model.heads.coulomb.acuracy: unknown key \(did you mean 'accuracy'",
        ),
        (
            {"data": {"train": "x"}, "model": {"heads": {"c": {"kind": "coulom"}}}},
            r"model.heads.c.kind: unknown head kind 'coulom' \(did you mean 'coulomb'",
        ),
        ({"data": {"train": "x"}, "training": {"epochs": 0}}, "training.epochs: input should be"),
        (
            {"data": {"train": "x"}, "training": {"batch": {"graph": 3}}},
            r"training.batch.graph: unknown key \(did you mean 'graphs'",
        ),
        ({"data": {"train": "x", "test": {"../x": "y"}}}, "test '../x': only letters"),
        ({"data": {"train": "x", "valid": 1.5}}, "share between 0 and 1"),
        ({"data": {"train": "x"}, "training": {"loss": {"energie": 1}}}, "training.loss"),
        ({"data": {"train": "x"}, "model": {"elements": ["Hx"]}}, "'Hx' is no element$"),
        (
            {"data": {"train": "x"}, "model": {"heads": {"c": {"kind": "coulomb", "accuracy": 1}}}},
            "accuracy: input should be less than or equal to 0.01",
        ),
    ],
)
def test_wrong_keys_and_values_are_named(raw, message):
    with pytest.raises(InputError, match=message):
        validate(Config, raw, "config.yaml")


def test_yaml_is_1_2_and_safe():
    data = parse_yaml("a: 1e-6\nelements: [No, H, Y]\nb: yes\n", "x")
    assert data == {"a": 1e-6, "elements": ["No", "H", "Y"], "b": "yes"}
    with pytest.raises(InputError, match=r"x, line 2: found duplicate key"):
        parse_yaml("a: 1\na: 2\n", "x")
    with pytest.raises(InputError, match="could not determine a constructor"):
        parse_yaml("a: !!python/object/apply:os.system ['true']\n", "x")
    with pytest.raises(InputError, match="x, line"):
        parse_yaml("a: [1, 2\nb: }", "x")


def test_files_that_cannot_be_read(tmp_path):
    with pytest.raises(InputError, match="No such file"):
        load_yaml(tmp_path / "none.yaml")
    (tmp_path / "list.yaml").write_text("- 1\n")
    with pytest.raises(InputError, match="mapping of keys"):
        load_yaml(tmp_path / "list.yaml")
    (tmp_path / "binary.yaml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InputError, match="not a text file"):
        load_yaml(tmp_path / "binary.yaml")


def test_paths_are_relative_to_the_file_and_expanded(tmp_path, monkeypatch):
    monkeypatch.setenv("MUSE_LR_DATA", str(tmp_path / "data"))
    (tmp_path / "c.yaml").write_text(
        "data: {train: here.xyz, test: {t: '${MUSE_LR_DATA}/t.xyz'}}\ntraining: {directory: out}\n"
    )
    config = load_config(tmp_path / "c.yaml", {"training.epochs": 3})
    assert config.data.train == (str(tmp_path / "here.xyz"),)
    assert config.data.test == {"t": (str(tmp_path / "data" / "t.xyz"),)}
    assert config.training.directory == str(tmp_path / "out")
    assert config.training.epochs == 3


def test_paths_may_name_any_variable_of_the_environment(tmp_path, monkeypatch):
    monkeypatch.setenv("WHICH", "second")
    (tmp_path / "c.yaml").write_text("data: {train: '${WHICH}/t.xyz'}\n")
    assert load_config(tmp_path / "c.yaml").data.train == (str(tmp_path / "second" / "t.xyz"),)
    monkeypatch.delenv("WHICH")
    with pytest.raises(InputError, match="environment variable WHICH is not set"):
        load_config(tmp_path / "c.yaml")


def test_a_missing_data_directory_is_explained(tmp_path, monkeypatch):
    monkeypatch.delenv("MUSE_LR_DATA", raising=False)
    (tmp_path / "inner").mkdir()
    monkeypatch.chdir(tmp_path / "inner")
    (tmp_path / "c.yaml").write_text("data: {train: '${MUSE_LR_DATA}/t.xyz'}\n")
    with pytest.raises(InputError, match="export MUSE_LR_DATA"):
        load_config(tmp_path / "c.yaml")


BASE = {"data": {"train": "x"}, "model": {"multiscale": None}}


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("model.heads.colomb", None, r"names nothing \(did you mean 'coulomb'"),
        ("modle.charges", None, "there is no 'modle'"),
        ("training.epochs.x.y", 1, "it has no key 'x.y'"),
        ("training.epochs.x", 1, "it has no key 'x'"),
    ],
)
def test_overrides_that_name_nothing(key, value, message):
    with pytest.raises(InputError, match=message):
        apply_override(resolved(BASE), key, value)


@pytest.mark.parametrize(
    ("assignment", "form"),
    [
        ("model.multiscale.levels=2", "model.multiscale={levels: 2}"),
        ("model.charges.kind=split", "model.charges={kind: split}"),
        ("model.heads.coulomb.accuracy=1e-8", "model.heads.coulomb={accuracy: 1e-08}"),
    ],
)
def test_overrides_in_a_null_section_name_the_form_that_works(assignment, form):
    raw = resolved({**BASE, "model": {"charges": None, "heads": {"coulomb": None}}})
    section = form.partition("=")[0]
    message = f"^{section} is null.*--set '{re.escape(form)}'.* in a study with {section}: "
    with pytest.raises(InputError, match=message):
        apply_override(raw, *parse_assignment(assignment))
    key, value = parse_assignment(assignment)
    found = resolved(apply_override(raw, *parse_assignment(form)))
    for part in key.split("."):
        found = found[part]
    assert found == value


def test_overrides_that_do():
    raw = resolved(BASE)
    assert apply_override(raw, "model.heads.coulomb", None)["model"]["heads"] == {"coulomb": None}
    assert raw["model"]["heads"]["coulomb"] is not None  # a copy
    switched = apply_override(raw, "model.backbone.kind", "mace")["model"]["backbone"]
    assert switched["cutoff"] == 5.0
    assert "num_radial" not in switched
    added = apply_override(raw, "model.heads.zbl", {"kind": "zbl"})
    assert resolved(added)["model"]["heads"]["zbl"]["range"] == 1.0


def test_assignments():
    assert parse_assignment("training.learning_rate=1e-3") == ("training.learning_rate", 1e-3)
    assert parse_assignment("model.charges=null") == ("model.charges", None)
    with pytest.raises(InputError, match="key=value is needed"):
        parse_assignment("training.epochs")


def test_build_model_from_a_file(tmp_path):
    path = tmp_path / "model.yaml"
    path.write_text("model: {elements: [H, O], backbone: {channels: 4, layers: 1}}\n")
    model = build_model(path)
    assert model.elements == ("H", "O")
    assert model.cutoff == 5.0
    with pytest.raises(InputError, match=r"model.elements is needed"):
        build_model({"backbone": {"channels": 4}})


@pytest.mark.parametrize(
    ("section", "former", "name"),
    [
        ({"backbone": {"kind": "painn", "radial": 8}}, "radial", "num_radial"),
        ({"backbone": {"kind": "mace", "max_l": 2}}, "max_l", "l_max"),
        ({"backbone": {"kind": "so3krates", "max_l": 2}}, "max_l", "l_max"),
        ({"multiscale": {"kind": "ewald_mp", "radial": 8}}, "radial", "num_radial"),
        ({"multiscale": {"kind": "muse", "inner": 0.5}}, "inner", "inner_fraction"),
        ({"multiscale": {"kind": "muse", "crowding": 0.5}}, "crowding", "crowding_fraction"),
        (
            {"heads": {"c": {"kind": "coulomb", "omit_within": 3}}},
            "omit_within",
            "exclusion_radius",
        ),
    ],
)
def test_former_keys_are_refused_with_their_names(section, former, name):
    with pytest.raises(InputError, match=rf"\.{former}: unknown key; it is called '{name}'"):
        build_model({"elements": ["H"], **section})


def test_a_new_kind_does_not_take_the_defaults_of_the_former():
    raw = resolved(BASE)
    assert raw["model"]["backbone"]["num_radial"] is None  # a default of painn
    mace = apply_override(raw, "model.backbone.kind", "mace")["model"]["backbone"]
    assert "num_radial" not in mace
    raw["model"]["backbone"]["num_radial"] = 12  # chosen
    mace = apply_override(raw, "model.backbone.kind", "mace")["model"]["backbone"]
    assert mace["num_radial"] == 12


@pytest.mark.parametrize(
    ("files", "second"),
    [
        ("[a.xyz@i=3, 4, 6]", "4"),
        ("[a.xyz@random=20, seed=1]", "'seed=1'"),
        ("[a.xyz@subset=rutile, anatase]", "'anatase'"),
    ],
)
@pytest.mark.parametrize("key", ["train", "valid", "test.far", "isolated_atoms"])
def test_a_selection_that_yaml_divides_is_refused(tmp_path, files, second, key):
    (tmp_path / "a.xyz").write_text("")
    written = f"{{far: {files}}}" if key == "test.far" else files
    data = f"train: b.xyz, {key.partition('.')[0]}: {written}"
    if key == "train":
        data = f"train: {files}"
    (tmp_path / "c.yaml").write_text(f"data: {{{data}}}\n")
    message = f"c.yaml: data.{key.partition('.')[0]}.*'a.xyz@.*' and {second} are two items.*quotes"
    with pytest.raises(InputError, match=message):
        load_config(tmp_path / "c.yaml")


def test_selections_stay_with_their_absolute_files(tmp_path):
    (tmp_path / "a.xyz").write_text("")
    (tmp_path / "c.yaml").write_text(
        'data: {train: ["a.xyz@i=3,4@:2", POSCAR], valid: a.xyz@::5}\n'
    )
    config = load_config(tmp_path / "c.yaml", {"data.test.far": "a.xyz@i=6"})
    assert config.data.train == (f"{tmp_path}/a.xyz@i=3,4@:2", f"{tmp_path}/POSCAR")
    assert config.data.valid == (f"{tmp_path}/a.xyz@::5",)
    assert config.data.test["far"] == (f"{tmp_path}/a.xyz@i=6",)
