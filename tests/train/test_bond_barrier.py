"""The barrier that a training adds behind bonds to hydrogen, and where it adds none."""

from __future__ import annotations

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.io import write

import muse_lr
from muse_lr.config.yaml import dump_yaml
from muse_lr.data.distances import pair_distances
from muse_lr.heads.bond_barrier import BondBarrierConfig
from muse_lr.train import bond_barrier
from muse_lr.train.bond_barrier import find_gaps
from muse_lr.train.config import load_config
from muse_lr.train.setup import draft, prepare, read_data

BACKBONE = {"kind": "painn", "channels": 4, "layers": 1, "cutoff": 4.0}
#: Lengths of bonds in water, A.
BONDS = (0.9, 1.1)


def hydroxide_chain(count: int, bonds=BONDS, contact: float = 1.5, symbols: str = "OH") -> Atoms:
    """Pairs of bonded atoms in a row, each with the contact distance to the next."""
    lengths = np.linspace(*bonds, count)
    starts = np.cumsum(lengths + contact) - lengths
    places = np.stack([starts, starts + lengths], axis=1).ravel()
    return Atoms(symbols * count, np.outer(places, [0, 0, 1]))


def gaps_of(atoms: Atoms) -> dict[str, tuple[float, float]]:
    return find_gaps(pair_distances([atoms], 4.0), 4.0)


def test_the_gap_of_water_is_found():
    assert gaps_of(hydroxide_chain(500)) == {
        "H-O": pytest.approx((1.1 / 0.98, 1.45 * 0.97), abs=1e-4)
    }
    closer = hydroxide_chain(500, contact=1.38)
    assert gaps_of(closer)["H-O"][1] == pytest.approx(0.98 * 1.38, abs=1e-4)
    rest = hydroxide_chain(500, bonds=(0.95, 0.97))
    assert gaps_of(rest)["H-O"][0] == pytest.approx(1.15 * 0.97, abs=1e-4)


@pytest.mark.parametrize(
    "atoms",
    [
        hydroxide_chain(499),
        hydroxide_chain(600, bonds=(0.9, 1.5)),
        hydroxide_chain(600, contact=1.29),
        hydroxide_chain(600, bonds=(1.3, 1.5), symbols="CC"),
        hydroxide_chain(600, bonds=(1.6, 1.8), symbols="HNa"),
        bulk("Cu") * (9, 9, 9),
    ],
    ids=["few samples", "reactive", "narrow", "carbon", "ionic", "metal"],
)
def test_no_gap(atoms):
    assert gaps_of(atoms) == {}


def test_a_gap_ends_within_the_range_of_the_search():
    found = pair_distances([hydroxide_chain(500, contact=3.0)], 1.3)
    assert find_gaps(found, 1.3)["H-O"][1] == pytest.approx(0.98 * 1.3)


def configured(tmp_path, model=None, **training):
    rng = np.random.default_rng(0)
    frames = []
    for last in (1.05, 1.08, 1.06, 1.1):
        atoms = hydroxide_chain(5, bonds=(0.9, last))
        atoms.info |= {"REF_energy": float(rng.normal()), "REF_dipole": rng.normal(size=3)}
        atoms.arrays["REF_forces"] = rng.normal(size=(10, 3))
        frames.append(atoms)
    write(tmp_path / "a.xyz", frames, format="extxyz")
    config = {
        "model": {"backbone": BACKBONE, **(model or {})},
        "data": {"train": "a.xyz", "valid": 0.25},
        "training": {"epochs": 1, "directory": "run", "device": "cpu", **training},
    }
    dump_yaml(config, tmp_path / "config.yaml")
    return load_config(tmp_path / "config.yaml"), frames


@pytest.fixture
def few(monkeypatch):
    """Make 20 bonds sufficient."""
    monkeypatch.setattr(bond_barrier, "FEWEST_BONDS", 20)


@pytest.mark.usefixtures("few")
def test_a_training_adds_a_barrier_that_is_zero_for_its_data(tmp_path):
    config, frames = configured(tmp_path)
    setup = prepare(config)
    assert list(setup.model.heads) == ["coulomb", "repulsion", "bond_barrier"]
    batch = muse_lr.AtomsBatch.from_ase(frames, cutoff=setup.model.cutoff)
    assert not setup.model(batch).energy_parts["bond_barrier"].any()
    start, end = setup.config.model.heads["bond_barrier"].gaps["H-O"]
    assert start == pytest.approx(1.1 / 0.98, abs=1e-4)
    broken = frames[0].copy()
    broken.positions[-1, 2] = broken.positions[-2, 2] + (start + end) / 2
    batch = muse_lr.AtomsBatch.from_ase([broken], cutoff=setup.model.cutoff)
    assert float(setup.model(batch).energy_parts["bond_barrier"]) > 1.0
    (note,) = [note for note in setup.notes if "bond_barrier" in note]
    assert "H-O 1.12-1.41 Å (1.26 eV); `model.heads.bond_barrier: null` switches it off" in note
    again, _ = configured(tmp_path, seed=1)  # other validation frames
    assert prepare(again).config.model.heads["bond_barrier"].gaps == {"H-O": (start, end)}


@pytest.mark.usefixtures("few")
@pytest.mark.parametrize(
    ("model", "training"),
    [
        ({"heads": {"coulomb": {}, "bond_barrier": None}}, {}),
        ({"heads": {"coulomb": {}, "bond_barrier": {"kind": "c6"}}}, {}),
        ({}, {"loss": {"dipole": 1.0}}),
    ],
    ids=["null", "another kind", "loss of charges"],
)
def test_what_gets_no_barrier(tmp_path, model, training):
    heads = prepare(configured(tmp_path, model, **training)[0]).config.model.heads
    assert not any(isinstance(head, BondBarrierConfig) for head in heads.values())


@pytest.mark.usefixtures("few")
def test_a_plan_adds_no_barrier_because_it_measures_nothing(tmp_path):
    config, _ = configured(tmp_path)
    heads = draft(config, read_data(config), count_neighbors=False).model.heads
    assert list(heads) == ["coulomb", "repulsion"]


def test_a_barrier_of_the_user_is_completed_or_kept(tmp_path):
    own = {"heads": {"mine": {"kind": "bond_barrier", "stiffness": 100.0}}}
    setup = prepare(configured(tmp_path, own)[0])  # with too few bonds for a gap
    assert setup.config.model.heads["mine"].gaps == {}
    assert any("do not have: none; `model.heads.mine: null`" in note for note in setup.notes)
    own["heads"]["mine"]["gaps"] = {"H-O": [1.2, 1.3]}
    setup = prepare(configured(tmp_path, own)[0])
    assert setup.config.model.heads["mine"].gaps == {"H-O": (1.2, 1.3)}
    assert "bond_barrier" not in setup.model.heads
