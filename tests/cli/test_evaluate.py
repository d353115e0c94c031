"""muse-lr evaluate: what it writes, where, what it prints, and what it refuses."""

from __future__ import annotations

import csv
import json
import re
import runpy
import shutil
from contextlib import redirect_stdout
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from ase.build import molecule
from ase.io import read, write

from muse_lr.cli.main import main
from muse_lr.reporting.directories import directory_beside
from muse_lr.train.evaluation_files import FILES

DATA = SimpleNamespace(
    **runpy.run_path(str(Path(__file__).resolve().parents[1] / "training_data.py"))
)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Folder with a finished run, and with what training printed as ``log``."""
    folder = tmp_path_factory.mktemp("trained")
    config = DATA.write_run(folder, epochs=1)
    with (folder / "log").open("w") as log, redirect_stdout(log):
        assert main(["train", str(config)]) == 0
    return folder


@pytest.fixture
def run(trained, tmp_path):
    """A copy of the run with labeled structures of two subsets beside it."""
    shutil.copytree(trained / "run", tmp_path / "run")
    frames = read(trained / "test.xyz", ":")
    for i, atoms in enumerate(frames):
        atoms.info["subset"] = "left" if i < 3 else "right"
    write(tmp_path / "test.xyz", frames, format="extxyz")
    return tmp_path


def evaluate(folder, *arguments):
    given = arguments and not str(arguments[0]).startswith("--")
    data = [] if given else [folder / "test.xyz"]
    return main(["evaluate", *map(str, [folder / "run" / "model.pt", *data, *arguments])])


def refused(capsys, folder, *arguments):
    capsys.readouterr()
    assert evaluate(folder, *arguments) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    return error


def plain(frames, label):
    """Errors of predictions.extxyz in meV, from the arrays of the file."""
    if label == "energy":
        pairs = [(a.info["muse_energy"], a.info["REF_energy"], len(a)) for a in frames]
        return np.array([1000 * (guess - truth) / atoms for guess, truth, atoms in pairs])
    return 1000 * np.concatenate(
        [(a.arrays["muse_forces"] - a.arrays["REF_forces"]).ravel() for a in frames]
    )


def test_errors_agree_with_the_predictions_that_are_written(run, capsys):
    assert evaluate(run) == 0
    out = run / "run" / "evaluation-test"
    assert {path.name for path in out.iterdir()} == set(FILES)
    frames = read(out / "predictions.extxyz", ":")
    metrics = json.loads((out / "metrics.json").read_text())
    with (out / "errors.csv").open() as handle:
        rows = {(r["by"], r["group"], r["label"]): r for r in csv.DictReader(handle)}
    subsets = {name: [a for a in frames if a.info["subset"] == name] for name in ("left", "right")}
    assert {name: len(found) for name, found in subsets.items()} == {"left": 3, "right": 5}
    for label in ("energy", "forces"):
        errors = plain(frames, label)
        expected = np.abs(errors).mean(), np.sqrt((errors**2).mean())
        # The file has eight decimals of a force.
        assert (metrics[f"{label}_mae"], metrics[f"{label}_rmse"]) == pytest.approx(
            expected, rel=1e-5
        )
        total = rows["all", "all", label]
        assert float(total["mae"]) == pytest.approx(metrics[f"{label}_mae"], rel=1e-12)
        assert float(total["rmse"]) == pytest.approx(metrics[f"{label}_rmse"], rel=1e-12)
        for name, found in subsets.items():
            mae = np.abs(plain(found, label)).mean()
            assert float(rows["subset", name, label]["mae"]) == pytest.approx(mae, rel=1e-5)
    reference = 1000 * np.concatenate([a.arrays["REF_forces"].ravel() for a in frames])
    scale = float(rows["all", "all", "forces"]["mean_predictor_rmse"])
    assert scale == pytest.approx(np.sqrt((reference**2).mean()), rel=1e-5)
    offsets = plain(frames, "energy")
    formulas = np.array([a.get_chemical_formula() for a in frames])
    relative = [e - offsets[formulas == f].mean() for e, f in zip(offsets, formulas, strict=True)]
    expected = np.abs(relative).mean()
    assert metrics["relative_energy_mae"] == pytest.approx(expected, rel=1e-6)
    assert float(rows["all", "all", "relative_energy"]["mae"]) == metrics["relative_energy_mae"]
    oxygen = np.concatenate(
        [(a.arrays["muse_forces"] - a.arrays["REF_forces"])[a.numbers == 8].ravel() for a in frames]
    )
    assert float(rows["element", "O", "forces"]["mae"]) == pytest.approx(
        1000 * np.abs(oxygen).mean(), rel=1e-5
    )
    assert metrics["units"]["energy_mae"] == "meV/atom"
    assert metrics["units"]["forces_rmse"] == "meV/A"
    assert set(metrics["units"]) == set(metrics) - {"units"}


def test_the_terminal_and_the_page_say_units_scale_subsets_and_worst_frames(run, capsys):
    capsys.readouterr()
    assert evaluate(run) == 0
    text = capsys.readouterr().out
    page = (run / "run" / "evaluation-test" / "report.html").read_text().replace("\u00a0", " ")
    for expected in ("Errors by element", "Errors by subset", "Errors by total charge"):
        assert expected in text
        assert expected in page
    first = next(line for line in text.splitlines() if line.startswith("forces"))
    share = first.split()[-1]
    assert "meV/Å" in first
    assert f"the RMSE is {share} % of the scale, the RMS of the reference" in page
    assert "<h1>Evaluation of Run on test.xyz</h1>" in page
    keys = "energy from REF_energy, forces from REF_forces, dipole from REF_dipole"
    assert f"keys: {keys}" in text
    assert page.count(keys) == 2  # in the subtitle and in the last table
    with (run / "run" / "evaluation-test" / "worst_frames.csv").open() as handle:
        worst = list(csv.DictReader(handle))
    frames = read(run / "run" / "evaluation-test" / "predictions.extxyz", ":")
    assert int(worst[0]["frame"]) == np.abs(plain(frames, "energy")).argmax()
    assert worst[0]["source"].endswith(f"test.xyz, frame {worst[0]['frame']}")
    assert worst[0]["formula"] in page
    assert text.rstrip().endswith("evaluation-test/report.html")
    assert "data:image/png;base64" in page
    assert 'src="http' not in page


def test_nothing_is_overwritten(run, capsys):
    assert evaluate(run) == 0
    before = {p: p.read_bytes() for p in (run / "run").rglob("*") if p.is_file()}
    error = refused(capsys, run)
    assert "evaluation-test holds metrics.json already" in error
    assert "--out" in error
    # A key is wrong, whatever lies in the directory.
    assert "REF_enrgy" in refused(capsys, run, "--keys", "energy=REF_enrgy")
    assert "subst" in refused(capsys, run, "--by", "subst")
    assert "report.html already" in refused(capsys, run, "--out", run / "run")
    assert {p: p.read_bytes() for p in (run / "run").rglob("*") if p.is_file()} == before
    assert evaluate(run, "--out", run / "elsewhere") == 0
    assert (run / "elsewhere" / "metrics.json").is_file()


def test_several_keys_are_given_at_once_or_one_by_one(run, capsys):
    frames = read(run / "test.xyz", ":")
    for i, atoms in enumerate(frames):
        atoms.info["half"] = i // 4
    write(run / "test.xyz", frames, format="extxyz")
    for i, options in enumerate((["--by", "half", "subset"], ["--by", "half", "--by", "subset"])):
        assert evaluate(run, *options, "--out", run / str(i)) == 0
        assert {"Errors by half", "Errors by subset"} <= set(
            re.findall(r"Errors by \w+", capsys.readouterr().out)
        )
    keys = ["--keys", "energy=REF_energy", "forces=REF_forces", "--out", run / "2"]
    assert evaluate(run, *keys) == 0
    assert "keys: energy from REF_energy, forces from REF_forces" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("data", "name"),
    [
        (["sets/water.xyz"], "evaluation-water"),
        (["water.extxyz.xz"], "evaluation-water"),
        (["water.v2.db"], "evaluation-water.v2"),
        (["water.xyz@:40"], "evaluation-water@_40"),
        (["water.xyz@10:40"], "evaluation-water@10_40"),
        (["water.xyz@kind=ice,bulk@random=5"], "evaluation-water@kind=ice,bulk@random=5"),
        (["a/near.xyz", "b/far.xyz.gz"], "evaluation-near+far"),
        (["odd name*.xyz"], "evaluation-odd_name_"),
        ([f"set_number_{i}.xyz" for i in range(20)], "evaluation-set_number_0+19-more"),
    ],
)  # fmt: skip
def test_the_directory_has_the_name_of_the_data(data, name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    model = Path("runs/x/model.pt")
    assert directory_beside(model, "evaluation", data) == Path("runs/x") / name


def test_selections_keep_the_index_in_the_file(run, capsys):
    assert evaluate(run, f"{run / 'test.xyz'}@5:") == 0
    with (run / "run" / "evaluation-test@5_" / "worst_frames.csv").open() as handle:
        rows = list(csv.DictReader(handle))
    assert {row["frame"] for row in rows} == {"0", "1", "2"}
    assert {row["source"].rpartition(" ")[2] for row in rows} == {"5", "6", "7"}
    both = [str(run / "run" / "model.pt"), str(run / "test.xyz"), f"{run / 'test.xyz'}@5:"]
    capsys.readouterr()
    assert main(["evaluate", *both]) == 2
    assert "test.xyz, frame 5 is given twice" in capsys.readouterr().err


def test_structures_without_labels_get_predictions_and_a_line(run, capsys):
    frames = read(run / "test.xyz", ":")
    for atoms in frames:
        for key in ("REF_energy", "REF_dipole"):
            del atoms.info[key]
        del atoms.arrays["REF_forces"]
    write(run / "bare.xyz", frames, format="extxyz")
    capsys.readouterr()
    assert evaluate(run, run / "bare.xyz") == 0
    text = capsys.readouterr().out
    assert "no structure has a label, so that there are predictions but no errors" in text
    assert "--keys energy=KEY" in text
    out = run / "run" / "evaluation-bare"
    assert {path.name for path in out.iterdir()} == {"metrics.json", "predictions.extxyz"}
    assert json.loads((out / "metrics.json").read_text()) == {"units": {}}
    assert len(read(out / "predictions.extxyz", ":")) == len(frames)


def test_labels_of_some_structures_and_mixed_boundaries(run, capsys):
    frames = read(run / "test.xyz", ":")
    for atoms in frames[:3]:
        del atoms.info["REF_energy"]
    frames[3].set_cell([12, 12, 12])
    frames[3].pbc = True
    frames[4].set_cell([12, 12, 20])
    frames[4].pbc = (True, True, False)
    write(run / "mixed.xyz", frames, format="extxyz")
    capsys.readouterr()
    assert evaluate(run, run / "mixed.xyz") == 0
    text = capsys.readouterr().out
    assert "note: energy: 5 of 8 structures have this label" in text
    assert "dipole of a crystal" in text
    with (run / "run" / "evaluation-mixed" / "errors.csv").open() as handle:
        rows = list(csv.DictReader(handle))
    boundaries = {r["group"]: r["frames"] for r in rows if r["by"] == "boundary"}
    assert boundaries == {"FFF": "6", "TTF": "1", "TTT": "1"}
    found = read(run / "run" / "evaluation-mixed" / "predictions.extxyz", ":")
    errors = plain([a for a in found if "REF_energy" in a.info], "energy")
    total = next(r for r in rows if (r["by"], r["label"]) == ("all", "energy"))
    assert (int(total["count"]), float(total["mae"])) == (
        5,
        pytest.approx(np.abs(errors).mean(), rel=1e-5),
    )


def test_bad_input_is_refused_before_a_directory_is_made(run, capsys):
    assert "did you mean 'subset'?" in refused(capsys, run, "--by", "subst")
    assert "did you mean 'subset'?" in refused(capsys, run, "--by", "total_charge", "subst")
    error = refused(capsys, run, "--keys", "energy=REF_enrgy")
    assert "no energy under the key 'REF_enrgy' (did you mean 'REF_energy'?)" in error
    assert "--keys energy=KEY" in error
    write(run / "methane.xyz", molecule("CH4"), format="extxyz")
    assert "which the model does not know" in refused(capsys, run, run / "methane.xyz")
    assert not list((run / "run").glob("evaluation-*"))
    blocked = run / "blocked"
    blocked.write_text("")
    assert "choose another with --out" in refused(capsys, run, "--out", blocked / "x")


def test_training_prints_units(trained):
    lines = (trained / "log").read_text().splitlines()
    epoch = next(line for line in lines if line.startswith("epoch 1/1"))
    test = next(line for line in lines if line.startswith("test held_out:"))
    metrics = json.loads((trained / "run" / "summary.json").read_text())
    found = metrics["tests"]["held_out"]
    assert f"energy MAE {found['energy_mae']:.4g}, RMSE {found['energy_rmse']:.4g} meV/atom" in test
    assert "meV/Å" in test
    assert "valid: energy MAE" in epoch
    assert epoch.count("meV/atom") == 1
    assert metrics["units"]["forces_mae"] == "meV/A"
    header = (trained / "run" / "metrics.csv").read_text().splitlines()[0]
    assert "valid_energy_mae" in header.split(",")
