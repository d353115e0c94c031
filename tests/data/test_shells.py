"""The cutoff lies between the shells of a crystal, and stays as it is elsewhere."""

from __future__ import annotations

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, molecule

from muse_lr.data.scaffold.shells import Shells, find_shells


def rattled(atoms: Atoms, size: float, count: int = 8) -> list[Atoms]:
    frames = []
    for seed in range(count):
        frame = atoms.copy()
        frame.rattle(size, seed=seed)
        frames.append(frame)
    return frames


def perovskite(size: float = 0.2) -> list[Atoms]:
    """CsPbBr3: Br-Cs and Br-Br at 4.15 A, Cs-Pb at 5.08 A, equal sites at 5.87 A."""
    sites = [[0.5, 0.5, 0.5], [0, 0, 0], [0.5, 0, 0], [0, 0.5, 0], [0, 0, 0.5]]
    cell = Atoms("CsPbBr3", scaled_positions=sites, cell=[5.87] * 3, pbc=True)
    return rattled(cell.repeat(2), size)


@pytest.mark.parametrize("size", [0.05, 0.2])
def test_late_first_shells_are_inside(size: float):
    """A gap at 4.6 A, as sharp as at 5.4 A, leaves out all neighbors of Cs and Pb."""
    shells = find_shells(perovskite(size))
    small, large = (shells.choose(usual) for usual in (4.5, 5.0))
    assert 5.2 <= small.value <= 5.6
    assert "leave out the neighbors Cs-Pb" in small.reason
    assert 5.2 <= large.value <= 5.6
    assert large.value >= small.value


def test_a_dense_shell_is_not_cut():
    """NaCl has shells at 3.99, 4.88 and 5.64 A."""
    shells = find_shells(rattled(bulk("NaCl", "rocksalt", a=5.64, cubic=True), 0.07))
    assert shells.choose(4.5).value == 4.5
    assert "cuts no dense shell" in shells.choose(4.5).reason
    found = shells.choose(5.0)
    assert 5.1 <= found.value <= 5.4
    assert found.reason == "in a gap of the distances: 5 A would cut the shell of Na-Cl"


def test_neighbors_are_counted():
    shells = find_shells(rattled(bulk("NaCl", "rocksalt", a=5.64, cubic=True), 0.01))
    at = {r: int(r / 0.05) for r in (3.4, 4.4)}
    assert shells.neighbors["Na-Cl"][at[3.4]] == pytest.approx(6)
    assert shells.neighbors["Na-Na"][at[3.4]] == 0
    assert shells.neighbors["Cl-Cl"][at[4.4]] == pytest.approx(12)


def test_liquids_and_molecules_keep_the_usual_cutoff():
    rng = np.random.default_rng(0)
    gas = [Atoms("Ar60", rng.uniform(0, 14, (60, 3)), cell=[14] * 3, pbc=True) for _ in range(8)]
    large = rattled(molecule("C60"), 0.1)
    chains = [
        Atoms("C40", np.cumsum(rng.normal(0, 0.9, (40, 3)), axis=0)) for _ in range(8)
    ]  # their density falls with the distance
    for frames in (gas, chains):
        found = find_shells(frames).choose(5.0)
        assert (found.value, "no clear gap" in found.reason) == (5.0, True)
    assert 4.7 <= find_shells(large).choose(5.0).value <= 6.0


def test_too_few_distances_are_no_shells():
    shells = find_shells(rattled(molecule("H2O"), 0.05))
    assert shells == Shells({}, {})
    assert shells.choose(4.5).value == 4.5


def test_large_frames_are_sampled(monkeypatch):
    counted = []
    monkeypatch.setattr(
        "muse_lr.data.scaffold.shells._count", lambda atoms, counts: counted.append(len(atoms))
    )
    find_shells([Atoms(f"Ar{n}") for n in (12_000, 12_000, 10)])
    assert counted == [12_000]
    counted.clear()
    find_shells([Atoms("Ar2")] * 1000)
    assert len(counted) <= 17
