"""Estimate the time and memory of a study from a few steps of each variant."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from muse_lr.ablate.check import CheckedRun
from muse_lr.ablate.execute import child_environment
from muse_lr.ablate.study import Run
from muse_lr.config.yaml import dump_yaml
from muse_lr.reporting.html import Cell, Table
from muse_lr.reporting.wording import duration, number
from muse_lr.train.estimate import Estimate

#: Command that estimates the run of a configuration file.
COMMAND = (sys.executable, "-m", "muse_lr.train.estimate")
LAST_CHARACTERS = 400


def estimate_variants(
    runs: Sequence[Run], jobs: int, report: Callable[[str], None]
) -> tuple[dict[str, Estimate], list[str]]:
    """Estimate the cost of each variant, with its first run, in a process of its own.

    Parameters
    ----------
    runs : sequence of Run
    jobs : int
        Number of parallel runs, which share the CPU cores.
    report : callable
        Called with one line per variant.

    Returns
    -------
    estimates : dict of str to Estimate
        By variant.
    problems : list of str
        One line for each variant whose steps failed.
    """
    first = {run.variant: run for run in reversed(runs)}
    variants = list(dict.fromkeys(run.variant for run in runs))
    found: dict[str, Estimate] = {}
    problems: list[str] = []
    with tempfile.TemporaryDirectory() as directory:
        for place, variant in enumerate(variants, 1):
            report(f"estimating {variant} ({place} of {len(variants)})")
            path = Path(directory, f"{variant}.yaml")
            dump_yaml(first[variant].config, path)
            start = time.monotonic()
            done = subprocess.run(
                [*COMMAND, str(path)],
                capture_output=True,
                text=True,
                env=child_environment(jobs),
                check=False,
            )
            if done.returncode == 0:
                estimate = Estimate(**json.loads(done.stdout.splitlines()[-1]))
                found[variant] = estimate.started_in(time.monotonic() - start)
                continue
            reason = f"exit code {done.returncode}" if done.returncode >= 0 else "killed"
            end = " ".join(done.stderr.split())[-LAST_CHARACTERS:]
            problems.append(f"variant {variant!r}: the steps failed ({reason}): {end}")
    return found, problems


def total_seconds(durations: Sequence[float], jobs: int) -> float:
    """Time of runs that start in this order, each as soon as one of ``jobs`` processes is free."""
    free = [0.0] * jobs
    for seconds in durations:
        free[free.index(min(free))] += seconds
    return max(free)


def estimate_table(checked: Sequence[CheckedRun], estimates: dict[str, Estimate]) -> Table:
    """Cost of one run of each variant."""
    rows = []
    for variant, cost in estimates.items():
        item = next(item for item in checked if item.run.variant == variant)
        rows.append(
            [
                Cell(variant),
                Cell(f"{item.parameters:,}"),
                Cell(str(item.work.steps)),
                Cell(number(1000 * cost.step_seconds)),
                Cell(duration(cost.start_seconds)),
                Cell(duration(cost.seconds)),
                Cell(number(cost.peak_memory_mb)),
            ]
        )
    columns = ["variant", "parameters", "steps", "ms/step", "start-up", "time of a run"]
    return Table([*columns, "peak memory (MB)"], rows)
