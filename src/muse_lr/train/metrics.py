"""Errors over a data set: accumulated as sums, so that batches and ranks do not matter."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from muse_lr.model.output import ModelOutput
from muse_lr.structures.batch import AtomsBatch
from muse_lr.train.config import TrainingConfig
from muse_lr.train.losses import penalty, residuals

#: Metrics are in thousandths for these labels: meV/atom, meV/A, meV/A^3.
MILLI = ("energy", "forces", "stress")
#: Labels whose metrics are of the whole structure, although their losses are per atom.
WHOLE = ("dipole", "quadrupole")


class Metrics:
    """Sums of absolute errors, squared errors and penalties by label.

    Parameters
    ----------
    labels : sequence of str
        What is compared.
    config : TrainingConfig
        For the loss.
    """

    def __init__(self, labels: Sequence[str], config: TrainingConfig) -> None:
        self.labels = tuple(labels)
        self.config = config
        # Rows: labels. Columns: count, sum |e|, sum e^2, sum of penalties.
        self.sums = torch.zeros((len(self.labels), 4), dtype=torch.float64)

    def add(self, output: ModelOutput, batch: AtomsBatch) -> None:
        """Count a batch in."""
        for row, label in enumerate(self.labels):
            error = residuals(output, batch, label).detach()
            # The loss of a dipole or quadrupole is per atom, its metric is not.
            measured = _whole(error, batch, label) if label in WHOLE else error
            values = [
                torch.tensor(float(error.numel()), dtype=torch.float64),
                measured.abs().sum(),
                measured.square().sum(),
                penalty(error, self.config).sum(),
            ]
            self.sums[row] += torch.stack([v.to("cpu", torch.float64) for v in values])

    def results(self, prefix: str = "") -> dict[str, float]:
        """``{label}_mae`` and ``{label}_rmse``; labels without any component are left out."""
        found: dict[str, float] = {}
        for label, row in zip(self.labels, self.sums.tolist(), strict=True):
            count, absolute, squared, _ = row
            if count:
                scale = 1000.0 if label in MILLI else 1.0
                found[f"{prefix}{label}_mae"] = scale * absolute / count
                found[f"{prefix}{label}_rmse"] = scale * (squared / count) ** 0.5
        return found

    def loss(self) -> float:
        """The weighted loss over everything counted."""
        weights: dict[str, float] = {str(k): v for k, v in self.config.loss.items()}
        return sum(
            weights.get(label, 0.0) * row[3] / row[0]
            for label, row in zip(self.labels, self.sums.tolist(), strict=True)
            if row[0]
        )


def _whole(error: Tensor, batch: AtomsBatch, label: str) -> Tensor:
    reference = getattr(batch, f"label_{label}")
    atoms = batch.nodes_per_graph.view(-1, *(1,) * (reference.dim() - 1))
    return error * atoms.expand_as(reference)[torch.isfinite(reference)]
