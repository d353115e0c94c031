"""The loss and the gradients of one step."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from muse_lr.data.dataset import Dataset
from muse_lr.model.energy_model import EnergyModel
from muse_lr.train.config import TrainingConfig
from muse_lr.train.losses import computed, label_counts, weighted_loss
from muse_lr.train.ranks import Ranks

if TYPE_CHECKING:
    from muse_lr.structures.batch import AtomsBatch


def add_gradients(
    model: EnergyModel, dataset: Dataset, indices: list[int], config: TrainingConfig, ranks: Ranks
) -> Tensor:
    """Add the gradients of this rank's part of a step to ``grad`` of the parameters.

    The part is computed in micro-batches. The loss of each is divided by the number of labels in
    the whole step, so that the sum does not depend on the division into micro-batches and ranks.

    Parameters
    ----------
    model : EnergyModel
    dataset : Dataset
        Training data.
    indices : list of int
        Structures of the step, for all ranks.
    config : TrainingConfig
    ranks : Ranks

    Returns
    -------
    Tensor
        () this rank's part of the loss.
    """
    labels = tuple(config.loss)
    limits = config.micro_batch
    divided = dataset.micro_batches(ranks.share(indices), limits.graphs, limits.edges)
    batches = [dataset.batch(chosen) for chosen in divided]
    counts = torch.zeros(len(labels), dtype=torch.float64)
    for batch in batches:
        counts += label_counts(batch, labels)
    counts = ranks.sum(counts.to(model.device))
    known = dict(zip(labels, counts.tolist(), strict=True))
    loss = counts.new_zeros(())
    while batches:  # popped, so that the tables of a batch are freed after its use
        loss += _add_part(model, batches.pop(0).to(model.device), config, known)
    return loss


def _add_part(
    model: EnergyModel, batch: AtomsBatch, config: TrainingConfig, counts: dict[str, float]
) -> Tensor:
    output = model(batch, computed(tuple(config.loss)))
    loss = weighted_loss(output, batch, config, counts)
    if loss.requires_grad:
        loss.backward(inputs=[p for p in model.parameters() if p.requires_grad])
    return loss.detach()
