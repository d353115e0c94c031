"""Exponential moving average of the weights."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn


class WeightAverage:
    """Exponential moving average a of the weights w.

    After step n: a <- d a + (1 - d) w, with d = min(decay, (1 + n) / (10 + n)).

    Parameters
    ----------
    model : Module
    decay : float or None
        None: the average equals the current weights.
    """

    def __init__(self, model: nn.Module, decay: float | None) -> None:
        self.model = model
        self.decay = decay
        self.values = {name: p.detach().clone() for name, p in model.named_parameters()}

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Update the average with the weights after ``step`` steps."""
        decay = 0.0 if self.decay is None else min(self.decay, (1 + step) / (10 + step))
        for name, parameter in self.model.named_parameters():
            self.values[name].lerp_(parameter.detach(), 1 - decay)

    @torch.no_grad()
    def load(self, values: dict[str, Tensor]) -> None:
        """Restore the average from a checkpoint."""
        for name, value in self.values.items():
            value.copy_(values[name])

    @contextmanager
    def applied(self) -> Iterator[None]:
        """Context in which the model has the averaged weights; they are swapped back at the end."""
        own = {name: p.detach().clone() for name, p in self.model.named_parameters()}
        self._put(self.values)
        try:
            yield
        finally:
            self._put(own)

    @torch.no_grad()
    def _put(self, values: dict[str, Tensor]) -> None:
        for name, parameter in self.model.named_parameters():
            parameter.copy_(values[name])
