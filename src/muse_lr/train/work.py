"""The steps of a run: their batches and learning rates, planned and recorded."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from muse_lr.data.dataset import divide, epoch_order, fingerprint
from muse_lr.train.config import TrainingConfig
from muse_lr.train.schedule import Schedule
from muse_lr.train.setup import Data

#: Number of hexadecimal digits of a digest.
DIGITS = 16


@dataclass
class Work:
    """What the steps of a run used so far.

    Attributes
    ----------
    epochs, steps : int
        Number of epochs and steps.
    structures : int
        Number of structures in all batches; one that is used in each epoch counts each time.
    largest_rate : float
        Largest learning rate of a step.
    batches : str
        Digest of the indices of the structures in all batches, in order. Two runs on the same
        data have the same digest if and only if their steps used the same structures.
    rates : str
        Digest of the learning rates of all steps.
    """

    epochs: int = 0
    steps: int = 0
    structures: int = 0
    largest_rate: float = 0.0
    batches: str = ""
    rates: str = ""

    def add_epoch(self, batches: Sequence[Sequence[int]], rates: Sequence[float]) -> None:
        """Add the batches of an epoch and the learning rates of its steps."""
        lengths = [len(batch) for batch in batches]
        indices = [index for batch in batches for index in batch]
        self.epochs += 1
        self.steps += len(batches)
        self.structures += len(indices)
        self.largest_rate = max(self.largest_rate, *rates)
        self.batches = _chained(self.batches, np.array([*lengths, *indices], dtype="<i8"))
        # Ten digits, so that the last bits of a cosine on another machine do not count.
        rounded = [float(f"{rate:.9e}") for rate in rates]
        self.rates = _chained(self.rates, np.array(rounded, dtype="<f8"))


def step_batches(sizes: NDArray[np.int64], config: TrainingConfig, epoch: int) -> list[list[int]]:
    """Batches of an epoch. They depend on the sizes, ``seed`` and ``batch`` only.

    Parameters
    ----------
    sizes : ndarray
        (n_structures,) number of atoms of each training structure.
    config : TrainingConfig
    epoch : int
        Counted from 1.
    """
    order = epoch_order(len(sizes), config.seed, epoch)
    return divide(order, sizes[order], config.batch.graphs, config.batch.atoms)


def total_steps(sizes: NDArray[np.int64], config: TrainingConfig) -> int:
    """Number of steps of all epochs."""
    if config.batch.atoms is None:
        return -(-len(sizes) // config.batch.graphs) * config.epochs
    return sum(len(step_batches(sizes, config, epoch)) for epoch in range(1, config.epochs + 1))


def planned_work(sizes: NDArray[np.int64], config: TrainingConfig) -> Work:
    """Work of a run that is not stopped early.

    The digest of the rates is that of a run whose rate does not drop on a plateau, since the drops
    depend on the validation loss.
    """
    batches = [step_batches(sizes, config, epoch) for epoch in range(1, config.epochs + 1)]
    schedule = Schedule(config.schedule, config.learning_rate, sum(map(len, batches)))
    work = Work()
    for found in batches:
        rates = [schedule.rate(work.steps + i) for i in range(len(found))]
        work.add_epoch(found, rates)
    return work


def fingerprints(data: Data, e0: Mapping[str, float] | str | None) -> dict[str, str]:
    """Digests of the data and of the E0s (to 1e-6 eV), by which runs of a study are compared."""
    sets = {"training data": data.train, "validation data": data.valid}
    sets |= {f"test set {name}": frames for name, frames in data.test.items()}
    found = {name: fingerprint(frames) for name, frames in sets.items()}
    rounded = {k: f"{v:.6f}" for k, v in sorted(e0.items())} if isinstance(e0, Mapping) else e0
    return {**found, "E0s": hashlib.sha256(json.dumps(rounded).encode()).hexdigest()[:DIGITS]}


def _chained(before: str, values: NDArray[np.generic]) -> str:
    """Digest of all values so far, from the digest of those before."""
    return hashlib.sha256(before.encode() + values.tobytes()).hexdigest()[:DIGITS]
