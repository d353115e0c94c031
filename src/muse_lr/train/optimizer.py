"""The optimizer of a run, with a learning rate for each part of the model."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from muse_lr.model.energy_model import EnergyModel
from muse_lr.train.config import TrainingConfig


def build_optimizer(model: EnergyModel, config: TrainingConfig) -> torch.optim.AdamW:
    """AdamW with AMSGrad for the parameters that are trained.

    Parameters of equal factors of ``training.learning_rates`` are in one group, in which the factor
    is stored as ``factor``.
    """
    groups: dict[float, list[nn.Parameter]] = {}
    for name, parameter in named_by_part(model):
        if parameter.requires_grad:
            groups.setdefault(_factor(name, config.learning_rates), []).append(parameter)
    sections: list[dict[str, Any]] = [
        {"params": parameters, "factor": factor} for factor, parameters in groups.items()
    ]
    return torch.optim.AdamW(
        sections, lr=config.learning_rate, weight_decay=config.weight_decay, amsgrad=True
    )


def set_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    """Set the learning rate of all groups, each multiplied by its factor."""
    for group in optimizer.param_groups:
        group["lr"] = rate * group["factor"]


def named_by_part(model: EnergyModel) -> list[tuple[str, nn.Parameter]]:
    """Parameters with the part that they belong to: backbone, multiscale, charges, heads.NAME."""
    slots: dict[str, nn.Module | None] = {
        "backbone": model.backbone,
        "multiscale": model.multiscale,
        "charges": model.charges,
        **{f"heads.{name}": head for name, head in model.heads.items()},
    }
    part_of: dict[nn.Parameter, str] = {}
    for name, part in slots.items():
        for parameter in part.parameters() if part is not None else ():
            part_of.setdefault(parameter, name)
    return [(part_of.get(parameter, ""), parameter) for parameter in model.parameters()]


def _factor(part: str, factors: dict[str, float]) -> float:
    """Factor of a part; that of a head by its name has priority over that of all heads."""
    return factors.get(part, factors.get(part.split(".", 1)[0], 1.0))
