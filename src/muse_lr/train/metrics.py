"""Errors over a data set, accumulated as sums over batches and ranks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from muse_lr.model.output import ModelOutput
from muse_lr.reporting.metric_units import METRIC_UNITS
from muse_lr.train.config import TrainingConfig
from muse_lr.train.losses import labeled, penalty, residuals

if TYPE_CHECKING:
    from muse_lr.structures.batch import AtomsBatch

#: Labels whose metrics are per structure, although their losses are per atom.
WHOLE = ("dipole", "quadrupole", "polarization", "polarizability")


class Metrics:
    """Sums of absolute errors, squared errors and penalties of each label.

    Parameters
    ----------
    labels : sequence of str
        Labels that are compared.
    config : TrainingConfig
        Defines the loss.
    """

    def __init__(self, labels: Sequence[str], config: TrainingConfig) -> None:
        self.labels = tuple(labels)
        self.config = config
        # Rows: labels. Columns: count, sum |e|, sum e^2, sum of penalties.
        self.sums = torch.zeros((len(self.labels), 4), dtype=torch.float64)

    def add(self, output: ModelOutput, batch: AtomsBatch) -> None:
        """Add the errors of a batch."""
        for row, label in enumerate(self.labels):
            error = residuals(output, batch, label).detach()
            # The loss of a dipole or a polarizability is per atom, its metric is not.
            measured = _whole(error, batch, label) if label in WHOLE else error
            values = [
                torch.tensor(float(error.numel()), dtype=torch.float64),
                measured.abs().sum(),
                measured.square().sum(),
                penalty(error, self.config).sum(),
            ]
            self.sums[row] += torch.stack([v.to("cpu", torch.float64) for v in values])

    def results(self, prefix: str = "") -> dict[str, float]:
        """Return ``{label}_mae`` and ``{label}_rmse`` of every label with data.

        They are in the units of :data:`~muse_lr.reporting.metric_units.METRIC_UNITS`.
        """
        found: dict[str, float] = {}
        for label, row in zip(self.labels, self.sums.tolist(), strict=True):
            count, absolute, squared, _ = row
            if count:
                scale = METRIC_UNITS[label].scale
                found[f"{prefix}{label}_mae"] = scale * absolute / count
                found[f"{prefix}{label}_rmse"] = scale * (squared / count) ** 0.5
        return found

    def loss(self) -> float:
        """Weighted loss over all batches that were added."""
        weights: dict[str, float] = {str(k): v for k, v in self.config.loss.items()}
        return sum(
            weights.get(label, 0.0) * row[3] / row[0]
            for label, row in zip(self.labels, self.sums.tolist(), strict=True)
            if row[0]
        )


def _whole(error: Tensor, batch: AtomsBatch, label: str) -> Tensor:
    reference = getattr(batch, f"label_{label}")
    atoms = batch.nodes_per_graph.view(-1, *(1,) * (reference.dim() - 1))
    return error * atoms.expand_as(reference)[labeled(batch, label)]
