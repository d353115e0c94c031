"""``muse-lr ablate``: where it writes, what it says first and last, when the report is loaded."""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path

import ase.io
import pytest

from helpers import refused, run_cli
from muse_lr.ablate import execute
from muse_lr.ablate.planned import PlannedTime, time_taken
from muse_lr.config.yaml import dump_yaml
from training_data import labeled_frames

#: A trainer that writes invented runs within a second.
SCRIPT = Path(__file__).resolve().parents[1] / "fabricate.py"
VARIANTS = {"short": {"model.charges": None, "model.heads.coulomb": None}, "full": {}}


@pytest.fixture
def study(tmp_path, monkeypatch):
    """Writes a study of this name, in a folder."""
    command = (sys.executable, str(SCRIPT), "{config}")
    monkeypatch.setattr(execute, "execute", partial(execute.execute, command=command))
    monkeypatch.chdir(tmp_path)
    Path("salt").mkdir()
    ase.io.write("salt/train.xyz", labeled_frames(12))
    base = {
        "model": {"backbone": {"kind": "painn", "channels": 4, "layers": 1, "cutoff": 4.0}},
        "data": {"train": "train.xyz", "valid": 0.25},
        "training": {"epochs": 5, "batch": {"graphs": 4}, "device": "cpu"},
    }
    dump_yaml(base, Path("salt/base.yaml"))

    def write(name: str = "study", **keys) -> str:
        content = {"base": "base.yaml", "reference": "short", "variants": VARIANTS, **keys}
        dump_yaml(content, Path(f"salt/{name}.yaml"))
        return f"salt/{name}.yaml"

    return write


@pytest.mark.parametrize(
    ("name", "directory"), [("study", "runs"), ("study_2", "runs_study_2"), ("ions", "runs_ions")]
)
def test_results_are_beside_the_study(study, capsys, name, directory):
    assert run_cli("ablate", study(name), "--only", "short") == 0
    assert capsys.readouterr().out.splitlines()[0] == f"writing to salt/{directory}"
    assert Path("salt", directory, "report.html").is_file()
    assert not Path("runs").exists()


def test_a_plan_writes_nothing_and_says_where(study, capsys):
    assert run_cli("ablate", study(), "--plan") == 0
    out = capsys.readouterr().out
    assert "writing to" not in out
    assert "directory: salt/runs" in out
    assert not Path("salt/runs").exists()
    assert "only letters" in refused(capsys, "ablate", study("a b"), "--plan")


def test_the_time_is_compared_with_the_plan(study, capsys):
    path = study(planned={"minutes": 2.5, "jobs": 1})
    assert run_cli("ablate", path, "--only", "short", "--out", "a") == 0
    first, *_, last = capsys.readouterr().out.splitlines()
    assert first == "writing to a"
    assert last.startswith("took ")
    assert last.endswith(" for 1 of 2 runs, planned 2 min 30 s for all")
    assert run_cli("ablate", path, "--only", "short", "--out", "a") == 0
    assert "took" not in capsys.readouterr().out, "nothing was trained"
    assert (
        run_cli("ablate", path, "--only", "short", "--out", "b", "--set", "training.epochs=4") == 0
    )
    assert "planned" not in capsys.readouterr().out, "the plan had other epochs"


@pytest.mark.parametrize(
    ("done", "jobs", "planned", "text"),
    [
        (6, 2, PlannedTime(minutes=1, jobs=2), "took 1 min 30 s, planned 1 min 00 s"),
        (6, 2, PlannedTime(minutes=1, jobs=4), "took 1 min 30 s, planned 1 min 00 s with --jobs 4"),
        (6, 1, None, "took 1 min 30 s"),
        (2, 1, None, "took 1 min 30 s for 2 of 6 runs"),
    ],
)
def test_the_line_of_the_time(done, jobs, planned, text):
    assert time_taken(90, jobs, done, 6, planned) == text


def test_the_code_of_the_report_is_loaded_before_the_first_run(study, monkeypatch):
    """A broken import stops the study before it trains, not after hours."""
    monkeypatch.setitem(sys.modules, "muse_lr.ablate.report.page", None)
    monkeypatch.delitem(sys.modules, "muse_lr.ablate.conclude", raising=False)
    with pytest.raises(ImportError):
        run_cli("ablate", study())
    assert not Path("salt/runs").exists()


def test_the_report_shows_the_study_that_was_run(study, monkeypatch):
    """An edit of the file during the training does not reach the report."""
    path = study(description="as it was")
    train = execute.execute

    def edited(*arguments, **keys):
        outcome = train(*arguments, **keys)
        Path(path).write_text("description: edited")
        return outcome

    monkeypatch.setattr(execute, "execute", edited)
    assert run_cli("ablate", path, "--only", "short") == 0
    text = Path("salt/runs/report.html").read_text()
    assert "as it was" in text
    assert "edited" not in text
