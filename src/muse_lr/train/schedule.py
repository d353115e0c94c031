"""Schedule of the learning rate."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

from muse_lr.train.config import ScheduleConfig


class Schedule:
    """Linear warm-up, followed by cosine decay, drops on a plateau, or a constant rate.

    Parameters
    ----------
    config : ScheduleConfig
    peak : float
        Largest learning rate.
    total_steps : int
        Number of steps of the whole run.

    Attributes
    ----------
    state : dict
        State for resuming a run: current fraction of the peak rate, best loss, epochs waited.
    """

    def __init__(self, config: ScheduleConfig, peak: float, total_steps: int) -> None:
        self.config = config
        self.peak = peak
        self.total_steps = total_steps
        self.state: dict[str, float] = {"share": 1.0, "best": math.inf, "waited": 0}

    def rate(self, steps: ArrayLike) -> NDArray[np.float64]:
        """Learning rates of steps, counted from 0, in the current state; shape of ``steps``."""
        config, steps = self.config, np.asarray(steps)
        warm = np.minimum(1.0, (steps + 1) / max(1, config.warmup_steps))
        if config.kind == "cosine":
            span = max(1, self.total_steps - config.warmup_steps)
            progress = np.clip((steps - config.warmup_steps) / span, 0.0, 1.0)
            share = config.final + (1 - config.final) * (1 + np.cos(math.pi * progress)) / 2
        else:
            share = np.asarray(self.state["share"])
        rates: NDArray[np.float64] = self.peak * warm * share
        return rates

    def end_epoch(self, valid_loss: float) -> None:
        """Drop the rate if the validation loss has not improved for ``patience`` epochs."""
        if self.config.kind != "plateau":
            return
        if valid_loss < self.state["best"]:
            self.state.update(best=valid_loss, waited=0)
            return
        self.state["waited"] += 1
        if self.state["waited"] >= self.config.patience:
            dropped = self.state["share"] * self.config.factor
            self.state.update(share=max(dropped, self.config.final), waited=0)
