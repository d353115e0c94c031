"""Energy profiles as a metric of studies: rows of results.csv, report, early refusals."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.build import molecule
from ase.io import write

from muse_lr.ablate import train_and_measure
from muse_lr.ablate.aggregate import collect, write_results
from muse_lr.ablate.execute import check_existing
from muse_lr.ablate.profile import profile_blocks
from muse_lr.ablate.report.page import write_study_report
from muse_lr.ablate.study import load_study, plan
from muse_lr.config.yaml import dump_yaml
from muse_lr.errors import InputError
from muse_lr.reporting.html import Image, Table
from training_data import write_run


def dissociation(symbol: str) -> list[Atoms]:
    """An ion moved away from a molecule of water."""
    frames = []
    for distance in (2.2, 2.6, 3.0, 4.0, 6.0):
        atoms = molecule("H2O") + Atoms(symbol, [[0, 0, distance]])
        atoms.info.update(distance=distance, total_charge=1 if symbol == "Na" else -1)
        atoms.info["REF_energy"] = (distance - 3.0) ** 2
        frames.append(atoms)
    return frames


def study_of(path: Path, **section) -> Path:
    """A study with one variant and the profiles of two ions."""
    write_run(path, epochs=1)
    for symbol in ("Na", "Cl"):
        write(path / f"{symbol}.xyz", dissociation(symbol), format="extxyz")
    content = {
        "base": "config.yaml",
        "reference": "plain",
        "seeds": [3],
        "variants": {"plain": {"model.charges": None, "model.heads.coulomb": None}},
        "profile": {"files": {"sodium": "Na.xyz", "chloride": "Cl.xyz"}, **section},
    }
    dump_yaml(content, path / "study.yaml")
    return path / "study.yaml"


def planned(file: Path, out: Path):
    return plan(load_study(file), file, out)


def test_rows_and_report(tmp_path):
    out = tmp_path / "out"
    (run,) = planned(study_of(tmp_path), out)
    run.directory.parent.mkdir(parents=True, exist_ok=True)
    dump_yaml(run.config, run.config_path)
    run.metrics_path.write_text(json.dumps(run.metrics))
    assert train_and_measure.main([str(run.config_path), str(run.metrics_path)]) == 0
    assert check_existing([run]) == [run]
    results = collect([run], "plain")
    write_results(results, out / "results.csv")
    with (out / "results.csv").open() as handle:
        rows = {
            row["metric"]: float(row["value"])
            for row in csv.DictReader(handle)
            if row["test"] == "profile"
        }
    assert {"mae", "sodium/mae", "chloride/mae", "sodium/largest"} <= rows.keys()
    assert rows["mae"] == pytest.approx((rows["sodium/mae"] + rows["chloride/mae"]) / 2)
    for name in ("report.html", "profile.json", "profile.csv"):
        assert (run.directory / "profile" / name).exists()
    page = write_study_report(results, "", "title", out).read_text()
    assert "Energy profiles" in page
    assert "sodium" in page
    assert (out / "plots" / "profile.png").exists()
    (changed,) = planned(study_of(tmp_path, zero="first"), out)
    with pytest.raises(InputError, match="measured with another section 'profile'"):
        check_existing([changed])


def test_the_report_of_several_seeds_has_means_and_bands(tmp_path):
    """Two seeds of one variant, one of another; the reference is drawn once."""
    header = "path,coordinate,value,frame,curve,term,energy_eV\n"
    for variant, seeds in {"a": (0, 1), "b": (0,)}.items():
        for seed in seeds:
            file = tmp_path / variant / f"seed-{seed}" / "profile" / "profile.csv"
            file.parent.mkdir(parents=True)
            lines = [f"p,height,{x},f,reference,energy,{x}" for x in (1, 2, 3)]
            lines += [f"p,height,{x},f,run,energy,{x + seed}" for x in (1, 2, 3)]
            lines += [f"p,height,{x},f,run,backbone,7" for x in (1, 2, 3)]
            file.write_text(header + "\n".join(lines) + "\n")
    values = {
        "a": [{"mae": 1.0, "p/mae": 1.0, "p/well": -2.0}, {"mae": 3.0, "p/mae": 3.0}],
        "b": [{"mae": 5.0, "p/mae": 5.0}],
    }
    table, image, _ = profile_blocks(values, tmp_path)
    assert isinstance(table, Table)
    assert isinstance(image, Image)
    first, second = table.rows
    assert [cell.text for cell in first[:3]] == ["p", "a", "2"]
    assert first[3].text.startswith("2")  # the mean over seeds
    assert first[5].text.startswith("−2")
    assert second[5].text == "–"
    assert image.path.exists()

    from muse_lr.ablate.profile import _panels

    (panel,) = _panels(values, tmp_path)
    assert panel.label == "height (Å)"
    assert panel.reference is not None
    assert panel.reference.y.tolist() == [1, 2, 3]
    np.testing.assert_allclose(panel.curves["a"].y, [1.5, 2.5, 3.5])
    np.testing.assert_allclose(panel.curves["a"].high, [2, 3, 4])
    assert panel.curves["b"].high is None


@pytest.mark.parametrize(
    ("section", "message"),
    [
        ({"files": {"x": "missing.xyz"}}, "missing.xyz"),
        ({"zero": 3.5}, "no frame of the path 'sodium' has the distance 3.5"),
        ({"coordinate": "height"}, "no number under the coordinate 'height'"),
        ({"fragments": True}, "its fragments are not known"),
        ({"files": {"a b": "Na.xyz"}}, "path"),
    ],
)
def test_what_cannot_be_measured_is_refused_before_the_training(tmp_path, section, message):
    with pytest.raises(InputError, match=message):
        planned(study_of(tmp_path, **section), tmp_path / "out")
