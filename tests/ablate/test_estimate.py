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
    assert found.seconds > found.setup_seconds + 40 * 4 * found.step_seconds  # 12 frames
    assert found.peak_memory_mb > 10


#: Prints an estimate for variant a and fails for others, like muse_lr.train.estimate.
FAKE = """
import json, sys
if "/a.yaml" not in sys.argv[1]:
    sys.exit("device 'cuda:99' cannot be used")
found = {"setup_seconds": 1, "step_seconds": 0.5, "seconds": 600, "peak_memory_mb": 321}
print("a warning")
print(json.dumps(found))
"""


@pytest.fixture
def command(tmp_path, monkeypatch):
    write_run(tmp_path, epochs=7)
    short = {"model.charges": None, "model.heads": {}}
    variants = {"a": short, "b": {"training.device": "cuda:99"}}
    study = {"base": "config.yaml", "reference": "a", "seeds": [0, 1], "variants": variants}
    dump_yaml(study, tmp_path / "study.yaml")
    monkeypatch.chdir(tmp_path)
    return lambda: run_cli("ablate", tmp_path / "study.yaml", "--estimate", "--jobs", "2")


def test_time_and_memory_are_printed_and_what_failed_is_named(command, capsys, monkeypatch):
    fake = (sys.executable, "-c", FAKE)
    monkeypatch.setattr("muse_lr.ablate.estimate.COMMAND", fake)
    assert command() == 2
    out, err = capsys.readouterr()
    assert re.search(r"^a +[\d,]+ +21 +500 +10 min 00 s +321$", out, re.MULTILINE)
    assert "2 runs to do with --jobs 2: about 10 min 00 s" in out
    assert "estimating b (2 of 2)" in err
    assert "variant 'b': the steps failed (exit code 1): device 'cuda:99' cannot be used" in err


@pytest.mark.slow
def test_the_steps_run_in_processes_of_their_own(command, capfd, tmp_path):
    assert command() == 2
    out, err = capfd.readouterr()
    assert re.search(r"^a +[\d,]+ +21 +[\d.,]+ +[\d.]+ s", out, re.MULTILINE)
    assert "variant 'b': the steps failed (exit code 2): device 'cuda:99' cannot be used" in err
    assert not (tmp_path / "runs").exists()
