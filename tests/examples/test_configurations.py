"""Every configuration and every study in ``examples`` loads, on data made here."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.io import write

import muse_lr.datasets
from muse_lr.ablate.study import load_study, plan
from muse_lr.cli.main import main
from muse_lr.config.paths import VARIABLE
from muse_lr.config.yaml import load_yaml
from muse_lr.data.labels import LABELS, TRANSPOSED
from muse_lr.errors import InputError
from muse_lr.train.config import Config, load_config
from muse_lr.train.setup import prepare

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
#: An example with a pyproject.toml is a package: its parts are unknown until it is installed.
FILES = sorted(
    path.relative_to(EXAMPLES)
    for path in EXAMPLES.glob("**/*.yaml")
    if not (path.parent / "pyproject.toml").exists()
)
STUDIES = [file for file in FILES if "variants" in load_yaml(EXAMPLES / file)]
CONFIGURATIONS = [file for file in FILES if file not in STUDIES]
#: The import of MACE takes long.
MODELS = [
    pytest.param(file, id=str(file), marks=[pytest.mark.slow] if "mace" in file.name else [])
    for file in CONFIGURATIONS
]
FRAMES = 10  # a share of 0.1 is left for validation


@pytest.fixture
def examples(tmp_path, monkeypatch) -> Path:
    """A copy of the examples, whose relative paths and variables lead into ``tmp_path``."""
    folder = tmp_path / "examples"
    shutil.copytree(EXAMPLES, folder, ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setenv("MUSE_LR_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("MUSE_LR_DIMERS", "CC")
    monkeypatch.chdir(tmp_path)
    return folder


def _files(config: Config) -> list[Path]:
    data = config.data
    valid = () if isinstance(data.valid, float) else data.valid
    tests = [path for paths in data.test.values() for path in paths]
    return [Path(path) for path in (*data.train, *valid, *tests)]


def _elements(config: Config) -> list[str]:
    """Elements that the configuration names, or those of the organic examples."""
    if config.model.elements is not None:
        return list(config.model.elements)
    found = re.findall(r"\b(NaCl|MgO)_", " ".join(config.data.train))
    return {"NaCl": ["Na", "Cl"], "MgO": ["Mg", "O"]}[found[0]] if found else ["H", "C", "N", "O"]


def _frame(config: Config, seed: int) -> Atoms:
    """Atoms on a line in a periodic cell, with all labels that the configuration asks for."""
    rng = np.random.default_rng(seed)
    elements = _elements(config)
    positions = [[2.0 * i, 0.0, 0.0] for i in range(len(elements))]
    atoms = Atoms(elements, positions, cell=[12.0, 12.0, 12.0], pbc=True)
    atoms.positions += 0.1 * rng.normal(size=(len(atoms), 3))
    for label in {*config.training.loss, *config.data.keys}:
        spec = LABELS[label]
        key = config.data.keys.get(label, spec.keys[0]).removesuffix(TRANSPOSED)
        size = int(np.prod(spec.shape))
        if spec.per_atom:
            values = rng.normal(size=(len(atoms), size))
            atoms.arrays[key] = values if spec.shape else values[:, 0]
        else:
            atoms.info[key] = rng.normal(size=size) if spec.shape else float(rng.normal())
    if "charges" in config.training.loss:
        atoms.arrays["REF_charges"] -= atoms.arrays["REF_charges"].mean()
    return atoms


def _write_stubs(config: Config, folder: Path) -> None:
    """Every data file of the configuration but those that ship with the package."""
    for path in _files(config):
        if not path.is_relative_to(folder):
            continue
        path.parent.mkdir(parents=True, exist_ok=True)
        write(path, [_frame(config, seed) for seed in range(FRAMES)], format="extxyz")


@pytest.mark.parametrize("file", CONFIGURATIONS, ids=str)
def test_configuration_has_current_keys_and_documented_paths(file, examples, tmp_path):
    config = load_config(examples / file)  # refuses unknown and former keys
    for path in _files(config):
        shipped = path.parent == muse_lr.datasets.directory()
        assert path.is_file() if shipped else path.is_relative_to(tmp_path)


@pytest.mark.parametrize("file", MODELS)
def test_the_model_of_a_configuration_fits_its_data(file, examples, tmp_path):
    config = load_config(examples / file)
    _write_stubs(config, tmp_path)
    setup = prepare(config)
    assert len(setup.train) > 0
    assert set(setup.test) == set(config.data.test)


@pytest.mark.parametrize("file", STUDIES, ids=str)
def test_study_is_planned_and_its_variants_differ(file, examples, tmp_path, capsys):
    study = load_study(examples / file)
    _write_stubs(load_config(examples / file.parent / study.base), tmp_path)
    assert main(["ablate", str(examples / file), "--plan"]) == 0
    printed = capsys.readouterr()
    runs = len(study.variants) * len(study.seeds)
    assert f"{runs} runs, 0 finished" in printed.out
    assert "are the same" not in printed.err


@pytest.mark.slow
@pytest.mark.parametrize("file", STUDIES, ids=str)
def test_every_variant_of_a_study_builds_its_model(file, examples, tmp_path):
    study = load_study(examples / file)
    _write_stubs(load_config(examples / file.parent / study.base), tmp_path)
    for run in plan(study, examples / file, tmp_path / "runs"):
        if run.seed == study.seeds[0]:
            prepare(Config.model_validate(run.config))


@pytest.mark.parametrize("file", CONFIGURATIONS, ids=str)
def test_an_unset_variable_is_named(file, examples, monkeypatch):
    names = set(VARIABLE.findall((examples / file).read_text(encoding="utf-8")))
    for name in names - {"MUSE_LR_DATASETS"}:
        monkeypatch.delenv(name)
    if names - {"MUSE_LR_DATASETS"}:
        with pytest.raises(InputError, match=r"export (MUSE_LR_DATA|MUSE_LR_DIMERS)="):
            load_config(examples / file)


def test_the_readme_lists_every_study_and_directory():
    text = (EXAMPLES / "README.md").read_text(encoding="utf-8")
    missing = [str(file) for file in STUDIES if f"examples/{file}" not in text]
    assert not missing
    for directory in EXAMPLES.iterdir():
        if directory.is_dir() and directory.name != "__pycache__":
            assert f"`{directory.name}/`" in text
