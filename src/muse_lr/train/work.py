"""The steps of a run: their batches and learning rates, planned and recorded."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from torch import nn

from muse_lr.data.dataset import epoch_order, fingerprint, group_stops
from muse_lr.data.reading import Frame
from muse_lr.model.energy_model import EnergyModel
from muse_lr.train.config import TrainingConfig
from muse_lr.train.schedule import Schedule
from muse_lr.train.setup import Data

#: Number of hexadecimal digits of a digest.
DIGITS = 16
#: Binary digits of a rate in a digest, so that the last bits of a cosine on another machine do not
#: count.
RATE_BITS = 27


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

    def add_epoch(
        self,
        order: NDArray[np.int64],
        stops: NDArray[np.int64],
        rates: NDArray[np.float64],
    ) -> None:
        """Add an epoch: the order of the structures, where batches stop, and the learning rates."""
        self.epochs += 1
        self.steps += len(stops)
        self.structures += len(order)
        self.largest_rate = max(self.largest_rate, float(rates.max()))
        values = np.concatenate([np.diff(stops, prepend=0), order])
        self.batches = _chained(self.batches, values.astype("<i8"))
        mantissas, exponents = np.frexp(rates)
        rounded = np.stack([np.rint(mantissas * 2**RATE_BITS), exponents])
        self.rates = _chained(self.rates, rounded.astype("<i8"))


class Batches:
    """Batches of all epochs. They depend on the sizes, ``seed`` and ``batch`` only.

    Parameters
    ----------
    sizes : ndarray
        (n_structures,) number of atoms of each training structure.
    config : TrainingConfig
    """

    def __init__(self, sizes: NDArray[np.int64], config: TrainingConfig) -> None:
        self.sizes, self.config = sizes, config

    def order(self, epoch: int) -> NDArray[np.int64]:
        """(n_structures,) order of the structures in an epoch, counted from 1."""
        return epoch_order(len(self.sizes), self.config.seed, epoch)

    @cached_property
    def stops(self) -> list[NDArray[np.int64]]:
        """For each epoch, (n_steps,) number of structures up to the end of each batch."""
        limits = self.config.batch
        epochs = range(1, self.config.epochs + 1)
        if limits.atoms is None:
            return [group_stops(self.sizes, limits.graphs, None)] * len(epochs)
        return [
            group_stops(self.sizes[self.order(epoch)], limits.graphs, limits.atoms)
            for epoch in epochs
        ]

    @property
    def total_steps(self) -> int:
        """Number of steps of all epochs."""
        return sum(map(len, self.stops))

    def of(self, epoch: int) -> list[list[int]]:
        """Structures of each step of an epoch, counted from 1."""
        order, stops = self.order(epoch).tolist(), self.stops[epoch - 1].tolist()
        return [order[start:stop] for start, stop in pairwise((0, *stops))]


def planned_work(sizes: NDArray[np.int64], config: TrainingConfig) -> Work:
    """Work of a run that is not stopped early.

    The digest of the rates is that of a run whose rate does not drop on a plateau, since the drops
    depend on the validation loss.
    """
    batches = Batches(sizes, config)
    schedule = Schedule(config.schedule, config.learning_rate, batches.total_steps)
    work = Work()
    for epoch, stops in enumerate(batches.stops, 1):
        rates = schedule.rate(work.steps + np.arange(len(stops)))
        work.add_epoch(batches.order(epoch), stops, rates)
    return work


def warmup_notes(config: TrainingConfig, steps: int) -> list[str]:
    """A note if the warm-up does not end within the steps of the run."""
    warmup = config.schedule.warmup_steps
    if warmup < steps:
        return []
    return [
        f"the warm-up (training.schedule.warmup_steps: {warmup}) takes the whole run, so that the "
        "learning rate rises until the end: lower warmup_steps or train for more epochs"
    ]


def fingerprints(
    data: Data,
    e0: Mapping[str, float] | str | None,
    digest: Callable[[Sequence[Frame]], str] = fingerprint,
) -> dict[str, str]:
    """Digests of the data and of the E0s (to 1e-6 eV), by which runs of a study are compared."""
    sets = {"training data": data.train, "validation data": data.valid}
    sets |= {f"test set {name}": frames for name, frames in data.test.items()}
    found = {name: digest(frames) for name, frames in sets.items()}
    rounded = {k: f"{v:.6f}" for k, v in sorted(e0.items())} if isinstance(e0, Mapping) else e0
    return {**found, "E0s": hashlib.sha256(json.dumps(rounded).encode()).hexdigest()[:DIGITS]}


def initial_weights(model: EnergyModel) -> dict[str, str]:
    """Digest of the weights of each part, by its key in the model section.

    The values are compared in float64, so that the precision of the model does not count.
    """
    parts: dict[str, nn.Module | None] = {
        "backbone": model.backbone,
        "multiscale": model.multiscale,
        "charges": model.charges,
        **{f"heads.{name}": head for name, head in model.heads.items()},
    }
    found = {}
    for name, part in parts.items():
        digest = hashlib.sha256()
        for parameter in [] if part is None else part.parameters():
            digest.update(repr(tuple(parameter.shape)).encode())
            digest.update(parameter.detach().cpu().double().contiguous().numpy().tobytes())
            found[name] = digest.hexdigest()[:DIGITS]
    return found


def _chained(before: str, values: NDArray[np.generic]) -> str:
    """Digest of all values so far, from the digest of those before."""
    return hashlib.sha256(before.encode() + values.tobytes()).hexdigest()[:DIGITS]
