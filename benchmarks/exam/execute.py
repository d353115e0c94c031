"""``muse-lr audit`` of one potential, in processes of its own."""

from __future__ import annotations

import json
import os
import re
import resource
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.exam.roster import STUDY, WHOLE_ENERGY, Entry
from muse_lr.testing.exam import CHECKS
from muse_lr.utils.files import write_json

ROOT = Path(__file__).resolve().parents[2]
#: A line of progress of ``muse-lr audit``.
PROGRESS = re.compile(r"^\d+ of \d+: (\w+) ", re.MULTILINE)
POLL = 0.2
Record = dict[str, Any]


@dataclass(frozen=True)
class Limits:
    """What a potential may use.

    Attributes
    ----------
    seconds : float
        Longest processor time of one check, s; of the clock where that is not known.
    gigabytes : float
        Memory of the process.
    """

    seconds: float = 600.0
    gigabytes: float = 8.0


def train(names: Sequence[str], out: Path) -> None:
    """Train these variants of the study, unless they are there."""
    missing = [name for name in names if not model_file(name, out).exists()]
    if missing:
        command = ["ablate", str(STUDY), "--out", str(out / "study"), "--only", *missing]
        print("muse-lr", *command, flush=True)
        subprocess.run([sys.executable, "-m", "muse_lr", *command], check=True)


def model_file(name: str, out: Path) -> Path:
    """The file of a model of the study."""
    return out / "study" / name / "seed-0" / "model.pt"


def subject(entry: Entry, out: Path) -> list[str]:
    """Arguments of ``muse-lr audit`` that name a potential."""
    if entry.ours:
        return [str(model_file(entry.name, out))]
    return ["--calculator", f"benchmarks.exam.potentials:{entry.name}"]


def record_file(entry: Entry, out: Path, quick: bool) -> Path:
    """Where the record of a potential is kept."""
    return out / ("quick" if quick else "whole") / f"{entry.name}.json"


def examine(entry: Entry, out: Path, quick: bool, limits: Limits) -> None:
    """Run the exam of a potential, unless it is done, and write its record.

    A check at which the process ends is a failure, one that takes too long is skipped. The others
    are then run without it.
    """
    path = record_file(entry, out, quick)
    if path.exists():
        return
    print(f"{entry.name}: exam", flush=True)
    names = [name for name in CHECKS if not (entry.partial and name in WHOLE_ENERGY)]
    started, processor = time.monotonic(), _processor_seconds()
    found = _run(subject(entry, out), names, quick, path.parent / entry.name, limits)
    record = {
        "name": entry.name,
        "quick": quick,
        "versions": entry.versions(),
        "processor_seconds": _processor_seconds() - processor,
        "seconds": time.monotonic() - started,
        "results": sorted(found, key=lambda result: list(CHECKS).index(result["name"])),
    }
    write_json(path, record)


def _run(
    who: Sequence[str], names: Sequence[str], quick: bool, folder: Path, limits: Limits
) -> list[Record]:
    """Results of the checks, however often the process ends."""
    found: list[Record] = []
    left = list(names)
    while left:
        results, done, why = _attempt(who, left, quick, folder, limits)
        if results is not None:
            return [*found, *results]
        if done:  # those before have no values yet
            again, _, reason = _attempt(who, done, quick, folder, limits)
            found += again or [_lost(name, reason) for name in done]
        found.append(_lost(left[len(done)], why))
        left = left[len(done) + 1 :]
    return found


def _attempt(
    who: Sequence[str], names: Sequence[str], quick: bool, folder: Path, limits: Limits
) -> tuple[list[Record] | None, list[str], str]:
    """Results, or the checks that were finished and why there are none."""
    folder.mkdir(parents=True, exist_ok=True)
    target, log = folder / "results.json", folder / "log.txt"
    target.unlink(missing_ok=True)
    command = [sys.executable, "-m", "muse_lr", "audit", *who, "--json", str(target)]
    command += ["--quick"] if quick else []
    with log.open("w", encoding="utf-8") as stream:
        process = subprocess.Popen(
            [*command, "--only", *names],
            stdout=stream,
            stderr=stream,
            cwd=ROOT,
            preexec_fn=lambda: _limit_memory(limits.gigabytes),
        )
        late = _wait(process, log, limits.seconds)
    text = log.read_text(encoding="utf-8", errors="replace")
    if target.exists():
        return json.loads(target.read_text(encoding="utf-8")), [], ""
    done = PROGRESS.findall(text)
    if late:
        return None, done, f"not done within {limits.seconds:g} s"
    if process.returncode > 0 and not done:
        last = (text.strip().splitlines() or [""])[-1]
        raise SystemExit(f"muse-lr audit {' '.join(who)} ended with {process.returncode}: {last}")
    return None, done, f"the process ended with exit code {process.returncode}"


def _wait(process: subprocess.Popen[bytes], log: Path, seconds: float) -> bool:
    """Wait for the end; kill the process if a check takes longer than this, and return True."""
    size, since = 0, _seconds_of(process)
    while process.poll() is None:
        time.sleep(POLL)
        count = len(PROGRESS.findall(log.read_text(encoding="utf-8", errors="replace")))
        if count != size:
            size, since = count, _seconds_of(process)
        if _seconds_of(process) - since > seconds:
            process.kill()
            process.wait()
            return True
    return False


def _seconds_of(process: subprocess.Popen[bytes]) -> float:
    """Processor time of a process that runs, s, where Linux tells it; else the time."""
    try:
        text = Path(f"/proc/{process.pid}/stat").read_text(encoding="utf-8")
    except OSError:
        return time.monotonic()
    user, system = text.rpartition(")")[2].split()[11:13]
    return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")


def _lost(name: str, why: str) -> Record:
    """The result of a check that has none."""
    status = "skipped" if why.startswith("not done") else "fail"
    return {
        "name": name,
        "status": status,
        "value": None,
        "tolerance": None,
        "unit": "",
        "why": why,
    }


def _limit_memory(gigabytes: float) -> None:
    size = int(gigabytes * 1e9)
    resource.setrlimit(resource.RLIMIT_DATA, (size, size))


def _processor_seconds() -> float:
    """Processor time of the processes that ended, s."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime
