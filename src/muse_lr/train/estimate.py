"""Estimate the time and memory of a run from a few of its steps.

``python -m muse_lr.train.estimate CONFIG.yaml`` prints the estimate as JSON. It runs in a process
of its own, so that the peak memory is that of one run.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

from muse_lr.config.yaml import dump_yaml
from muse_lr.data.dataset import Dataset
from muse_lr.errors import InputError
from muse_lr.train.config import Config, load_config
from muse_lr.train.evaluate import evaluate, measure
from muse_lr.train.finish import finish, peak_memory_mb
from muse_lr.train.loop import Run
from muse_lr.train.ranks import Ranks
from muse_lr.train.record import silent
from muse_lr.train.setup import prepare
from muse_lr.utils.malloc import tune_malloc

#: Steps are timed for batches at these places in the order of the number of edges.
PLACES = (0.1, 0.3, 0.5, 0.7, 0.9)


@dataclass(frozen=True)
class Estimate:
    """Estimated cost of a run.

    Attributes
    ----------
    setup_seconds : float
        Reading of the data and neighbor lists.
    step_seconds : float
        Mean of the timed steps.
    seconds : float
        Whole run: start of the process, setup, all steps, all validations, the tests, predictions
        and the report. Checkpoints are not counted.
    peak_memory_mb : float
        Peak memory; it includes a step on the largest batch of the first epoch.
    measured_seconds : float
        Time that the estimate itself took.
    start_seconds : float
        Start and end of the process with its imports. Only the caller can measure it.
    """

    setup_seconds: float
    step_seconds: float
    seconds: float
    peak_memory_mb: float
    measured_seconds: float
    start_seconds: float = 0.0

    def started_in(self, wall_seconds: float) -> Estimate:
        """Estimate with the start of the process, which took ``wall_seconds`` in total."""
        start = max(0.0, wall_seconds - self.measured_seconds)
        return replace(self, seconds=self.seconds + start, start_seconds=start)


def estimate(config: Config) -> Estimate:
    """Set up a run, take a few steps, evaluate a few structures and write a report on them.

    Files are written to a temporary directory only.

    Raises
    ------
    InputError
        If the run cannot be trained.
    """
    begin = time.perf_counter()
    setup = prepare(config)
    run = Run(setup, Path(), Ranks(), silent)
    setup_seconds = time.perf_counter() - begin
    training = setup.config.training
    run.model.train()
    largest, *typical = chosen_batches(setup.train, run.batches.of(1))
    run.step(largest)  # also warms up
    start = time.perf_counter()
    for batch in typical:
        run.step(batch)
    step_seconds = (time.perf_counter() - start) / len(typical)
    seconds = setup_seconds + run.batches.total_steps * step_seconds
    run.model.eval()
    few = first_frames(setup.valid, training.batch.graphs)
    start = time.perf_counter()
    measure(run.model, few, tuple(training.loss), training)
    seconds += training.epochs * len(setup.valid) / len(few) * (time.perf_counter() - start)
    tests = {
        name: first_frames(dataset, training.batch.graphs) for name, dataset in setup.test.items()
    }
    for name, few in tests.items():
        start = time.perf_counter()
        evaluate(run.model, few, training.batch, training.micro_batch)
        seconds += (len(setup.test[name]) / len(few) - 1) * (time.perf_counter() - start)
    memory = peak_memory_mb(run.model.device)
    seconds += finish_seconds(run, tests)
    return Estimate(setup_seconds, step_seconds, seconds, memory, time.perf_counter() - begin)


def finish_seconds(run: Run, tests: dict[str, Dataset]) -> float:
    """Time of evaluating ``tests``, and of writing predictions, summary and report."""
    start = time.perf_counter()
    with TemporaryDirectory() as directory:
        dump_yaml(run.setup.config.model_dump(mode="json"), Path(directory, "config.yaml"))
        setup = replace(run.setup, test=tests)
        finish(run.model, setup, run.progress, Path(directory), {}, silent)
    return time.perf_counter() - start


def chosen_batches(dataset: Dataset, batches: Sequence[list[int]]) -> list[list[int]]:
    """The batch with the most edges, and those at :data:`PLACES`."""
    edges = [sum(dataset.structures[i].edge_index.shape[1] for i in batch) for batch in batches]
    order = sorted(range(len(batches)), key=edges.__getitem__)
    places = [order[int(place * len(order))] for place in PLACES]
    return [batches[i] for i in (order[-1], *places)]


def first_frames(dataset: Dataset, count: int) -> Dataset:
    return Dataset(dataset.structures[:count], dataset.frames[:count], dataset.labels)


def main(arguments: Sequence[str]) -> int:
    """Print the estimate of the run of a configuration file as JSON."""
    tune_malloc()
    try:
        found = estimate(load_config(arguments[0]))
    except InputError as error:
        print(error, file=sys.stderr)
        return 2
    print(json.dumps(asdict(found)))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
