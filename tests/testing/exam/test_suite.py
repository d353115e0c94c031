"""The exam as a plugin of pytest and as a test class."""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.calculators.calculator import Calculator, all_changes
from ase.calculators.lj import LennardJones
from hypothesis import find, settings
from hypothesis.errors import NoSuchExample

from muse_lr.testing import Exam, strategies, structures
from muse_lr.testing.exam.explain import as_code
from testing.exam.toys import Ions, Shared

PLUGIN = "muse_lr.testing.pytest_plugin"
ROOT = Path(__file__).resolve().parents[3]
MODULE = """
from ase.calculators.lj import LennardJones

def make():
    made = LennardJones(sigma=3.0, epsilon=0.01, rc=7.0)
    made.elements = ["Ar"]
    return made
"""
SUITE = """
from ase.calculators.lj import LennardJones
from muse_lr.testing import Exam

class TestMine(Exam):
    elements, only, examples = ["Ar"], ["rotation", "total_charge", "smooth_separation"], 3

    def potential(self):
        return LennardJones(sigma=3.0, epsilon=0.01, rc=7.0)
"""


class PerAtom(LennardJones):
    """A fault: the energy has a term of the square of the number of atoms."""

    def calculate(self, atoms=None, properties=("energy",), changes=all_changes):
        super().calculate(atoms, properties, changes)
        self.results["energy"] += 0.01 * len(self.atoms) ** 2


class Extensivity(Exam):
    elements = ("Ar", "Ne")
    examples = 25

    def potential(self) -> Calculator:
        return PerAtom(sigma=3.0, epsilon=0.01, rc=7.0)


class OfIons(LennardJones):
    """The energy follows the total charge; a fault moves ions along x."""

    slope = 0.0

    def calculate(self, atoms=None, properties=("energy",), changes=all_changes):
        super().calculate(atoms, properties, changes)
        charge = self.atoms.info.get("total_charge", 0)
        self.results["energy"] += charge * (1.0 + self.slope * self.atoms.positions[0, 0])


class Ionic(Exam):
    elements = ("Ar", "Ne")
    examples = 25
    slope = 0.0

    def potential(self) -> Calculator:
        made = OfIons(sigma=3.0, epsilon=0.01, rc=7.0)
        made.slope = self.slope
        return made


def run_pytest(folder, *arguments):
    environment = {**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    command = [sys.executable, "-m", "pytest", "-p", PLUGIN, "-p", "no:cacheprovider", *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, env=environment)


def executed(code):
    space: dict = {}
    exec(code, space)
    return space["atoms"]


def same(first, second):
    assert first.symbols.get_chemical_formula("reduce") == second.symbols.get_chemical_formula(
        "reduce"
    )
    assert np.array_equal(first.positions, second.positions)
    assert np.array_equal(first.cell.array, second.cell.array)
    assert np.array_equal(first.pbc, second.pbc)
    return first.info == second.info


@pytest.mark.parametrize(
    "atoms",
    [
        structures.molecule(["H", "O"], 3, charge=-1),
        structures.crystal(["Na", "Cl"], 2, skewed=True, left_handed=True),
        structures.slab(["Au"], 1, open_axis=0),
        Atoms("H"),
    ],
)
def test_code_makes_the_same_structure(atoms):
    assert same(executed(as_code(atoms)), atoms)


def test_arrays_of_info_are_code():
    atoms = Atoms("H", info={"electric_field": np.array([0.0, 0.0, 0.1])})
    assert executed(as_code(atoms)).info == {"electric_field": [0.0, 0.0, 0.1]}


@pytest.mark.parametrize("check", ["supercell", "far_copies"])
def test_an_extensivity_fault_shrinks_to_few_atoms(check):
    with pytest.raises(pytest.fail.Exception) as failure:
        Extensivity().test_drawn(check)
    text = str(failure.value)
    assert check in text
    assert "must hold: E(" in text
    assert len(executed(text[text.index("from ase") :])) <= 4


def test_a_sound_potential_passes_on_drawn_structures():
    class Sound(Extensivity):
        examples = 5

        def potential(self):
            return LennardJones(sigma=3.0, epsilon=0.01, rc=7.0)

    Sound().test_drawn("supercell")

    def molecules(self):
        return strategies.molecules(["Ar"], minimum_distance=3.0)

    with pytest.raises(pytest.skip.Exception, match="there are no crystals"):
        type("Open", (Sound,), {"structures": molecules})().test_drawn("wrapping")


def test_a_fault_of_ions_shrinks_to_one_ion():
    """It is not there at a total charge of 0, and its code states the charge."""
    faulty = {"slope": 0.1}
    with pytest.raises(pytest.fail.Exception, match="translation: A rigid shift") as failure:
        type("Faulty", (Ionic,), faulty)().test_drawn("translation")
    text = str(failure.value)
    atoms = executed(text[text.index("from ase") :])
    assert len(atoms) == 1
    assert atoms.info == {"total_charge": 1}
    type("Neutral", (Ionic,), {**faulty, "charges": (0,)})().test_drawn("translation")
    type("Faultless", (Ionic,), {"examples": 5})().test_drawn("translation")


@pytest.mark.parametrize("check", ["supercell", "far_copies", "batch", "left_handed_cell"])
def test_a_sound_potential_of_ions_passes(check):
    type("Sound", (Ionic,), {"examples": 10})().test_drawn(check)


@pytest.mark.parametrize(
    ("potential", "accepts"),
    [
        (OfIons(sigma=3.0, epsilon=0.01, rc=7.0), True),
        (LennardJones(sigma=3.0, epsilon=0.01, rc=7.0), False),
        (Shared(), True),  # the charges follow
        (Ions(), False),
    ],
)
def test_charges_are_drawn_for_what_follows_them(potential, accepts):
    elements = ("Na", "Cl") if isinstance(potential, Ions) else ("Ar",)
    members = {"elements": elements, "potential": lambda self: potential}
    drawn = type("Drawn", (Exam,), members)().structures()
    if accepts:
        for directions in (0, 2, 3):
            atoms = find(drawn, lambda a, n=directions: a.info and a.pbc.sum() == n)
            assert atoms.info == {"total_charge": 1}
    else:
        with pytest.raises(NoSuchExample):
            find(drawn, lambda atoms: atoms.info, settings=settings(max_examples=100))


def test_a_crash_of_ions_is_found_on_drawn_ones():
    class Crashing(OfIons):
        def calculate(self, atoms=None, properties=("energy",), changes=all_changes):
            if atoms.info:
                raise ZeroDivisionError
            super().calculate(atoms, properties, changes)

    members = {"potential": lambda self: Crashing(sigma=3.0, epsilon=0.01, rc=7.0)}
    with pytest.raises(pytest.fail.Exception, match="'total_charge': 1"):
        type("Crash", (Ionic,), members)().test_drawn("rotation")


def test_plain_pytest_imports_nothing_heavy(tmp_path):
    (tmp_path / "test_nothing.py").write_text("def test_nothing():\n    pass\n")
    (tmp_path / "conftest.py").write_text(
        "import sys\n"
        "def pytest_unconfigure():\n"
        "    heavy = {'torch', 'hypothesis', 'ase', 'numpy', 'scipy', 'pydantic'}\n"
        "    print('heavy:', sorted(heavy & set(sys.modules)))\n"
        f"    print('plugin:', '{PLUGIN}' in sys.modules)\n"
    )
    done = run_pytest(tmp_path, "--co", "-q")
    assert done.returncode == 0, done.stderr
    assert "heavy: []" in done.stdout
    assert "plugin: True" in done.stdout


def test_the_plugin_is_an_entry_point():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert project["entry-points"]["pytest11"] == {PLUGIN: PLUGIN}
    assert any(line.startswith("hypothesis") for line in project["optional-dependencies"]["exam"])


def test_audit_adds_a_test_for_each_check(tmp_path):
    (tmp_path / "mine.py").write_text(MODULE)
    options = ("--audit", "mine:make", "--audit-quick", "-m", "audit")
    chosen = ("-k", "rotation or smooth_separation or total_charge")
    done = run_pytest(tmp_path, *options, *chosen)
    assert done.returncode == 1, done.stderr
    assert "1 failed, 1 passed, 1 skipped" in done.stdout
    assert "must hold: E(r), dE/dr" in done.stdout
    assert "Let every weight reach zero" in done.stdout
    assert "atoms = Atoms(" in done.stdout


@pytest.mark.parametrize(
    ("option", "message"),
    [("mine:absent", "has no 'absent'"), ("nowhere:make", "there is no module")],
)
def test_a_wrong_factory_is_an_error_of_usage(tmp_path, option, message):
    (tmp_path / "mine.py").write_text(MODULE)
    done = run_pytest(tmp_path, "--audit", option)
    assert done.returncode == pytest.ExitCode.USAGE_ERROR
    assert message in done.stderr + done.stdout


def test_the_class_in_another_project(tmp_path):
    (tmp_path / "test_mine.py").write_text(SUITE)
    done = run_pytest(tmp_path, "-v")
    assert "test_check[rotation] PASSED" in done.stdout, done.stdout
    assert "test_drawn[rotation] PASSED" in done.stdout
    assert "test_check[total_charge] SKIPPED" in done.stdout
    assert "test_check[smooth_separation] FAILED" in done.stdout
    assert "test_drawn[total_charge]" not in done.stdout
