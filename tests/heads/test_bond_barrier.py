"""The bond barrier: its shape, its default gaps, and what it refuses."""

from __future__ import annotations

import pytest
import torch
from ase import Atoms

import muse_lr
from muse_lr.model.describe import describe

START, END, STIFFNESS = 1.1, 1.5, 240.0
HEIGHT = STIFFNESS * (END - START) ** 2 / 19.2


def build(**head):
    section = {"elements": ["H", "C", "O", "Na"], "backbone": None, "charges": None}
    heads = {"bond_barrier": head}
    return muse_lr.build_model(section | {"heads": heads}).to(torch.float64)


def evaluate(model, symbols, distances, compute=()):
    dimers = [Atoms(symbols, [[0, 0, 0], [0, 0, float(d)]]) for d in distances]
    return model(muse_lr.AtomsBatch.from_ase(dimers, cutoff=model.cutoff), compute)


def test_barrier_has_the_stated_height_and_range():
    model = build(gaps={"O-H": [START, END]}, stiffness=STIFFNESS)
    assert model.cutoff == END
    middle = (START + END) / 2
    energy = evaluate(model, "OH", [0.9, START, START + 0.02, middle, END - 0.02, END, 1.7]).energy
    assert energy[[0, 1, 5, 6]].tolist() == [0, 0, 0, 0]
    assert energy[3] == pytest.approx(HEIGHT)
    assert energy[2] == pytest.approx(float(energy[4]))
    assert 0 < energy[2] < 0.01 * HEIGHT
    assert not evaluate(model, "CH", [middle]).energy.any()  # not listed


def test_stiffness_is_the_largest_second_derivative():
    model = build(gaps={"H-O": [START, END]}, stiffness=STIFFNESS)
    step = 1e-3
    distances = torch.arange(START - 0.05, END + 0.05, step, dtype=torch.float64)
    forces = -evaluate(model, "OH", distances, ("forces",)).forces.view(-1, 2, 3)[:, 1, 2]
    curvature = forces.detach().diff() / step
    assert float(curvature.max()) == pytest.approx(STIFFNESS, rel=1e-3)
    assert float(curvature.diff().abs().max()) < 0.1 * STIFFNESS  # continuous, at the ends too


def test_default_gaps_are_those_of_hydrogen_and_nonmetals():
    model = build()
    head = model.heads["bond_barrier"]
    assert head.gaps == {
        "C-H": pytest.approx((1.15 * 1.07, 1.45 * 1.07)),
        "H-O": pytest.approx((1.15 * 0.97, 1.45 * 0.97)),
    }
    assert "C-H 1.23-1.55" in head.describe()[1]
    # A space follows the long name of the head.
    assert any(line.startswith("head bond_barrier bond_barrier, range") for line in describe(model))


def test_a_barrier_without_gaps_is_zero():
    model = build(gaps={})
    out = evaluate(model, "OH", [0.9], ("forces",))
    assert not out.energy.any()
    assert not out.forces.any()
    assert model.heads["bond_barrier"].describe()[1].endswith("none")


@pytest.mark.parametrize(
    ("gaps", "message"),
    [
        ({"H-O": [1.4, 1.1]}, r"the gap of H-O is \[1.4, 1.1\]: it must ascend from 0"),
        ({"H-O": [0.0, 1.1]}, "it must ascend from 0"),
        ({"HO": [1.1, 1.4]}, "'HO' is not a pair of elements such as H-O"),
        ({"H-O": [1.1, 1.4], "O-H": [1.1, 1.3]}, "the pair H-O is listed twice"),
    ],
)
def test_wrong_gaps_are_refused(gaps, message):
    with pytest.raises(muse_lr.InputError, match=message):
        build(gaps=gaps)
