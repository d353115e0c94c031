"""``muse-lr audit --trajectory``: statistics of charges beside the checks."""

from __future__ import annotations

import json
from itertools import product
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import write

from helpers import fixed_charge_model, refused, run_cli
from muse_lr.analysis.charge_statistics import Statistic, judge_statistic
from muse_lr.model.serialization import save_model
from muse_lr.units import COULOMB_CONSTANT

CHECK = ("--quick", "--only", "determinism", "--elements", "Na,Cl")


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A working directory with a gas of ions that do not know of each other, and its model."""
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    symbols = ["Na", "Cl"] * 10
    gas = [
        Atoms(symbols, rng.uniform(0, 12, (20, 3)), cell=[12.0] * 3, pbc=True) for _ in range(200)
    ]
    write("gas.extxyz", gas)
    model = fixed_charge_model({"Na": 1.0, "Cl": -1.0}, coulomb={"kind": "coulomb"})
    save_model(model, Path("model.pt"))
    return tmp_path


def test_ions_that_do_not_screen_fail(here, capsys):
    options = ("--trajectory", "gas.extxyz", "--temperature", "300")
    files = ("--json", "a.json", "--html", "a.html")
    assert run_cli("audit", "model.pt", *CHECK, *options, *files) == 1
    records = {one["name"]: one for one in json.loads(Path("a.json").read_text())}
    assert records["determinism"]["status"] == "pass"
    zeroth = records["zeroth moment of charges"]
    assert zeroth["status"] == "fail"
    assert zeroth["value"] == pytest.approx(1.0, abs=0.3), "the mean squared charge of a gas"
    assert zeroth["reference"] == 0.0
    assert records["potential step across the slab"]["status"] == "skipped"
    text = capsys.readouterr().out
    assert "zeroth moment of charges: fail" in text
    assert "Long range along the trajectory" in Path("a.html").read_text()


def test_without_charges_all_is_skipped(here):
    Path("plain.py").write_text(
        "from ase.calculators.lj import LennardJones\n"
        "def make():\n    return LennardJones(sigma=2.0, epsilon=0.01, rc=5.0)\n"
    )
    options = ("--trajectory", "gas.extxyz@:2", "--temperature", "300", "--json", "b.json")
    assert run_cli("audit", "--calculator", "plain:make", *CHECK, *options) == 0
    last = json.loads(Path("b.json").read_text())[-1]
    assert (last["status"], last["why"]) == ("skipped", "the potential has no charges")


def test_a_temperature_is_needed(here, capsys):
    message = refused(capsys, "audit", "model.pt", *CHECK, "--trajectory", "gas.extxyz")
    assert "--temperature" in message


@pytest.mark.parametrize("option", ["--temperature", "--optical", "--dielectric", "--pair"])
def test_options_of_a_trajectory_need_one(here, capsys, option):
    message = refused(capsys, "audit", "model.pt", *CHECK, option, "2")
    assert f"{option} describes a trajectory: add --trajectory FILE" in message


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--optical", "0.5"), "--optical 0.5 is no dielectric constant: give a number from 1 on"),
        (("--optical", "nan"), "--optical nan is no dielectric constant"),
        (("--dielectric", "0"), "--dielectric 0 is no dielectric constant: give a number from 1"),
        (("--dielectric", "inf"), "a conducting liquid needs none"),
        (("--dielectric", "1.5", "--optical", "2"), "--dielectric 1.5 is below --optical 2"),
        (("--pair", "0"), "--pair '0' is not two atoms of the trajectory: give two indices from"),
        (("--pair", "3,3"), "such as --pair 0,1"),
        (("--pair", "0,20"), "from 0 to 19"),
        (("--pair", "Na,Cl"), "--pair 'Na,Cl' is not two atoms"),
        (("--pair", "0,1,2"), "--pair '0,1,2' is not two atoms"),
        (("--pair", "0,1"), "frame 0 of the trajectory has none: write them, or leave out --pair"),
        (("--temperature", "nan"), "--trajectory needs the --temperature"),
    ],
)
def test_impossible_options(here, capsys, options, message):
    given = ("--trajectory", "gas.extxyz@:2", "--temperature", "300", *options)
    assert message in refused(capsys, "audit", "model.pt", *CHECK, *given)


def records_of(*options, model="model.pt", elements="Na,Cl"):
    """What the command writes about each statistic, by name."""
    check = (*CHECK[:-1], elements)
    run_cli("audit", model, *check, "--temperature", "300", "--json", "r.json", *options)
    return {one["name"]: one for one in json.loads(Path("r.json").read_text())}


def test_a_known_dielectric_constant_is_the_reference(here):
    """Of a gas of molecules; otherwise the reference is that of their dipoles."""
    rng = np.random.default_rng(1)
    places = 8.0 * np.array(list(product(range(3), repeat=3)), dtype=float)
    frames = []
    for _ in range(120):
        axes = rng.normal(size=places.shape)
        axes *= 0.565 / np.linalg.norm(axes, axis=1)[:, None]
        at = np.stack([places - axes, places + axes], axis=1).reshape(-1, 3)
        frames.append(Atoms(["C", "O"] * len(places), at, cell=[24.0] * 3, pbc=True))
    write("gas_of_dipoles.extxyz", frames)
    save_model(fixed_charge_model({"C": 1.0, "O": -1.0}, coulomb={"kind": "coulomb"}), "co.pt")
    option = ("--trajectory", "gas_of_dipoles.extxyz")
    subject = {"model": "co.pt", "elements": "C,O"}
    constant, second = "dielectric constant", "second moment of charges"
    own = records_of(*option, **subject)
    assert own[constant]["reference"] is None
    assert own[second]["reference"] == pytest.approx(1 - 1 / own[constant]["value"])
    known = records_of(*option, "--dielectric", "80", **subject)
    assert known[constant]["reference"] == 80
    assert known[second]["reference"] == pytest.approx(1 - 1 / 80)
    assert known[second]["status"] == "fail", "molecules that do not know of each other"
    both = records_of(*option, "--dielectric", "80", "--optical", "2", **subject)
    assert both[second]["reference"] == pytest.approx(1 / 2 - 1 / 80)


def test_the_optical_constant_is_the_reference_of_a_conducting_liquid(here):
    option = ("--trajectory", "gas.extxyz@:20", "--optical", "2.5")
    second = records_of(*option)["second moment of charges"]
    assert second["reference"] == pytest.approx(1 / 2.5)
    # Complete screening does not depend on a dielectric constant.
    again = records_of(*option, "--dielectric", "80")["second moment of charges"]
    assert again["reference"] == pytest.approx(1 / 2.5)


@pytest.mark.parametrize(("dielectric", "status"), [("4", "pass"), ("80", "fail")])
def test_the_tail_of_a_pair(here, dielectric, status):
    """Ions whose forces are those of a continuum of a dielectric constant of 4."""
    frames = []
    for r in np.linspace(7.5, 12.0, 12):
        atoms = Atoms("NaCl", [[0, 0, 0], [r, 0, 0]])
        force = COULOMB_CONSTANT / (4 * r**2)  # toward the other ion
        forces = np.array([[force, 0, 0], [-force, 0, 0]])
        atoms.calc = SinglePointCalculator(atoms, forces=forces)
        frames.append(atoms)
    write("ions.extxyz", frames)
    option = ("--trajectory", "ions.extxyz", "--pair", "0,1", "--dielectric", dielectric)
    tail = records_of(*option)["tail of the mean force of the pair"]
    assert tail["value"] == pytest.approx(0.25, rel=1e-6)
    assert tail["reference"] == pytest.approx(1 / float(dielectric))
    assert tail["status"] == status
    alone = records_of("--trajectory", "ions.extxyz", "--pair", "1, 0")
    assert alone["tail of the mean force of the pair"]["value"] == pytest.approx(0.25, rel=1e-6)


@pytest.mark.parametrize(
    ("value", "error", "reference", "status"),
    [
        (0.98, 0.001, 1.0, "pass"),  # within the allowance
        (0.94, 0.03, 1.0, "pass"),  # within three standard errors
        (0.94, 0.01, 1.0, "fail"),
        (0.9, 0.3, 1.0, "informative"),  # an error that hides everything
        (80.0, 0.3, 1.0, "fail"),
        (0.9, 0.01, None, "informative"),
        (0.9, float("nan"), 1.0, "informative"),
    ],
)
def test_the_verdict(value, error, reference, status):
    found = Statistic("second moment of charges", value, error, "", "", reference)
    assert judge_statistic(found).status == status
