"""Sizes of a configuration that do not follow from the data alone: model, batch and epochs."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from muse_lr.data.scaffold.survey import CUTOFF, Survey, share_of
from muse_lr.data.scaffold.text import round_up

#: Edges computed at once, in units of those of a large batch at CUTOFF: a list up to 7 A fits.
EDGES_FACTOR = 4
#: Target number of training steps.
STEPS = 20_000
#: Largest number of structures in a batch.
MOST_GRAPHS = 32


@dataclass(frozen=True)
class Limits:
    """Limits of a batch, and of what is computed at once."""

    graphs: int
    atoms: int
    edges: int

    def steps(self, frames: int) -> int:
        """Approximate number of steps of an epoch of this many training frames."""
        return max(1, math.ceil(frames / self.graphs))


@dataclass(frozen=True)
class Choices:
    """Sizes of the model, the batch and the training.

    Attributes
    ----------
    cutoff : float
        Usual cutoff, A. The data may give another one near it
        (:class:`~muse_lr.data.scaffold.shells.Shells`).
    channels, layers : int
        Size of the backbone.
    multiscale : str or None
        Kind of ``model.multiscale``.
    batch_atoms : int
        Target number of atoms in a batch.
    epochs : int or None
        None: about :data:`STEPS` steps.
    max_frames : int or None
        Number of training and validation frames; None: all.
    learning_rate : float
    warmup_steps : int or None
    ema : float or None
        None: the default of the key.
    for_time : bool
        Whether the sizes follow from a given time, which comments say.
    """

    cutoff: float = CUTOFF
    channels: int = 64
    layers: int = 3
    multiscale: str | None = None
    batch_atoms: int = 400
    epochs: int | None = None
    max_frames: int | None = None
    learning_rate: float = 2e-3
    warmup_steps: int | None = None
    ema: float | None = None
    for_time: bool = False

    def valid_share(self, survey: Survey) -> float:
        """Fraction of the frames for validation."""
        return share_of(len(survey.structures) if self.max_frames is None else self.max_frames)

    def trained(self, survey: Survey) -> int:
        """Number of training frames."""
        return survey.count_trained(self.max_frames)[0]

    def limits(self, survey: Survey) -> Limits:
        """Limits of a batch of about ``batch_atoms`` atoms."""
        mean = survey.mean_atoms
        graphs = int(np.clip(round(self.batch_atoms / mean), 1, MOST_GRAPHS))
        atoms = round_up(max(1.25 * graphs * mean, max(map(len, survey.structures))))
        edges = round_up(EDGES_FACTOR * graphs * survey.edges_per_frame)
        return Limits(graphs, atoms, edges)

    def planned_epochs(self, survey: Survey) -> int:
        """Number of epochs."""
        if self.epochs is not None:
            return self.epochs
        steps = self.limits(survey).steps(self.trained(survey))
        return int(np.clip(round(STEPS / steps, -1), 20, 500))
