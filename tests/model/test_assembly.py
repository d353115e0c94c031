"""Initial weights: variants of a model start with equal weights where they have equal parts."""

from __future__ import annotations

import pytest
import torch

import muse_lr
from helpers import painn_section

MUSE = {"kind": "muse", "levels": 1, "radius": 2.4, "cutoff": 5.0, "tensor_channels": 4}
HEADS = {"coulomb": {"kind": "coulomb"}, "features": {"kind": "field_features"}}


def weights(seed: int, cutoff: float = 3.5, **sections) -> dict[str, torch.Tensor]:
    torch.manual_seed(seed)
    model = muse_lr.build_model(painn_section(["Na", "Cl"], cutoff, **sections))
    names = {f"head_list.{i}": f"heads.{name}" for i, name in enumerate(model.head_names)}
    found = {}
    for key, value in model.named_parameters():
        for prefix, name in names.items():
            key = key.replace(prefix, name)
        found[key] = value.detach()
    return found


@pytest.mark.parametrize(
    "sections",
    [
        {"charges": None, "heads": {}},
        {"heads": {"features": HEADS["features"]}},
        {"multiscale": MUSE, "heads": HEADS},
        {"charges": {"kind": "latent"}, "heads": HEADS},
        {"heads": dict(reversed(HEADS.items()))},
        {"cutoff": 12.0, "heads": HEADS},
    ],
)
def test_common_parts_start_equal(sections):
    """The parts in ``sections`` come and go; the weights of the others stay."""
    whole = weights(3, heads=HEADS)
    variant = weights(3, **sections)
    changed = [name for name in ("charges", "multiscale") if name in sections]
    if "multiscale" in sections:
        changed.append("heads.features")  # it reads the features of the block, of another size
    common = [k for k in whole if k in variant and not k.startswith(tuple(changed))]
    assert any(k.startswith("backbone") for k in common)
    for key in common:
        assert torch.equal(whole[key], variant[key]), key


def test_seeds_and_slots_differ():
    first, second = weights(3, heads=HEADS), weights(4, heads=HEADS)
    different = {k.split(".")[0] for k in first if not torch.equal(first[k], second[k])}
    assert different == {"backbone", "charges", "heads"}
    two = weights(3, heads={"one": HEADS["features"], "two": HEADS["features"]})
    own = [k for k in two if k.startswith("heads.one")]
    others = [k.replace("heads.one", "heads.two") for k in own]
    assert not all(torch.equal(two[k], two[other]) for k, other in zip(own, others, strict=True))


def test_two_models_of_one_process_differ():
    torch.manual_seed(0)
    section = painn_section(["Na", "Cl"])
    states = [muse_lr.build_model(section).state_dict() for _ in range(2)]
    assert not all(torch.equal(states[0][k], states[1][k]) for k in states[0])
