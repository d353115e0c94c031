"""``muse-lr audit --trajectory``: statistics of charges beside the checks."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.io import write

from helpers import fixed_charge_model, refused, run_cli
from muse_lr.analysis.charge_statistics import Statistic, judge_statistic
from muse_lr.model.serialization import save_model

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
    assert "--trajectory" in refused(capsys, "audit", "model.pt", *CHECK, "--temperature", "300")


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
