"""The exam of other packages: factories, processes that end, and the table from tiny records."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from benchmarks.exam import execute, potentials, table
from benchmarks.exam.adapters import Adapted
from benchmarks.exam.promises import PROMISES
from benchmarks.exam.roster import PEERS, Entry, chosen, ours
from muse_lr import InputError
from muse_lr.testing import exam
from muse_lr.testing.exam.subject import from_factory
from muse_lr.units import COULOMB_CONSTANT

ROOT = Path(__file__).resolve().parents[2]
CORE = ("emt", "lj", "lj_smooth", "torch_pme_p3m", "torch_pme_ewald")


def verdicts(name, *checks):
    """Status of checks of a peer by name."""
    potential, _ = from_factory(f"benchmarks.exam.potentials:{name}")
    results = exam.examine(potential, potential.calculator.elements, only=checks, quick=True)
    return {result.name: result.status for result in results}


@pytest.mark.parametrize("name", CORE)
def test_peers_of_the_core_dependencies(name):
    """Forces of crystals agree with the energy for all of them."""
    calculator = getattr(potentials, name)()
    first, last = calculator.elements[0], calculator.elements[-1]
    atoms = bulk("NaCl", "rocksalt", a=5.6, cubic=True)
    atoms.symbols = [first if symbol == "Na" else last for symbol in atoms.symbols]
    atoms.positions += np.random.default_rng(0).normal(0, 0.1, (len(atoms), 3))
    atoms.calc = calculator
    direction = np.random.default_rng(1).normal(size=atoms.positions.shape)
    expected = -(atoms.get_forces() * direction).sum()
    energies = []
    for sign in (1, -1):
        moved = atoms.copy()
        moved.positions += sign * 1e-4 * direction
        moved.calc = calculator
        energies.append(moved.get_potential_energy())
    assert (energies[0] - energies[1]) / 2e-4 == pytest.approx(expected, rel=1e-4, abs=1e-6)


def test_the_ewald_sum_has_the_madelung_energy():
    atoms = bulk("NaCl", "rocksalt", a=5.6)
    atoms.calc = potentials.torch_pme_ewald()
    expected = -COULOMB_CONSTANT * 1.7475646 / 2.8
    assert atoms.get_potential_energy() == pytest.approx(expected, rel=1e-6)


def test_known_faults_are_found():
    """Open boundaries are summed in three dimensions; a truncated pair force jumps."""
    assert verdicts("torch_pme_ewald", "far_copies", "madelung") == {
        "far_copies": "fail",
        "madelung": "fail",  # its isolated ions have images
    }
    assert verdicts("lj", "forces", "smooth_separation")["smooth_separation"] == "fail"


def test_an_adapter_tells_and_refuses():
    told = []
    inner = potentials.lj().inner
    adapted = Adapted(inner, ("Ar",), ("forces",), lambda _, a: told.append(a.info), periodic=(3,))
    crystal = bulk("Ar", a=5.3)
    crystal.info["total_charge"] = 1
    crystal.calc = adapted
    crystal.get_potential_energy()
    assert told == [{"total_charge": 1}]
    with pytest.raises(NotImplementedError, match="crystals"):
        adapted.get_property("energy", Atoms("Ar"))


def test_the_roster():
    assert len(ours()) == 12
    assert all(hasattr(potentials, entry.name) for entry in PEERS)
    assert set(PROMISES) <= {entry.name for entry in PEERS}
    assert [entry.name for entry in chosen(["lj", "emt", "lj"])] == ["lj", "emt"]
    with pytest.raises(InputError, match="there is no potential 'gfn3'"):
        chosen(["gfn3"])


@pytest.fixture
def absent():
    return Entry("absent", "Absent", ("absent",), "no_such_package", install="absent==1")


def written(entry, results, out, quick=True):
    record = {"name": entry.name, "quick": quick, "versions": {"ase": "3.29.0"}}
    record |= {"processor_seconds": 1.6, "seconds": 2.0, "results": results}
    path = execute.record_file(entry, out, quick)
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(record))


def test_the_table_of_tiny_records(tmp_path, absent):
    keys = ("name", "status", "value", "tolerance", "unit", "why")
    rows = [
        ("forces", "pass", 1e-9, 1e-5, "eV/A", "molecule Ar3: difference"),
        ("stress", "fail", 0.25, 1e-5, "eV", "crystal Ar3: V σ | dE/dε; structure: /x/y.extxyz"),
        ("batch", "fail", None, None, "", "the process ended with exit code -11"),
        ("born_sum_rule", "skipped", None, None, "", "no charges"),
    ]
    results = [dict(zip(keys, row, strict=True)) for row in rows]
    lj, polar = chosen(["lj", "polar_mace"])
    written(lj, results, tmp_path)
    written(polar, results[:2], tmp_path, quick=False)
    page = tmp_path / "exam.md"
    inserted = table.write_report([lj, polar, absent], tmp_path, page)
    assert inserted.splitlines()[2:] == [
        "| Lennard-Jones of ase | 3.29.0 | quick | 1 | 2 | 0 | 1 | `stress` 0.25 eV (1e-5); "
        "`batch` (crash) | 2 |",
        "| PolarMACE of mace-torch | 3.29.0 | whole | 1 | 1 | 0 | 0 | `stress` 0.25 eV (1e-5) "
        "| 2 |",
        "| Absent of absent | not installed: `pip install absent==1` |  |  |  |  |  |  |  |",
    ]
    text = page.read_text()
    assert inserted in text
    assert "- `stress` 0.25 eV (1e-5): crystal Ar3: V σ \\| dE/dε.\n" in text
    assert (
        "muse-lr audit --calculator benchmarks.exam.potentials:lj --quick --only stress batch"
        in text
    )
    assert "potentials:polar_mace --only stress\n" in text
    assert PROMISES["polar_mace"][0].sentence in text
    assert "/x/y" not in text
    # Another environment has no record of PolarMACE: its row and its section stay.
    other = tmp_path / "other"
    other.mkdir()
    written(lj, results[:1], other)
    again = table.write_report([lj, polar, absent], other, page)
    assert again.splitlines()[3:] == inserted.splitlines()[3:]
    assert again.splitlines()[2].endswith("| quick | 1 | 0 | 0 | 0 | – | 2 |")
    kept = page.read_text()
    assert kept.partition("### PolarMACE")[2] == text.partition("### PolarMACE")[2]
    assert "### Lennard-Jones" not in kept


def test_the_page_of_the_exam_has_the_table():
    page = (ROOT / "docs" / "audit.md").read_text(encoding="utf-8")
    shown = page.split("<!-- exam-table -->\n")[1].split("\n<!-- /exam-table -->")[0]
    assert shown in (ROOT / "benchmarks" / "results" / "exam.md").read_text(encoding="utf-8")
    assert len(shown.splitlines()) == 2 + len(chosen())


MORTAL = """
import os
from ase.calculators.lj import LennardJones

class Mortal(LennardJones):
    elements = ("Ar",)
    def get_property(self, name, atoms=None, allow_calculation=True):
        if name == "stress":
            os._exit(9)
        return super().get_property(name, atoms, allow_calculation)

def make():
    return Mortal(sigma=3.4, epsilon=0.01)
"""


def test_a_process_that_ends_is_told(tmp_path, monkeypatch):
    (tmp_path / "mortal.py").write_text(MORTAL)
    monkeypatch.setattr(execute, "ROOT", tmp_path)
    who, names = ["--calculator", "mortal:make"], ["far_copies", "stress"]
    found = execute._attempt(who, names, True, tmp_path / "log", execute.Limits())
    assert found == (None, ["far_copies"], "the process ended with exit code 9")


def test_a_process_that_ends_does_not_end_the_exam(tmp_path, monkeypatch):
    """The check at which it ends is a failure, and the others are run without it."""

    def mortal(who, names, *settings):
        if "stress" in names:
            return None, list(names[: names.index("stress")]), "the process ended"
        return [{"name": name, "status": "pass"} for name in names], [], ""

    monkeypatch.setattr(execute, "_attempt", mortal)
    names = ["far_copies", "stress", "tail_neutral"]
    found = execute._run(["model.pt"], names, True, tmp_path, execute.Limits())
    assert [(result["name"], result["status"]) for result in found] == [
        ("far_copies", "pass"),
        ("stress", "fail"),
        ("tail_neutral", "pass"),
    ]
    assert found[1]["why"] == "the process ended"


def test_a_check_that_never_ends_is_skipped(tmp_path):
    log = tmp_path / "log.txt"
    log.write_text("1 of 2: forces pass\n")
    process = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    assert execute._wait(process, log, seconds=0.5)
    assert process.returncode is not None
    assert execute._lost("stress", "not done within 0.5 s")["status"] == "skipped"


def test_a_potential_that_cannot_be_made_ends_the_run(tmp_path):
    who = ["--calculator", "benchmarks.exam.potentials:gfn3"]
    with pytest.raises(SystemExit, match="gfn3"):
        execute._run(who, ["forces"], True, tmp_path, execute.Limits())
