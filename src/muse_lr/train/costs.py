"""Times of the stages of a run, from which the time of a run of another length follows.

:mod:`.estimate` measures one run as it is configured. The costs here are measured on a few of its
structures, so that the number of frames and epochs can still be chosen.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from muse_lr.data.dataset import Dataset
from muse_lr.data.reading import Frame
from muse_lr.train.checkpoint import save_checkpoint
from muse_lr.train.config import Config
from muse_lr.train.estimate import chosen_batches, finish_seconds, first_frames
from muse_lr.train.evaluate import evaluate, measure
from muse_lr.train.finish import peak_memory_mb
from muse_lr.train.loop import Run
from muse_lr.train.ranks import Ranks
from muse_lr.train.record import silent
from muse_lr.train.setup import Data, Setup, draft

#: Number of batches whose structures are used.
BATCHES = 5
#: Steps are timed for this long, s, but at least so many.
TIMED_SECONDS, FEWEST_TIMED = 2.0, 3
#: Largest number of training structures with which the model is set up.
DRAFTED = 200
#: Frames and repetitions of the measurement of the inference time at the end of a run.
INFERENCE_FRAMES = 8 * 6


@dataclass(frozen=True)
class Amount:
    """What a run does.

    Attributes
    ----------
    epochs, steps : int
    train, valid, test : int
        Number of structures, those of all test sets together.
    """

    epochs: int
    steps: int
    train: int
    valid: int
    test: int

    @property
    def frames(self) -> int:
        """Number of all structures."""
        return self.train + self.valid + self.test


@dataclass(frozen=True)
class Costs:
    """Times of the stages of a run, s.

    Attributes
    ----------
    start : float
        Start and end of the process with its imports.
    read : float
        Reading of all files.
    draft : float
        Setting up the model with ``drafted`` structures: E0s, checks.
    drafted : int
    frame : float
        Neighbor list of a structure.
    step : float
        Mean of the timed steps, for a machine as busy as during the measurement.
    fastest_step : float
        Fastest step on a batch of median size. A machine that stalls for a while does not count.
    valid : float
        Validation of a structure.
    test : float
        Evaluation of a structure of a test set.
    checkpoint : float
        Checkpoint at the end of an epoch.
    finish : float
        Predictions, summary and report, without the evaluations.
    peak_memory_mb : float
    parameters : int
        Number of parameters of the model.
    """

    start: float
    read: float
    draft: float
    drafted: int
    frame: float
    step: float
    fastest_step: float
    valid: float
    test: float
    checkpoint: float
    finish: float
    peak_memory_mb: float
    parameters: int

    def seconds(self, amount: Amount) -> float:
        """Time of a run."""
        setup = self.draft * max(1.0, amount.frames / self.drafted) + self.frame * amount.frames
        training = amount.steps * self.step
        training += amount.epochs * (amount.valid * self.valid + self.checkpoint)
        inference = min(INFERENCE_FRAMES, 6 * amount.valid) * self.valid
        end = amount.test * self.test + inference + self.finish
        return self.start + self.read + setup + training + end


def measure_costs(config: Config, data: Data, read: float, finish: float | None = None) -> Costs:
    """Set up a run with a few of its structures, and time its stages.

    Only temporary files are written. ``start`` is 0, since only the caller can measure it.

    Parameters
    ----------
    config : Config
        Resolved configuration.
    data : Data
        Its frames, from :func:`~muse_lr.train.setup.read_data`.
    read : float
        Time of reading them, s.
    finish : float, optional
        Known time of predictions, summary and report, which depends little on the model, s.

    Raises
    ------
    InputError
        If the run cannot be trained.
    """
    graphs, labels = config.training.batch.graphs, tuple(config.training.loss)
    few = _few(data, graphs, labels)
    start = time.perf_counter()
    found = draft(config, few)
    draft_seconds = time.perf_counter() - start
    train = representative(few.train, BATCHES * graphs, labels)
    start = time.perf_counter()
    used, valid_set = (
        Dataset.from_frames(frames, found.model.cutoff, labels) for frames in (train, few.valid)
    )
    frame = (time.perf_counter() - start) / (len(train) + len(few.valid))
    test = {
        name: Dataset.from_frames(frames, found.model.cutoff) for name, frames in few.test.items()
    }
    with TemporaryDirectory() as directory:
        setup = Setup(found.config, found.model, used, valid_set, test, found.notes)
        run = Run(setup, Path(directory), Ranks(), silent)
        step, fastest = _step_seconds(run)
        checkpoint = _checkpoint_seconds(run)
        valid, tested = _evaluation_seconds(run, labels)
        if finish is None:
            known = INFERENCE_FRAMES * valid * min(1, len(few.valid) / 8)
            known += sum(map(len, test.values())) * tested
            finish = max(0.0, finish_seconds(run, test) - known)
    return Costs(
        start=0.0,
        read=read,
        draft=draft_seconds,
        drafted=len(few.train) + len(few.valid) + sum(map(len, test.values())),
        frame=frame,
        step=step,
        fastest_step=fastest,
        valid=valid,
        test=tested,
        checkpoint=checkpoint,
        finish=finish,
        peak_memory_mb=peak_memory_mb(run.model.device),
        parameters=sum(p.numel() for p in run.model.parameters()),
    )


def _few(data: Data, graphs: int, labels: Sequence[str]) -> Data:
    """Some of the frames of each set."""
    return Data(
        representative(data.train, DRAFTED, labels),
        representative(data.valid, graphs, labels),
        {name: representative(frames, 8, ()) for name, frames in data.test.items()},
        data.isolated,
    )


def representative(frames: Sequence[Frame], count: int, labels: Sequence[str]) -> list[Frame]:
    """At most ``count`` frames at random, at least one of them with each label."""
    order = np.random.default_rng(0).permutation(len(frames)).tolist()
    chosen = order[:count]
    for label in labels:
        if not any(label in frames[i].labels for i in chosen):
            chosen += [i for i in order if label in frames[i].labels][:1]
    return [frames[i] for i in sorted(chosen)]


def _step_seconds(run: Run) -> tuple[float, float]:
    """Mean time of typical steps, and the fastest on a batch of median size.

    The median batch comes first and is used twice, so that one stall of the machine is not the
    fastest. A step on the largest batch before warms up and takes the most memory.
    """
    run.model.train()
    largest, *typical = chosen_batches(run.setup.train, run.batches.of(1))
    run.step(largest)
    median = typical.pop(len(typical) // 2)
    times: list[float] = []
    for batch in (median, median, *typical):
        start = time.perf_counter()
        run.step(batch)
        times.append(time.perf_counter() - start)
        if len(times) >= FEWEST_TIMED and sum(times) > TIMED_SECONDS:
            break
    return sum(times) / len(times), min(times[:2])


def _checkpoint_seconds(run: Run) -> float:
    weights = run.model.state_dict()
    states = (run.optimizer.state_dict(), run.average.values, run.schedule.state)
    dump = run.setup.config.model_dump(mode="json")
    start = time.perf_counter()
    save_checkpoint(run.checkpoint, run.progress, weights, *states, dump, run.fingerprints)
    return time.perf_counter() - start


def _evaluation_seconds(run: Run, labels: tuple[str, ...]) -> tuple[float, float]:
    """Time of the validation of a structure, and of the evaluation of one of a test set."""
    run.model.eval()
    training, valid = run.config, run.setup.valid
    validation = _fastest(lambda: measure(run.model, valid, labels, training)) / len(valid)
    times = []
    for dataset in run.setup.test.values():
        some = first_frames(dataset, max(2, training.batch.graphs))
        evaluation = partial(evaluate, run.model, some, training.batch, training.micro_batch)
        times.append(_fastest(evaluation) / len(some))
    return validation, max(times, default=validation)


def _fastest(action: Callable[[], object]) -> float:
    """Shorter time of two calls, s."""
    times = []
    for _ in range(2):
        start = time.perf_counter()
        action()
        times.append(time.perf_counter() - start)
    return min(times)
