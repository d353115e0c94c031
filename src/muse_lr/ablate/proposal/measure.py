"""Measure the costs of configurations in processes of their own, several at the same time.

``python -m muse_lr.ablate.proposal.measure JOB.json`` prints one line of JSON for each
configuration of the job, and ends when its time is over. The processes run at the same time, so
that the times are those of runs that share the cores and the memory bus.
"""

from __future__ import annotations

import json
import math
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from muse_lr.ablate.check import once
from muse_lr.ablate.execute import child_environment
from muse_lr.config.schema import validate
from muse_lr.data.reading import read_frames
from muse_lr.errors import InputError
from muse_lr.train.config import Config
from muse_lr.train.costs import Costs, measure_costs
from muse_lr.train.setup import Data, read_data
from muse_lr.utils.files import write_json
from muse_lr.utils.malloc import tune_malloc

#: Command that measures the configurations of a file.
COMMAND = (sys.executable, "-m", "muse_lr.ablate.proposal.measure")
POLL_SECONDS = 0.1
LAST_CHARACTERS = 400


@dataclass(frozen=True)
class Candidate:
    """A configuration whose costs are measured.

    Attributes
    ----------
    variant, size : str
        Names of the variant and of the size of the backbone.
    config : dict
        Resolved configuration as plain data.
    steps : int
        Number of steps that this size needs at least.
    """

    variant: str
    size: str
    config: dict[str, Any]
    steps: int = 0


@dataclass
class Measured:
    """Costs by (variant, size), and one line for each variant that cannot be trained."""

    costs: dict[tuple[str, str], Costs] = field(default_factory=dict)
    problems: dict[str, str] = field(default_factory=dict)

    def add(self, line: dict[str, Any], start: float) -> None:
        """Add a line of a child process, whose start took ``start`` seconds."""
        if "error" in line:
            self.problems[line["variant"]] = line["error"]
            return
        costs = replace(Costs(**line["costs"]), start=start)
        key = line["variant"], line["size"]
        known = self.costs.get(key)
        if known is None or known.step < costs.step:  # of several, the slowest
            self.costs[key] = costs


def measure(
    candidates: Sequence[Candidate],
    jobs: int,
    limit: float,
    run_seconds: float,
    report: Callable[[str], None],
) -> Measured:
    """Measure the costs of candidates, in ``jobs`` processes at the same time.

    Parameters
    ----------
    candidates : sequence of Candidate
        In the order in which they are measured.
    jobs : int
        Number of processes. Each measures some of the variants.
    limit : float
        No candidate is begun later than this, s, but the first one of each variant.
    run_seconds : float
        A size is left out if its steps would take longer with the time of a step of the size
        before, s.
    report : callable
        Called with one line for each candidate.
    """
    variants = list(dict.fromkeys(candidate.variant for candidate in candidates))
    found = Measured()
    with tempfile.TemporaryDirectory() as folder:
        children = []
        for number in range(jobs):
            own = variants[number::jobs] or [variants[number % len(variants)]]
            chosen = [asdict(c) for c in candidates if c.variant in own]
            job = Path(folder, f"{number}.json")
            write_json(job, {"candidates": chosen, "limit": limit, "run_seconds": run_seconds})
            children.append(_Child(job, jobs))
        try:
            while children:
                running = [child.running() for child in children]
                for child in children:
                    child.collect(found, report)
                children = [c for c, runs in zip(children, running, strict=True) if runs]
                time.sleep(POLL_SECONDS)
        finally:
            for child in children:
                child.process.kill()
    return found


def measure_alone(config: Config, report: Callable[[str], None]) -> Costs:
    """Measure the costs of one configuration, in a process that has all cores.

    Raises
    ------
    InputError
        If it cannot be trained.
    """
    candidate = Candidate("model", "as configured", dict(config.model_dump(mode="json")))
    found = measure([candidate], 1, math.inf, math.inf, report)
    for problem in found.problems.values():
        raise InputError(problem)
    return found.costs[candidate.variant, candidate.size]


class _Child:
    """A process that measures, and the lines that it has printed."""

    def __init__(self, job: Path, jobs: int) -> None:
        self.job = job
        self.output, self.errors = job.with_suffix(".out"), job.with_suffix(".err")
        self.lines = 0
        self.begun = time.time()
        self.start = 0.0
        with self.output.open("wb") as out, self.errors.open("wb") as err:
            self.process = subprocess.Popen(
                [*COMMAND, str(job)],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                env=child_environment(jobs),
            )

    def running(self) -> bool:
        return self.process.poll() is None

    def collect(self, found: Measured, report: Callable[[str], None]) -> None:
        """Take what has been printed since the last call."""
        text = self.output.read_text(encoding="utf-8")
        lines = text[: text.rfind("\n") + 1].splitlines()
        for line in map(json.loads, lines[self.lines :]):
            if "begun" in line:
                self.start = max(0.0, line["begun"] - self.begun)
            else:
                found.add(line, self.start)
                if "costs" in line:
                    step = 1000 * line["costs"]["step"]
                    report(f"measured {line['variant']}, {line['size']}: {step:.0f} ms per step")
        self.lines = len(lines)
        if self.process.poll() not in (None, 0):
            end = " ".join(self.errors.read_text(errors="replace").split())[-LAST_CHARACTERS:]
            raise InputError(f"the measurement failed (exit code {self.process.poll()}): {end}")


def main(arguments: Sequence[str]) -> int:
    """Print the costs of the candidates of a job, one line of JSON each."""
    _print({"begun": time.time()})
    tune_malloc()
    job = json.loads(Path(arguments[0]).read_text(encoding="utf-8"))
    begin = time.monotonic()
    steps: dict[str, float] = {}
    finish: float | None = None
    read = once(read_frames)
    seconds = 0.0
    data: Data | None = None
    for item in job["candidates"]:
        candidate = Candidate(**item)
        known = steps.get(candidate.variant)
        hopeless = known is not None and known * candidate.steps > job["run_seconds"]
        late = known is not None and time.monotonic() - begin > job["limit"]
        if late or hopeless:
            continue
        try:
            config = validate(Config, candidate.config, candidate.variant)
            start = time.perf_counter()
            data = read_data(config, read)
            seconds = max(seconds, time.perf_counter() - start)
            costs = measure_costs(config, data, seconds, finish)
        except InputError as error:
            _print({"variant": candidate.variant, "error": str(error)})
            continue
        steps[candidate.variant], finish = costs.step, costs.finish
        place = {"variant": candidate.variant, "size": candidate.size}
        _print({**place, "costs": asdict(costs)})
    return 0


def _print(line: dict[str, Any]) -> None:
    print(json.dumps(line), flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
