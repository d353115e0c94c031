"""Execute planned runs in parallel processes, with progress and the option to resume."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import IO, Any, TextIO

from muse_lr.ablate.model_metrics import measured
from muse_lr.ablate.study import Run, comparable
from muse_lr.config.yaml import dump_yaml, load_yaml
from muse_lr.errors import InputError
from muse_lr.reporting.runs import flatten, read_curves, read_summary
from muse_lr.reporting.wording import duration
from muse_lr.utils.files import write_json
from muse_lr.utils.machine import available_cores

TRAIN = (sys.executable, "-m", "muse_lr", "train", "{config}", "--resume")
#: In place of TRAIN for runs whose study has metrics of models.
MEASURE = (sys.executable, "-m", "muse_lr.ablate.train_and_measure", "{config}", "{metrics}")
POLL_SECONDS = 0.5
REPORT_SECONDS = 30.0
GRACE_SECONDS = 10.0
LOG_LINES = 6
#: Number of characters of a value in a message.
LONGEST_VALUE = 40


@dataclass
class Outcome:
    """Runs of one call, grouped by their outcome."""

    skipped: list[Run] = field(default_factory=list)
    finished: list[Run] = field(default_factory=list)
    failed: list[Run] = field(default_factory=list)


@dataclass
class _Child:
    run: Run
    process: subprocess.Popen[bytes]
    log: IO[bytes]
    started: float
    first_epoch: int


def is_finished(run: Run) -> bool:
    """Whether the directory of a run holds a finished run with all metrics of its model."""
    if read_summary(run.directory) is None:
        return False
    return set(measured(run.directory, run.metrics)) == set(run.metrics)


def check_existing(runs: Sequence[Run]) -> list[Run]:
    """Return the finished runs and check that existing runs have the planned configuration.

    Raises
    ------
    InputError
        If a run directory contains a run of another configuration.
    """
    done = []
    for run in runs:
        summary = read_summary(run.directory)
        if summary is None and not (run.directory / "checkpoint.pt").exists():
            continue
        changed = _changed_keys(run)
        if changed:
            keys = ", ".join(changed[:4]) + (" ..." if len(changed) > 4 else "")
            raise InputError(
                f"{run.directory} belongs to a run with another configuration ({keys}): give the "
                "--set options of that run again, remove the directory, or use another --out"
            )
        if is_finished(run):
            done.append(run)
    return done


def execute(
    runs: Sequence[Run],
    jobs: int = 1,
    command: Sequence[str] = TRAIN,
    stream: TextIO | None = None,
) -> Outcome:
    """Train every run that is not finished, ``jobs`` at a time.

    Parameters
    ----------
    runs : sequence of Run
        Planned runs.
    jobs : int
        Number of parallel processes, which share the CPU cores.
    command : sequence of str
        Command that trains one run; ``{config}`` is replaced by the path of its configuration.
    stream : text file, optional
        Output of the progress; default: standard error.

    Raises
    ------
    InputError
        If a directory contains a run of another configuration, or a file cannot be written.
    KeyboardInterrupt
        When interrupted, after all child processes have ended.
    """
    done = check_existing(runs)
    outcome = Outcome(skipped=done)
    waiting = [run for run in runs if run not in done]
    progress = _Progress(len(waiting), jobs, stream or sys.stderr)
    if done:
        progress.line(f"{len(done)} of {len(runs)} runs are already finished")
    running: list[_Child] = []
    with _terminate_is_interrupt():
        try:
            while waiting or running:
                while waiting and len(running) < jobs:
                    running.append(_start(waiting.pop(0), jobs, command))
                    progress.line(f"started {running[-1].run.name}")
                for child in [c for c in running if c.process.poll() is not None]:
                    running.remove(child)
                    _finish(child, outcome, progress)
                progress.tick(running, outcome)
                if running:
                    time.sleep(POLL_SECONDS)
        finally:
            _end(running)
    return outcome


def last_lines(path: Path, count: int = LOG_LINES) -> list[str]:
    """Return the last nonempty lines of a log file."""
    if not path.is_file():
        return []
    text = path.read_bytes()[-20_000:].decode("utf-8", errors="replace")
    return [line.rstrip() for line in text.replace("\r", "\n").splitlines() if line.strip()][
        -count:
    ]


def child_environment(jobs: int, environment: Mapping[str, str] | None = None) -> dict[str, str]:
    """Environment of a run, in which the CPU cores are divided among the jobs.

    A smaller value of ``OMP_NUM_THREADS`` in ``environment`` is kept.
    """
    env = dict(os.environ if environment is None else environment)
    threads = max(1, available_cores() // jobs)
    chosen = env.get("OMP_NUM_THREADS", "")
    if chosen.isdigit() and int(chosen) > 0:
        threads = min(threads, int(chosen))
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        env[name] = str(threads)
    return env


def _changed_keys(run: Run) -> list[str]:
    """Keys whose recorded values differ from the planned ones, with both values."""
    recorded = run.config_path if run.config_path.is_file() else run.directory / "config.yaml"
    before = flatten(comparable(load_yaml(recorded)))
    after = flatten(comparable(run.config))
    missing = object()
    return [
        f"{name}: {_value(before, name)} there, {_value(after, name)} here"
        for name in dict.fromkeys((*after, *before))
        if before.get(name, missing) != after.get(name, missing)
    ]


def _value(config: Mapping[str, Any], key: str) -> str:
    text = json.dumps(config[key], ensure_ascii=False) if key in config else "absent"
    return text if len(text) <= LONGEST_VALUE else f"{text[:LONGEST_VALUE]}..."


def _start(run: Run, jobs: int, command: Sequence[str]) -> _Child:
    dump_yaml(run.config, run.config_path)
    if run.metrics:
        write_json(run.metrics_path, run.metrics)
        command = MEASURE if command == TRAIN else command
    curves = read_curves(run.directory)
    first = len(curves.get("epoch", ()))
    try:
        log = run.log_path.open("wb")
    except OSError as error:
        raise InputError(f"cannot write {run.log_path}: {error.strerror}") from error
    process = subprocess.Popen(
        [_filled(part, run) for part in command],
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=subprocess.STDOUT,
        env=child_environment(jobs),
        start_new_session=True,  # Ctrl-C reaches the children through _end only
    )
    return _Child(run, process, log, time.monotonic(), first)


def _filled(part: str, run: Run) -> str:
    text = part.replace("{config}", str(run.config_path))
    return text.replace("{metrics}", str(run.metrics_path))


def _finish(child: _Child, outcome: Outcome, progress: _Progress) -> None:
    child.log.close()
    run, code = child.run, child.process.returncode
    took = duration(time.monotonic() - child.started)
    if code == 0 and is_finished(run):
        outcome.finished.append(run)
        progress.line(f"finished {run.name} in {took}")
        return
    outcome.failed.append(run)
    reason = f"exit code {code}" if code >= 0 else f"signal {-code}"
    progress.line(f"FAILED {run.name} after {took} ({reason}); {run.log_path} ends with:")
    for line in last_lines(run.log_path):
        progress.line(f"    {line}")


def _end(running: list[_Child]) -> None:
    """Terminate the children, then kill the remaining ones; a second interrupt skips the wait."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        alive = [child for child in running if child.process.poll() is None]
        for child in alive:
            os.killpg(child.process.pid, number)
        limit = time.monotonic() + GRACE_SECONDS
        with suppress(KeyboardInterrupt):
            while time.monotonic() < limit and any(c.process.poll() is None for c in alive):
                time.sleep(0.05)
    for child in running:
        child.log.close()


@contextmanager
def _terminate_is_interrupt() -> Iterator[None]:
    """Treat SIGTERM of this process like Ctrl-C, so that the children end too."""

    def interrupt(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    previous = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, previous)


class _Progress:
    """Print events and, at intervals, the status of the running processes."""

    def __init__(self, total: int, jobs: int, stream: TextIO) -> None:
        self.total = total
        self.jobs = jobs
        self.stream = stream
        self.start = time.monotonic()
        self.last = self.start
        self.shown = ""

    def line(self, text: str) -> None:
        self._clear()
        self.stream.write(text + "\n")
        self.stream.flush()

    def tick(self, running: Sequence[_Child], outcome: Outcome) -> None:
        """Update the status line of a terminal, or write one at intervals to a file."""
        terminal = self.stream.isatty()
        now = time.monotonic()
        if not running or now - self.last < (1.0 if terminal else REPORT_SECONDS):
            return
        self.last = now
        text = self._status(running, outcome)
        if terminal:
            self._clear()
            self.shown = text[: os.get_terminal_size(self.stream.fileno()).columns - 1]
            self.stream.write(self.shown)
            self.stream.flush()
        else:
            self.line(text)

    def _clear(self) -> None:
        if self.shown:
            self.stream.write("\r" + " " * len(self.shown) + "\r")
            self.shown = ""

    def _status(self, running: Sequence[_Child], outcome: Outcome) -> str:
        ended = len(outcome.finished) + len(outcome.failed)
        work, parts, trained = float(ended), [], ended
        for child in running:
            epochs = int(child.run.config["training"]["epochs"])
            epoch = len(read_curves(child.run.directory).get("epoch", ()))
            work += max(epoch - child.first_epoch, 0) / epochs
            trained += epoch >= epochs
            parts.append(f"{child.run.name} {epoch}/{epochs}")
        elapsed = time.monotonic() - self.start
        left = duration(elapsed * (self.total - work) / work) if work > 0 else "unknown"
        rest = f"time left {left}" if trained < self.total else "evaluating"
        return f"{ended}/{self.total} runs, {rest}: " + ", ".join(parts)
