"""The example of a head outside the package: installed, trained, loaded and checked."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import muse_lr
from muse_lr.cli.main import main
from muse_lr.config.plugins import find_plugins
from muse_lr.config.registry import broken_plugins
from muse_lr.config.yaml import dump_yaml, load_yaml
from muse_lr.testing import check_contract
from muse_lr.testing.structures import crystal, molecule, slab

ROOT = Path(__file__).resolve().parents[2]
EXAMPLE = ROOT / "examples" / "own_head"
SHORT = ["training.epochs=1", "training.batch.graphs=16", "model.backbone.channels=4"]


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """A folder in which the example is installed."""
    folder = tmp_path_factory.mktemp("own_head")
    # pip builds in the folder of the source.
    source = shutil.copytree(EXAMPLE, folder / "source", ignore=shutil.ignore_patterns("runs"))
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-index", "--no-deps"]
    command += ["--no-build-isolation", "--target", str(folder / "site"), str(source)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return folder / "site"


@pytest.fixture
def installed(site, monkeypatch):
    """The example as an installed distribution of this process."""
    monkeypatch.syspath_prepend(str(site))
    find_plugins.cache_clear()
    yield site
    for name in ("own_head", "own_charges"):
        sys.modules.pop(name, None)
    monkeypatch.undo()
    find_plugins.cache_clear()


def train(config: Path, directory: Path) -> Path:
    """The model file of a short run."""
    options = [option for key in SHORT for option in ("--set", key)]
    options += ["--set", f"training.directory={directory}"]
    assert main(["train", str(config), *options]) == 0
    return directory / "model.pt"


def test_the_installed_example_is_listed(site):
    environment = {**os.environ, "PYTHONPATH": str(site)}
    command = [sys.executable, "-m", "muse_lr", "info", str(EXAMPLE / "config.yaml")]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=site.parent)
    assert done.returncode == 0, done.stderr
    assert "screened_coulomb, range 7 A" in done.stdout
    assert "by_element_learned, 3 parameters" in done.stdout
    assert "muse-lr: " not in done.stderr, "no plugin is broken"


def test_the_example_trains_and_loads_by_name(installed, tmp_path, recwarn):
    assert broken_plugins() == []
    path = train(EXAMPLE / "config.yaml", tmp_path / "run")
    model = muse_lr.load_model(path)
    assert model.config.heads["screened"].kind == "screened_coulomb"
    assert model.charges.by_element.argmin() == model.elements.index("Cl")
    assert abs(float(model.heads["screened"].log_length.exp()) - 3.0) > 1e-6, "it was trained"
    assert not [w for w in recwarn if "was written with" in str(w.message)]


def test_a_class_by_its_path_trains_and_needs_trust_to_load(installed, tmp_path):
    data = load_yaml(EXAMPLE / "config.yaml")
    data["model"]["heads"]["screened"]["kind"] = "own_head:ScreenedCoulomb"
    dump_yaml(data, tmp_path / "config.yaml")
    path = train(tmp_path / "config.yaml", tmp_path / "run")
    with pytest.raises(muse_lr.InputError, match=r"own_head:ScreenedCoulomb.*trust=True"):
        muse_lr.load_model(path)
    model = muse_lr.load_model(path, trust=True)
    atoms = crystal(["Na", "Cl"], 1, minimum_distance=2.0)
    atoms.calc = muse_lr.Calculator(path, trust=True)
    batch = muse_lr.AtomsBatch.from_ase([atoms], cutoff=model.cutoff)
    assert np.isclose(atoms.get_potential_energy(), float(model(batch).energy[0]), rtol=1e-5)


def test_the_energy_is_the_formula(installed):
    charges = {"kind": "fixed", "by_element": {"Na": 1, "Cl": -1}}
    head = {"kind": "screened_coulomb", "cutoff": 8.0, "screening_length": 2.5}
    section = {"elements": ["Na", "Cl"], "backbone": None, "charges": charges}
    model = muse_lr.build_model({**section, "heads": {"screened": head}}).double()
    atoms = molecule(["Na", "Cl"], 1, minimum_distance=1.5)
    distance = atoms.get_distance(0, 1)
    assert distance < 4, "where the window is 1"
    batch = muse_lr.AtomsBatch.from_ase([atoms], cutoff=model.cutoff)
    expected = -muse_lr.units.COULOMB_CONSTANT * np.exp(-distance / 2.5) / distance
    assert np.isclose(float(model(batch).energy[0]), expected, rtol=1e-7)


def test_the_example_fulfills_the_contract(installed):
    head = {"kind": "own_head:ScreenedCoulomb", "cutoff": 4.5}
    charges = {"kind": "by_element_learned"}
    section = {"elements": ["Na", "Cl"], "backbone": None, "charges": charges}
    model = muse_lr.build_model({**section, "heads": {"screened": head}})
    apart = {"minimum_distance": 1.4}
    structures = [molecule(["Na", "Cl", "Cl"], 1, **apart), molecule(["Na"], 2, charge=1)]
    structures += [crystal(["Na", "Cl"], 3, **apart), slab(["Na", "Cl"], 4, **apart)]
    contract = check_contract(model, structures)
    names = {measurement.name for measurement in contract.measurements}
    assert {"forces", "stress", "rotation", "supercell", "far_copies", "smooth"} <= names
    assert {"parameters_receive_gradients", "training_gradient", "total_charge"} <= names


def test_the_tutorial_shows_the_code_of_the_example(installed):
    page = (ROOT / "docs" / "own_parts.md").read_text(encoding="utf-8")
    code = "".join(path.read_text(encoding="utf-8") for path in EXAMPLE.glob("own_*.py"))
    code += (EXAMPLE / "pyproject.toml").read_text(encoding="utf-8")
    blocks = re.findall(r"```(?:python|toml)\n(.*?)```", page, flags=re.DOTALL)
    shown = [block for block in blocks if "class " in block or "entry-points" in block]
    assert len(shown) == 3
    lines = [line for block in shown for line in block.splitlines()]
    assert set(lines) <= set(code.splitlines())
    (test,) = (block for block in blocks if "def test_contract" in block)
    space: dict = {}
    exec(test, space)
    space["test_contract"]()
