"""Learning rates of the parts of a model."""

from __future__ import annotations

import pytest
import torch

import muse_lr
from helpers import painn_section
from muse_lr.config.schema import validate
from muse_lr.errors import InputError
from muse_lr.train.config import TrainingConfig
from muse_lr.train.optimizer import build_optimizer, named_by_part, set_rate


def model() -> muse_lr.EnergyModel:
    section = painn_section(
        ["H", "O"],
        multiscale={"kind": "muse", "radius": 4.0, "cutoff": 9.0},
        charges={"kind": "conserved"},
        heads={"coulomb": {"kind": "coulomb"}, "c6": {"kind": "c6"}},
    )
    return muse_lr.build_model(section)


def test_each_part_has_its_factor() -> None:
    built = model()
    factors = {"multiscale": 0.3, "heads": 0.5, "heads.c6": 2.0}
    config = validate(TrainingConfig, {"learning_rates": factors, "learning_rate": 1e-2})
    optimizer = build_optimizer(built, config)
    set_rate(optimizer, 4e-3)
    rate = {p: group["lr"] for group in optimizer.param_groups for p in group["params"]}
    seen = {}
    for part, parameter in named_by_part(built):
        if parameter.requires_grad:
            seen.setdefault(part, set()).add(round(rate[parameter] / 4e-3, 9))
    assert seen["multiscale"] == {0.3}
    assert seen["backbone"] == seen["charges"] == {1.0}
    assert seen["heads.c6"] == {2.0}


def test_one_rate_is_one_group_of_all_parameters() -> None:
    built = model()
    (group,) = build_optimizer(built, TrainingConfig()).param_groups
    trained = [p for p in built.parameters() if p.requires_grad]
    assert len(group["params"]) == len(trained)
    assert all(torch.equal(a, b) for a, b in zip(group["params"], trained, strict=True))


@pytest.mark.parametrize(
    ("rates", "message"),
    [
        ({"muse": 0.3}, "'muse' is no part of a model: use backbone, multiscale"),
        ({"multiscale": 0.0}, "factor of multiscale must be positive and finite, not 0"),
    ],
)
def test_a_part_that_does_not_exist_and_a_rate_of_zero_are_refused(rates, message) -> None:
    with pytest.raises(InputError, match=message):
        validate(TrainingConfig, {"learning_rates": rates})
