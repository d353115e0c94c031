"""Time and memory of a study from a few steps of each variant."""

from __future__ import annotations

import re
import sys

import pytest

from helpers import run_cli
from muse_lr.ablate.estimate import total_seconds
from muse_lr.config.yaml import dump_yaml
from muse_lr.train.config import load_config
from muse_lr.train.estimate import estimate
from training_data import write_run


def test_runs_start_as_soon_as_a_process_is_free():
    assert total_seconds([3.0, 1.0, 1.0, 1.0], 1) == 6.0
    assert total_seconds([3.0, 1.0, 1.0, 1.0], 2) == 3.0
    assert total_seconds([1.0, 1.0, 1.0, 3.0], 2) == 4.0


def test_an_estimate_adds_up_and_writes_nothing(tmp_path):
    config = load_config(write_run(tmp_path, epochs=40, batch={"graphs": 3}))
    before = sorted(path.name for path in tmp_path.iterdir())
    found = estimate(config)
    assert sorted(path.name for path in tmp_path.iterdir()) == before
    assert 0 < found.step_seconds < found.seconds
    assert found.measured_seconds > found.setup_seconds
    started = found.started_in(found.measured_seconds + 5.0)
    assert started.seconds == pytest.approx(found.seconds + 5.0)
    assert started.start_seconds == pytest.approx(5.0)
    assert found.seconds > found.setup_seconds + 40 * 4 * found.step_seconds  # 12 frames
    assert found.peak_memory_mb > 10


#: Prints an estimate for variant a and fails for others, like muse_lr.train.estimate. Its start
#: takes 2 s, which only the caller can measure.
FAKE = """
import json, sys, time
if "/a.yaml" not in sys.argv[1]:
    sys.exit("the loss is not finite")
time.sleep(2)
found = {"setup_seconds": 1, "step_seconds": 0.5, "seconds": 600, "peak_memory_mb": 321}
found["measured_seconds"] = 0
print("a warning")
print(json.dumps(found))
"""


@pytest.fixture
def command(tmp_path, monkeypatch):
    write_run(tmp_path, epochs=7)
    short = {"model.charges": None, "model.heads": {}}
    variants = {"a": short, "b": {**short, "training.learning_rate": 1e30}}
    study = {"base": "config.yaml", "reference": "a", "seeds": [0, 1], "variants": variants}
    dump_yaml(study, tmp_path / "study.yaml")
    monkeypatch.chdir(tmp_path)
    return lambda: run_cli("ablate", tmp_path / "study.yaml", "--estimate", "--jobs", "2")


def test_time_and_memory_are_printed_and_what_failed_is_named(command, capsys, monkeypatch):
    fake = (sys.executable, "-c", FAKE)
    monkeypatch.setattr("muse_lr.ablate.estimate.COMMAND", fake)
    assert command() == 2
    out, err = capsys.readouterr()
    found = re.search(r"^a +[\d,]+ +21 +500 +([\d.]+) s +10 min (\d\d) s +321$", out, re.MULTILINE)
    assert found is not None
    assert float(found[1]) >= 2.0
    assert int(found[2]) >= 2, "the start of the process is added"
    assert "2 runs to do with --jobs 2: about 10 min 0" in out
    assert "not counted: checkpoints" in out
    assert "estimating b (2 of 2)" in err
    assert "variant 'b': the steps failed (exit code 1): the loss is not finite" in err


@pytest.mark.slow
def test_the_steps_run_in_processes_of_their_own(command, capfd, tmp_path):
    assert command() == 2
    out, err = capfd.readouterr()
    assert re.search(r"^a +[\d,]+ +21 +[\d.,]+ +[\d.]+ s +[\d.]+ s", out, re.MULTILINE)
    assert "variant 'b': the steps failed (exit code 2): " in err
    assert "lower training.learning_rate" in err
    assert not (tmp_path / "runs").exists()
