"""``muse-lr audit``: exit codes, files, and what it refuses."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from ase import Atoms
from ase.io import read, write

from helpers import fixed_charge_model, refused, run_cli
from muse_lr.model.serialization import save_model
from muse_lr.testing import exam

FACTORIES = '''
from ase.calculators.lj import LennardJones


class Fragile(LennardJones):
    """Crashes for four atoms."""

    def calculate(self, atoms=None, properties=("energy",), changes=()):
        if len(atoms) == 4:
            raise RuntimeError("<script>stack smashed</script>")
        super().calculate(atoms, properties, list(changes))


def sound():
    return LennardJones(sigma=3.0, epsilon=0.01, rc=7.0)


def elements(dtype="float64"):
    made = LennardJones(sigma=3.0, epsilon=0.01, rc=7.0)
    made.elements = ["Ar"]
    return made


def fragile():
    return Fragile(sigma=3.0, epsilon=0.01, rc=7.0)


def broken():
    raise ValueError("no weights")


def nothing():
    return 3
'''


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A working directory with a module of factories, under a name of its own."""
    name = f"factories_{abs(hash(str(tmp_path)))}"
    (tmp_path / f"{name}.py").write_text(FACTORIES)
    monkeypatch.chdir(tmp_path)
    return name


def audit(*arguments):
    return run_cli("audit", "--quick", *arguments)


def test_a_calculator_of_the_working_directory(here, capsys):
    options = ("--elements", "Ar", "--only", "translation", "total_charge", "tail_neutral")
    files = ("--json", "out/a.json", "--html", "out/a.html")
    assert audit("--calculator", f"{here}:sound", *options, *files) == 0
    found = json.loads(Path("out/a.json").read_text())
    assert [one["name"] for one in found] == ["translation", "total_charge", "tail_neutral"]
    assert [one["status"] for one in found] == ["pass", "skipped", "pass"]
    assert all(
        list(one) == ["name", "status", "value", "tolerance", "unit", "why"] for one in found
    )
    assert found[1]["value"] is None
    assert found[1]["why"] == "the potential does not compute charges"
    page = Path("out/a.html").read_text()
    assert "<img" in page
    assert "http://" not in page.replace("http://www.w3.org", "")
    captured = capsys.readouterr()
    assert "3 checks: 2 pass, 1 skipped." in captured.out
    assert "1 of 3: translation pass, " in captured.err
    assert " to go" in captured.err


def test_a_crash_is_a_failure_with_its_structure(here, capsys):
    options = ("--elements", "Ar", "--only", "rotation", "finite_at_extremes")
    files = ("--json", "a.json", "--html", "a.html")
    assert audit("--calculator", f"{here}:fragile", *options, *files) == 1
    rotation, finite = json.loads(Path("a.json").read_text())
    assert (rotation["status"], finite["status"]) == ("fail", "pass")
    assert rotation["value"] is None
    assert "RuntimeError: <script>stack smashed</script>" in rotation["why"]
    assert rotation["why"].endswith("audit-structures/rotation.extxyz")
    assert len(read("audit-structures/rotation.extxyz")) == 4
    assert "Failed: rotation." in capsys.readouterr().out
    page = Path("a.html").read_text()
    assert "&lt;script&gt;stack" in page
    assert "<script>stack" not in page


def test_a_fault_is_explained(here, capsys):
    """The Lennard-Jones energy of ASE is shifted at its cutoff, and its force jumps."""
    options = ("--elements", "Ar", "--only", "smooth_separation")
    assert audit("--calculator", f"{here}:sound", *options) == 1
    text = " ".join(capsys.readouterr().out.split())
    assert "Let every weight reach zero with two derivatives at its cutoff." in text


def test_a_model_and_frames(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    model = fixed_charge_model({"Na": 1.0, "Cl": -1.0}, coulomb={"kind": "coulomb"})
    save_model(model, "model.pt")
    write("frames.xyz", Atoms("NaCl", [[0, 0, 0], [0, 0, 2.6]]))
    only = ("--only", "madelung", "tail_dipole_dipole", "single_precision")
    assert audit("model.pt", "--structures", "frames.xyz", *only, "--json", "a.json") == 0
    assert {one["status"] for one in json.loads(Path("a.json").read_text())} == {"pass"}


def test_elements_that_a_calculator_declares(here):
    assert audit("--calculator", f"{here}:elements", "--only", "translation") == 0


def test_the_list(capsys):
    assert run_cli("audit", "--list") == 0
    text = capsys.readouterr().out
    for name in exam.CHECKS:
        assert f"{name}: {exam.check_class(name).title()}" in text
        assert exam.check_class(name).equation in text


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "give either a MODEL or --calculator"),
        (("model.pt", "--calculator", "{}:sound"), "give either a MODEL or --calculator"),
        (("--calculator", "{}:sound", "--only", "forcse"), "did you mean 'forces'?"),
        (("--calculator", "{}:sound"), "--elements is needed"),
        (("--calculator", "{}:sound", "--elements", "Qq"), "'Qq' is no chemical symbol"),
        (("--calculator", "{}:elements", "--elements", "Kr"), "the potential has no Kr"),
        (("--calculator", "{}:absent", "--elements", "Ar"), "has no 'absent'"),
        (("--calculator", "no_such_module:make", "--elements", "Ar"), "there is no module"),
        (("--calculator", "{}", "--elements", "Ar"), "package.module:name is needed"),
        (("--calculator", "{}:broken", "--elements", "Ar"), "failed: ValueError: no weights"),
        (("--calculator", "{}:nothing", "--elements", "Ar"), "returns 3: it must return an ASE"),
        (("missing.pt",), "missing.pt"),
        (("--calculator", "{}:sound", "--structures", "no.xyz"), "no.xyz"),
        (("--calculator", "{}:elements", "--structures", "nacl.xyz"), "the potential has no Cl"),
        (("--calculator", "{}:sound", "--structures", "a", "--elements", "Ar"), "leave out"),
    ],
)
def test_bad_input(here, capsys, arguments, message):
    write("nacl.xyz", Atoms("NaCl", [[0, 0, 0], [0, 0, 2.6]]))
    given = [argument.format(here) for argument in arguments]
    assert message in refused(capsys, "audit", *given)
