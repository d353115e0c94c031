"""Neighbor lists with a skin: complete at every step of a path, and reused."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from ase.build import bulk, molecule

from muse_lr.errors import InputError
from muse_lr.structures.batch import AtomsBatch, atoms_to_data
from muse_lr.structures.verlet_list import VerletList


def pairs(batch: AtomsBatch, cutoff: float) -> list[tuple[int, int, float]]:
    """Edges within the cutoff, with their lengths."""
    sender, receiver = batch.edge_index
    shift = torch.einsum("ea,eab->eb", batch.edge_shift.double(), batch.cell[batch.batch[receiver]])
    vectors = batch.positions[sender] + shift - batch.positions[receiver]
    lengths = vectors.norm(dim=1)
    kept = (lengths < cutoff).nonzero()[:, 0].tolist()
    return sorted((int(sender[e]), int(receiver[e]), round(float(lengths[e]), 9)) for e in kept)


@pytest.mark.parametrize("change", ["none", "breathing", "shear"])
def test_the_list_is_complete_along_a_path(change):
    structures = [bulk("NaCl", "rocksalt", a=5.6, cubic=True), molecule("H2O")]
    data = [atoms_to_data(atoms, None) for atoms in structures]
    verlet, cutoff = VerletList(3.5, 0.6), 3.5
    rng = np.random.default_rng(0)
    start = AtomsBatch.from_structures(data)
    positions, cell, builds = start.positions, start.cell.clone(), 0
    for step in range(60):
        positions = positions + 0.03 * torch.from_numpy(rng.normal(size=positions.shape))
        deform = torch.eye(3, dtype=torch.float64)
        if change == "breathing":
            deform = deform * (1 + 0.01 * np.sin(step))
        elif change == "shear":
            deform[0, 1] = 0.01 * np.cos(step)
        cell[0] = cell[0] @ deform
        positions = torch.cat([positions[:8] @ deform, positions[8:]])
        moved = AtomsBatch.from_structures(data)
        moved.positions, moved.cell = positions, cell.clone()
        builds += verlet.attach(moved)
        fresh = AtomsBatch.from_structures(data)
        fresh.positions, fresh.cell = positions, cell.clone()
        VerletList(cutoff, 0.0).attach(fresh)
        assert pairs(moved, cutoff) == pairs(fresh, cutoff)
    assert 2 <= builds < 40


def test_a_batch_of_other_atoms_gets_its_own_list():
    verlet = VerletList(3.0, 1.0)
    water, salt = (
        AtomsBatch.from_structures([atoms_to_data(atoms, None)])
        for atoms in (molecule("H2O"), bulk("NaCl", "rocksalt", a=5.6))
    )
    assert verlet.attach(water)
    assert not verlet.attach(water)
    assert verlet.attach(salt)
    verlet.forget()
    assert verlet.attach(salt)


def test_positions_that_are_not_finite_name_the_structure():
    data = [atoms_to_data(molecule("H2O"), None)] * 2
    batch = AtomsBatch.from_structures(data)
    batch.positions[4] = torch.nan
    with pytest.raises(InputError, match="structure 1: atom 1"):
        VerletList(3.0, 1.0).attach(batch)
    with pytest.raises(InputError, match="skin"):
        VerletList(3.0, -1.0)


def test_wrapped_atoms_keep_their_list():
    """The engine wraps, the cell breathes: same pairs as those of a new list, without a build."""
    structures = [bulk("NaCl", "rocksalt", a=5.6, cubic=True), molecule("H2O")]
    data = [atoms_to_data(atoms, None) for atoms in structures]
    verlet, batch = VerletList(3.5, 0.6), AtomsBatch.from_structures(data)
    assert verlet.attach(batch)
    moved = AtomsBatch.from_structures(data)
    moved.cell[0] *= 1.01
    moved.positions[:8] *= 1.01
    wrapped = moved.clone()
    wrapped.positions[:8] += torch.tensor([[3.0, -1.0, 2.0]]).double() @ moved.cell[0]
    wrapped.positions[:2] -= 2 * moved.cell[0, 1]
    wrapped.positions += 0.01
    assert not torch.allclose(wrapped.positions, moved.positions + 0.01)
    verlet.unwrap(wrapped)
    torch.testing.assert_close(wrapped.positions, moved.positions + 0.01)
    assert not verlet.attach(wrapped)
    VerletList(3.5, 0.0).attach(moved)
    assert pairs(wrapped, 3.5) == pairs(moved, 3.5)
    other = AtomsBatch.from_structures(data[:1])
    before = other.positions.clone()
    verlet.unwrap(other)
    assert torch.equal(other.positions, before)
