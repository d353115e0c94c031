"""``muse-lr profile``: what it writes and prints, and what it refuses."""

from __future__ import annotations

import csv
import json

import numpy as np
import pytest
from ase import Atoms
from ase.io import write

from helpers import fixed_charge_model, painn_section, random_model, refused, run_cli
from muse_lr.model.serialization import save_model
from muse_lr.units import COULOMB_CONSTANT


@pytest.fixture
def files(tmp_path):
    """A model of ions, another one, and two dissociations of NaCl."""
    ions = fixed_charge_model({"Na": 1.0, "Cl": -1.0}, coulomb={"kind": "coulomb"})
    save_model(ions, tmp_path / "ions" / "model.pt")
    other = random_model(painn_section(["Na", "Cl"], 3.5, charges=None, heads={}))
    save_model(other, tmp_path / "other" / "model.pt")
    frames = []
    for scan, direction in (("z", [0, 0, 1]), ("<script>", [0, 1, 0])):
        for distance in (2.0, 3.0, 5.0, 10.0):
            atoms = Atoms("NaCl", [[0, 0, 0], distance * np.array(direction)])
            energy = -COULOMB_CONSTANT / distance
            atoms.info.update(distance=distance, scan=scan, total_charge=0, dft=energy)
            frames.append(atoms)
    write(tmp_path / "scans.xyz", frames, format="extxyz")
    return tmp_path


def models(files):
    return [files / name / "model.pt" for name in ("ions", "other")]


def test_two_models(files, capsys):
    command = ["profile", *models(files), files / "scans.xyz", "--coordinate", "distance"]
    assert run_cli(*command, "--keys", "energy=dft", "--out", files / "out") == 0
    content = json.loads((files / "out" / "profile.json").read_text())
    ions, other = content["models"]
    assert [path["name"] for path in content["paths"]] == ["z", "<script>"]
    assert (ions["name"], other["name"]) == ("ions", "other")
    assert ions["mae_meV"] < 1e-3 < 100 < other["mae_meV"]
    with (files / "out" / "profile.csv").open() as handle:
        rows = list(csv.DictReader(handle))
    energies = [
        float(r["energy_eV"]) for r in rows if (r["curve"], r["term"]) == ("ions", "coulomb")
    ]
    expected = [COULOMB_CONSTANT * (0.1 - 1 / d) for d in (2, 3, 5, 10)]
    assert energies == pytest.approx(expected * 2, abs=1e-6)
    text = capsys.readouterr().out
    assert "largest error (meV)" in text
    assert "ions: the MAE of the relative energies is" in text
    assert text.rstrip().endswith(str(files / "out" / "report.html"))
    page = (files / "out" / "report.html").read_text()
    assert "&lt;script&gt;" in page
    for name in ("profiles", "errors", "terms-1", "terms-2"):
        assert (files / "out" / "plots" / f"{name}.png").exists()


def test_the_directory_beside_the_model_and_no_labels(files, capsys):
    source = f"{files / 'scans.xyz'}@scan=z"
    options = ("--coordinate", "distance", "--zero", "3")
    assert run_cli("profile", models(files)[1], source, *options) == 0
    out = files / "other" / "profile-scans@scan=z"
    content = json.loads((out / "profile.json").read_text())
    assert content["paths"][0]["zero"] == 3.0
    assert "No frame has a reference energy" in capsys.readouterr().out
    assert not (out / "plots" / "errors.png").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "distance, dft; choose one, as in --coordinate distance"),
        (("--coordinate", "distance", "--zero", "4"), "no frame of the path 'z'"),
        (("--coordinate", "distance", "--zero", "end"), "zero: 'end': give first, last"),
        (("--coordinate", "distance", "--by", "family"), "no info key 'family'"),
        (("--coordinate", "distance", "--fragments"), "its fragments are not known"),
        (("--coordinate", "distance", "--graphs", "0"), "--graphs"),
    ],
)
def test_what_is_refused(files, capsys, arguments, message):
    command = ["profile", models(files)[0], files / "scans.xyz", *arguments]
    assert message in refused(capsys, *command)
    assert not (files / "ions" / "profile-scans").exists()


def test_an_element_that_a_model_does_not_have(files, capsys):
    save_model(fixed_charge_model({"Na": 1.0}, coulomb={"kind": "coulomb"}), files / "na.pt")
    assert "Cl" in refused(capsys, "profile", files / "na.pt", files / "scans.xyz")
