"""``model(batch, only=...)``: the chosen energies, and nothing else is evaluated."""

from __future__ import annotations

from collections import Counter

import pytest
import torch

import muse_lr
from charge_systems import FFF, TTT, random_structure
from helpers import fixed_charge_model, painn_section, random_model
from muse_lr.config.registry import HEADS, lookup

MUSE = {"kind": "muse", "radius": 2.4, "cutoff": 5.0, "tensor_channels": 4}


def batch_of(model, pbc):
    structures = [random_structure(4, pbc, seed=seed) for seed in (1, 2)]
    for atoms in structures:
        atoms.symbols = "HOHO"
    return muse_lr.AtomsBatch.from_ase(structures, cutoff=model.cutoff)


def build(heads, **sections):
    e0 = {"H": -1.0, "O": -2.0}
    heads = {name: {"kind": name} for name in heads}
    return random_model(painn_section(["H", "O"], 3.0, e0=e0, heads=heads, **sections))


def counted(model):
    """Count the evaluations of each part of a model."""
    counts = Counter()
    parts = model.parts
    slots = {"backbone": parts.backbone, "multiscale": parts.multiscale, "charges": parts.charges}
    for name, part in (slots | parts.heads).items():
        if part is not None:
            part.register_forward_hook(lambda *_, name=name: counts.update([name]))
    return counts


@pytest.mark.parametrize("boundary", ["FFF", "TTT"])
def test_each_energy_alone_is_the_term_of_the_whole_model(boundary):
    """Every registered head, the four slots and e0, with their forces and stress."""
    heads = [name for name in HEADS if boundary in lookup("head", name).boundaries]
    model = build(heads, multiscale=MUSE, charges={"kind": "qeq"})
    batch = batch_of(model, TTT if boundary == "TTT" else FFF)
    compute = ("forces", "stress", "parts")
    whole = model(batch, compute)
    for name in ("e0", "backbone", "multiscale", "charges", *heads):
        alone = model(batch, ("forces", "stress"), only=name)
        assert list(alone.energy_parts) == [name]
        torch.testing.assert_close(alone.energy, whole.energy_parts[name], rtol=1e-12, atol=1e-12)
        torch.testing.assert_close(alone.forces, whole.force_parts[name], rtol=1e-9, atol=1e-10)
        torch.testing.assert_close(
            alone.stress, whole.stress_parts[name], rtol=1e-9, atol=1e-12, equal_nan=True
        )
    some = model(batch, "forces", only=("backbone", "coulomb"))
    expected = whole.energy_parts["backbone"] + whole.energy_parts["coulomb"]
    torch.testing.assert_close(some.energy, expected)
    forces = whole.force_parts["backbone"] + whole.force_parts["coulomb"]
    torch.testing.assert_close(some.forces, forces, rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize(
    ("only", "compute", "evaluated"),
    [
        ("e0", (), set()),
        (["backbone"], (), {"backbone"}),
        ("multiscale", (), {"backbone", "multiscale"}),
        ("zbl", (), {"zbl"}),
        (("zbl", "d3"), (), {"zbl", "d3"}),
        ("coulomb", (), {"backbone", "charges", "coulomb"}),
        ("c6", (), {"backbone", "multiscale", "c6"}),
        ("zbl", "dipole", {"backbone", "charges", "zbl"}),
        (("coulomb", "zbl"), "potential", {"backbone", "charges", "coulomb", "zbl"}),
    ],
)
def test_what_is_not_needed_is_not_evaluated(only, compute, evaluated):
    charges = {"kind": "conserved", "input": "backbone"}
    model = build(["coulomb", "zbl", "d3", "c6"], multiscale=MUSE, charges=charges)
    batch = batch_of(model, FFF)
    counts = counted(model)
    model(batch, compute, only=only)
    assert counts == dict.fromkeys(evaluated, 1)
    model(batch)
    every = {"backbone", "multiscale", "charges", *model.heads}
    assert counts == {name: 1 + (name in evaluated) for name in every}


def test_fixed_charges_do_not_need_the_backbone():
    charges = {"kind": "fixed", "by_element": {"H": 0.4, "O": -0.4}}
    model = build(["coulomb"], charges=charges)
    batch = batch_of(model, TTT)
    counts = counted(model)
    out = model(batch, only="coulomb")
    assert counts == {"charges": 1, "coulomb": 1}
    alone = fixed_charge_model({"H": 0.4, "O": -0.4}, width=1.0, coulomb={"cutoff": 3.0})
    torch.testing.assert_close(out.energy, alone(batch_of(alone, TTT)).energy)


def test_e0_is_an_energy_among_others():
    model = build(["coulomb"], charges={"kind": "conserved"})
    batch = batch_of(model, FFF)
    whole, rest = model(batch), model(batch, only=("backbone", "coulomb"))
    torch.testing.assert_close(whole.energy - rest.energy, torch.full((2,), -6.0).double())
    torch.testing.assert_close(model(batch, only="e0").energy, torch.full((2,), -6.0).double())


@pytest.mark.parametrize(
    ("only", "compute", "message"),
    [
        ("colomb", (), r"'colomb' is no energy of this model \(did you mean 'coulomb'\?\); "),
        ("multiscale", (), "energies of this model: e0, backbone, charges, coulomb"),
        ((), (), "only is empty"),
        (3, (), "only is 3"),
        ([3], (), "3 is no energy"),
        ("charges", (), "has no energy 'charges'"),
        ("backbone", "potential", "add 'coulomb' to only"),
    ],
)
def test_wrong_names(only, compute, message):
    model = build(["coulomb"], charges={"kind": "conserved"})
    with pytest.raises(muse_lr.InputError, match=message):
        model(batch_of(model, FFF), compute, only=only)
