"""Extreme structures end neither the process nor the patience of a user."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

WORKER = Path(__file__).with_name("worker.py")


def run_worker(first: int, count: int) -> None:
    """Run the worker; fail with the structure at which it ended."""
    command = [sys.executable, str(WORKER), str(first), str(count)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    last = lines[-1] if lines else "before the first structure"
    assert done.returncode == 0, f"exit code {done.returncode} at {last}: {done.stderr[-2000:]}"
    found = [line for line in lines if "outcome" in line]
    assert len(found) == count
    assert sum(line["outcome"] == "ok" for line in found) > count / 2


@pytest.mark.parametrize("first", [0, 50])
def test_extreme_structures(first: int) -> None:
    run_worker(first, 50)


@pytest.mark.slow
@pytest.mark.parametrize("first", range(100, 2000, 475))
def test_many_extreme_structures(first: int) -> None:
    run_worker(first, 475)
