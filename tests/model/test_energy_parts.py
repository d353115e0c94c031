"""Energy, forces and stress of each part, which sum to those of the model."""

from __future__ import annotations

import pytest
import torch

import muse_lr
from charge_systems import FFF, SLABS, TTT, random_structure
from helpers import evaluate, painn_section, random_model
from muse_lr.config.registry import HEADS, lookup

COMPUTE = ("forces", "stress", "parts")


def structure(pbc):
    atoms = random_structure(4, pbc, seed=1)
    atoms.symbols = "HOHO"
    return atoms


def build(heads, **sections):
    heads = {name: {"kind": name} for name in heads}
    e0 = {"H": -1.0, "O": -2.0}
    return random_model(painn_section(["H", "O"], 3.0, e0=e0, heads=heads, **sections))


def heads_of(boundary):
    return [name for name in HEADS if boundary in lookup("head", name).boundaries]


@pytest.mark.parametrize(("boundary", "pbc"), [("FFF", FFF), ("TTF", SLABS[0]), ("TTT", TTT)])
def test_derivatives_of_all_parts_sum_to_those_of_the_model(boundary, pbc):
    """Every head of the registry at once, with a hierarchy and a charge model of its own energy."""
    names = heads_of(boundary)
    multiscale = {"kind": "muse", "radius": 2.4, "cutoff": 5.0, "tensor_channels": 4}
    model = build(names, multiscale=multiscale, charges={"kind": "qeq"})
    out = evaluate(model, [structure(pbc)], *COMPUTE)
    expected = ["e0", "backbone", "multiscale", "charges", *names]
    assert list(out.energy_parts) == list(out.force_parts) == list(out.stress_parts) == expected
    assert float((sum(out.energy_parts.values()) - out.energy).detach().abs()) < 1e-11
    torch.testing.assert_close(sum(out.force_parts.values()), out.forces)
    torch.testing.assert_close(sum(out.stress_parts.values()), out.stress, equal_nan=True)
    assert float(out.force_parts["e0"].abs().max()) == 0
    assert float(out.force_parts["coulomb"].abs().max()) > 1e-3


@pytest.mark.parametrize("head", HEADS)
def test_the_derivatives_of_a_head_are_those_of_a_model_with_it_alone(head):
    """The same weights without the other energies: differences of two models."""
    boundary = "TTT" if "TTT" in lookup("head", head).boundaries else "FFF"
    atoms = structure(TTT if boundary == "TTT" else FFF)
    model = build([head], charges={"kind": "latent"})
    out = evaluate(model, [atoms], *COMPUTE)
    model.head_list, model.head_names = torch.nn.ModuleList(), ()
    without = evaluate(model, [atoms], "forces", "stress")
    torch.testing.assert_close(out.forces - without.forces, out.force_parts[head])
    torch.testing.assert_close(out.stress - without.stress, out.stress_parts[head], equal_nan=True)


def test_parts_can_be_trained_on():
    model = build(["coulomb"]).train()
    out = evaluate(model, [structure(TTT)], *COMPUTE)
    out.force_parts["coulomb"].square().sum().backward()
    assert float(model.charges.offsets.grad.abs().max()) > 0


def test_parts_need_a_derivative():
    model = build(["coulomb"])
    out = evaluate(model, [structure(TTT)], "forces", "parts")
    assert out.force_parts
    assert out.stress is None
    assert not out.stress_parts
    assert not evaluate(model, [structure(TTT)], "forces").force_parts
    with pytest.raises(muse_lr.InputError, match="compute one of them too"):
        evaluate(model, [structure(TTT)], "parts")
