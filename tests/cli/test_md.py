"""``muse-lr md`` as a command."""

from __future__ import annotations

import csv
import json
import shutil

import numpy as np
import pytest
import torch
from ase.build import bulk, molecule
from ase.io import read, write

import muse_lr
from muse_lr.cli.main import main


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    path = tmp_path_factory.mktemp("md")
    torch.manual_seed(0)
    section = {
        "elements": ["Na", "Cl", "H", "O"],
        "backbone": {"channels": 4, "layers": 1, "cutoff": 3.5},
        "charges": {"kind": "conserved", "width": 0.5},
    }
    muse_lr.save_model(muse_lr.build_model(section), path / "model.pt")
    frames = [bulk("NaCl", "rocksalt", a=a, cubic=True) for a in (5.6, 5.7, 5.8)]
    frames[0].info["REF_energy"] = -3.0
    frames[0].set_array("REF_forces", np.zeros((8, 3)))
    write(path / "salt.xyz", frames)
    write(path / "water.xyz", molecule("H2O"))
    return path


def md(files, *options) -> int:
    return main(["md", str(files / "model.pt"), *map(str, options)])


def test_a_run_writes_its_files(files, tmp_path, capsys):
    out = tmp_path / "md"
    options = ["--ps", 0.02, "--temperature", 300, 450, "--copies", 2, "--save-every", 10]
    assert md(files, files / "salt.xyz", *options, "--out", out, "--log-every", 10) == 0
    printed = capsys.readouterr()
    assert "4 of 4 copies ran 0.02 ps at 300 and 450 K; drift of the conserved" in printed.out
    assert "frame 0 of 3" in printed.err
    start = "salt.xyz, frame 0: Cl4Na4, 8 atoms, TTT, total charge 0 e (not stated)"
    assert start in printed.err
    names = {path.name for path in out.iterdir()}
    assert names >= {"log.csv", "rdf.csv", "summary.json", "report.html", "settings.json"}
    rows = list(csv.DictReader((out / "log.csv").open()))
    assert [int(row["copy"]) for row in rows[:4]] == [0, 1, 2, 3]
    assert {row["step"] for row in rows} == {"0", "10", "20", "30", "40"}
    for row in rows:
        assert int(row["neighbor_lists"]) >= 1
        parts = sum(float(v) for name, v in row.items() if name.startswith("part_"))
        assert parts == pytest.approx(float(row["potential_eV"]), abs=1e-9)
        total = float(row["potential_eV"]) + float(row["kinetic_eV"])
        assert total == pytest.approx(float(row["total_eV"]), abs=1e-9)
    frames = read(out / "copy-3.extxyz", ":")
    assert [frame.info["step"] for frame in frames] == [0, 10, 20, 30, 40]
    last = frames[-1]
    assert "REF_energy" not in last.info
    assert "REF_forces" not in last.arrays
    assert last.get_potential_energy() == pytest.approx(float(rows[-1]["potential_eV"]), abs=1e-6)
    assert last.get_kinetic_energy() == pytest.approx(float(rows[-1]["kinetic_eV"]), abs=1e-4)
    again = last.copy()
    again.calc = muse_lr.Calculator(files / "model.pt", dtype="float32")
    np.testing.assert_allclose(again.get_forces(), last.get_forces(), atol=1e-4)
    summary = json.loads((out / "summary.json").read_text())
    assert [group["target_K"] for group in summary["temperatures"]] == [300, 450]
    page = (out / "report.html").read_text()
    assert "4 of 4 copies" in page
    assert "start: Cl4Na4, 8 atoms, TTT, total charge 0 e (not stated); muse_lr" in page


def test_stability_runs_four_temperatures(files, tmp_path, capsys):
    options = ["--stability", "--steps", 5, "--temperature", 240, "--out", tmp_path / "s"]
    assert md(files, files / "water.xyz", *options) == 0
    assert "at 240, 320, 400 and 480 K" in capsys.readouterr().out
    assert "Time to failure" in (tmp_path / "s" / "report.html").read_text()


def test_a_failure_gives_exit_code_1(files, tmp_path, capsys):
    options = ["--steps", 40, "--energy-jump", "1e-9", "--out", tmp_path / "f"]
    assert md(files, files / "salt.xyz@1:", *options, "--time-step", 2) == 1
    printed = capsys.readouterr()
    assert "copy 0 failed at 0.02 ps: conserved energy changed by" in printed.err
    assert "0 of 2 copies ran 0.08 ps at 300 K; 2 of 2 failed at 300 K after 0.02" in printed.out
    # The finished run is not repeated.
    assert md(files, files / "salt.xyz@1:", *options, "--time-step", 2, "--resume") == 1
    assert "is finished, all copies have failed: nothing to do" in capsys.readouterr().err


def test_the_default_directory_is_beside_the_model_and_a_finished_run_says_so(
    files, tmp_path, capsys
):
    shutil.copy(files / "model.pt", tmp_path / "model.pt")
    atoms = molecule("H2O")
    atoms.info["total_charge"] = 1
    write(tmp_path / "ion.extxyz.xz", [atoms] * 6, format="extxyz")
    out = tmp_path / "md-ion@_"
    options = [f"{tmp_path / 'ion.extxyz.xz'}@:", "--steps", 4]
    assert md(tmp_path, *options) == 0
    error = capsys.readouterr().err
    assert error.count("H2O, 3 atoms, FFF, total charge 1 e\n") == 4
    assert "start: 2 more" in error
    before = (out / "log.csv").read_bytes()
    assert md(tmp_path, *options) == 2
    assert f"{out} exists and is finished: choose another --out" in capsys.readouterr().err
    assert md(tmp_path, *options, "--resume") == 0
    printed = capsys.readouterr()
    assert f"{out} is finished, all 4 steps are made: nothing to do" in printed.err
    assert "6 of 6 copies ran 0.002 ps" in printed.out
    assert (out / "log.csv").read_bytes() == before


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--ensemble", "nve", "--friction", "1"], "--friction needs"),
        (["--pressure", "1"], "--pressure needs --ensemble npt"),
        (["--stability", "--ensemble", "nve"], "--stability runs langevin"),
        (["--ps", "0"], "steps"),
        (["--temperature", "-5"], "above 0 K"),
        (["--temperature", "300", "300"], "each temperature once"),
        (["--time-step", "0"], "time_step"),
        (["--ensemble", "npt"], "is a molecule"),
        (["--device", "cuda:77"], "cannot be used"),
    ],
)
def test_bad_options_are_one_line(files, tmp_path, capsys, options, message):
    out = tmp_path / "out"
    assert md(files, files / "water.xyz", *options, "--out", out) == 2
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 1
    assert message in lines[0]
    assert not out.exists()


def test_an_existing_directory_is_refused(files, tmp_path, capsys):
    (tmp_path / "notes.txt").write_text("mine")
    assert md(files, files / "water.xyz", "--steps", 2, "--out", tmp_path) == 2
    assert "use --resume to continue, or another --out" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("g++") is None, reason="needs a C++ compiler")
def test_a_compiled_backbone_gives_the_same_trajectory(files, tmp_path):
    options = ["--steps", 20, "--save-every", 20, "--dtype", "float64", "--ensemble", "nve"]
    for name, more in (("plain", []), ("compiled", ["--compile"])):
        out = tmp_path / name
        assert md(files, files / "salt.xyz", *options, *more, "--out", out) == 0
    plain, compiled = (read(tmp_path / n / "copy-0.extxyz", "-1") for n in ("plain", "compiled"))
    np.testing.assert_allclose(compiled.positions, plain.positions, atol=1e-8)
