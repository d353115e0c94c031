"""Timing that survives a busy machine: candidates take turns, and only ratios are judged.

On a CPU the clock is that of the process: with one thread it is what an idle machine would show.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray

Task = Callable[[], object]


def take_turns(tasks: dict[str, Task], seconds: float, device: str) -> dict[str, NDArray]:
    """Call all tasks in turn until each had its share of time, at least five times.

    Parameters
    ----------
    tasks : dict
        Each is called twice before the clock starts.
    seconds : float
        For all tasks together.
    device : str
        ``cuda`` waits for the device.

    Returns
    -------
    dict
        (n_rounds,) seconds of each task; entries of one round were measured next to each other.
    """
    rounds: dict[str, list[float]] = {name: [] for name in tasks}
    for task in (*tasks.values(), *tasks.values()):
        task()
    stop = time.perf_counter() + seconds
    while time.perf_counter() < stop or len(next(iter(rounds.values()))) < 5:
        for name, task in tasks.items():
            rounds[name].append(seconds_of(task, device))
    return {name: np.array(values) for name, values in rounds.items()}


def seconds_of(task: Task, device: str) -> float:
    """Processor time of a call on a CPU, elapsed time on a GPU."""
    if device != "cuda":
        start = time.process_time()
        task()
        return time.process_time() - start
    torch.cuda.synchronize()
    start = time.perf_counter()
    task()
    torch.cuda.synchronize()
    return time.perf_counter() - start
