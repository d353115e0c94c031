"""Execution: parallel, resumable, honest about failures, interruptible."""

from __future__ import annotations

import io
import os
import runpy
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from muse_lr.ablate.execute import (
    Outcome,
    _Progress,
    check_existing,
    child_environment,
    execute,
    last_lines,
)
from muse_lr.ablate.study import Run
from muse_lr.errors import InputError

SCRIPT = Path(__file__).resolve().parents[1] / "fabricate.py"
FAKE = SimpleNamespace(**runpy.run_path(str(SCRIPT)))
TRAIN = (sys.executable, str(SCRIPT), "{config}")

DRIVER = """
import sys
from pathlib import Path
from muse_lr.ablate.execute import execute
from muse_lr.ablate.study import Run
directory = Path(sys.argv[1])
config = {"model": {}, "training": {"epochs": 5, "seed": 0, "directory": str(directory)}}
try:
    execute([Run("sleep", 0, directory, config)], command=(sys.executable, sys.argv[2], "{config}"))
except KeyboardInterrupt:
    sys.exit(130)
"""


def _runs(out, *variants, seeds=(0,), epochs=5):
    runs = []
    for variant in variants:
        for seed in seeds:
            directory = out / variant / f"seed-{seed}"
            training = {"epochs": epochs, "seed": seed, "directory": str(directory)}
            runs.append(Run(variant, seed, directory, {"model": {}, "training": training}))
    return runs


def test_a_failed_run_is_reported_with_its_log_and_retried(tmp_path):
    runs = _runs(tmp_path, "good", "bad")
    stream = io.StringIO()
    outcome = execute(runs, jobs=2, command=(*TRAIN, "bad"), stream=stream)
    assert outcome.finished == [runs[0]]
    assert outcome.failed == [runs[1]]
    assert "FAILED bad/seed-0" in stream.getvalue()
    assert "exit code 3" in stream.getvalue()
    assert "    loss is NaN at step 7" in stream.getvalue()

    again = execute(runs, command=TRAIN, stream=stream)
    assert (again.skipped, again.finished, again.failed) == ([runs[0]], [runs[1]], [])
    assert execute(runs, command=("false",), stream=stream).skipped == runs


def test_exit_code_zero_without_a_summary_is_a_failure(tmp_path):
    runs = _runs(tmp_path, "empty")
    outcome = execute(runs, command=("true",), stream=io.StringIO())
    assert outcome.failed == runs


def test_a_finished_run_of_another_configuration_is_refused(tmp_path):
    (run,) = _runs(tmp_path, "a")
    FAKE.write_run(run.directory, config=run.config)
    assert check_existing([run]) == [run]
    message = r"training\.epochs: 5 there, 6 here.*--set.*use another --out"
    with pytest.raises(InputError, match=message):
        check_existing(_runs(tmp_path, "a", epochs=6))


def test_a_checkpoint_of_another_configuration_is_refused(tmp_path):
    (run,) = _runs(tmp_path, "a")
    FAKE.write_run(run.directory, config=run.config)
    (run.directory / "summary.json").unlink()
    assert check_existing(_runs(tmp_path, "a", epochs=6)) == []
    (run.directory / "checkpoint.pt").touch()
    with pytest.raises(InputError, match="another configuration"):
        check_existing(_runs(tmp_path, "a", epochs=6))


def test_a_study_that_was_moved_is_still_finished(tmp_path):
    (run,) = _runs(tmp_path / "old", "a")
    FAKE.write_run(run.directory, config=run.config)
    (tmp_path / "old").rename(tmp_path / "new")
    (moved,) = _runs(tmp_path / "new", "a")
    assert check_existing([moved]) == [moved]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_ends_the_children(tmp_path, number):
    directory = tmp_path / "sleep" / "seed-0"
    driver = subprocess.Popen(
        [sys.executable, "-c", DRIVER, str(directory), str(SCRIPT)],
        # Children of a shell's background jobs ignore interrupts.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    try:
        pid = directory / "pid"
        while driver.poll() is None and not (pid.is_file() and pid.read_text()):
            time.sleep(0.05)
        driver.send_signal(number)
        assert driver.wait(120) == 130
    finally:
        driver.kill()
    with pytest.raises(ProcessLookupError):
        os.kill(int(pid.read_text()), 0)


def test_jobs_share_the_cores(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)), raising=False)
    assert child_environment(2, {})["OMP_NUM_THREADS"] == "4"
    assert child_environment(8, {})["MKL_NUM_THREADS"] == "1"
    assert child_environment(99, {})["OMP_NUM_THREADS"] == "1"
    assert child_environment(2, {"OMP_NUM_THREADS": "1"})["OMP_NUM_THREADS"] == "1"
    assert child_environment(2, {"OMP_NUM_THREADS": "64"})["OMP_NUM_THREADS"] == "4"


def test_last_lines_of_a_log_with_progress_bars(tmp_path):
    path = tmp_path / "x.log"
    path.write_bytes(b"first\nbar 1\rbar 2\rbar 3\n\n\xff end\n")
    assert last_lines(path, 2) == ["bar 3", "� end"]
    assert last_lines(tmp_path / "none.log") == []


def test_runs_that_made_their_epochs_are_evaluated(tmp_path):
    """The time of the epochs is over, but not that of the tests."""
    progress = _Progress(2, 2, io.StringIO())
    children = [SimpleNamespace(run=run, first_epoch=0) for run in _runs(tmp_path, "a", "b")]
    for child, epochs in zip(children, (5, 4), strict=True):
        child.run.directory.mkdir(parents=True)
        lines = ["epoch", *map(str, range(1, epochs + 1))]
        (child.run.directory / "metrics.csv").write_text("\n".join(lines) + "\n")
    status = progress._status(children, Outcome())
    assert status.startswith("0/2 runs, time left ")
    assert status.endswith(": a/seed-0 5/5, b/seed-0 4/5")
    progress.total = 1
    assert progress._status(children[:1], Outcome()) == "0/1 runs, evaluating: a/seed-0 5/5"
