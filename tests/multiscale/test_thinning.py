"""Which atoms carry a coarse node: by hand, and how fast that changes."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from ase import Atoms, units
from ase.build import bulk, molecule

import muse_lr
from helpers import geometry_of, rattled_salt
from muse_lr.errors import InputError
from muse_lr.math.switching import smoothstep
from muse_lr.model.serialization import model_state, restore_model
from muse_lr.multiscale.muse.choices import ThinnedNodes
from muse_lr.multiscale.muse.thinning import crowding, masses
from muse_lr.testing.structures import random_rotation


def test_thinning_by_hand():
    """A pair in which one suppresses the other, then a chain of three."""
    index = torch.tensor([[0, 1], [1, 0]])
    window = torch.ones(2, dtype=torch.float64)
    priority = torch.tensor([1.0, 0.0], dtype=torch.float64)
    assert masses(priority, index, window, 0.2, 1.0).tolist() == [1, 0]
    assert masses(priority * 0, index, window, 0.2, 1.0).tolist() == [1, 1]
    chain = torch.tensor([[0, 1, 1, 2], [1, 0, 2, 1]])
    priority = torch.tensor([2.0, 1.0, 0.0], dtype=torch.float64)
    # The first removes the second, which then cannot remove the third.
    assert masses(priority, chain, torch.ones(4).double(), 0.2, 1.0).tolist() == [1, 0, 1]


def test_the_rate_of_a_priority_is_what_moving_neighbors_do_to_it():
    """Against the derivatives that torch finds, and the thermal velocities of ASE."""
    atoms = molecule("CH3CH2OH")
    geometry = geometry_of([atoms])
    fast = units.kB * 300 / atoms.get_masses() * units.fs**2  # mean square of a component
    for receiver in range(len(atoms)):
        positions = geometry.positions.clone().requires_grad_(True)
        sender, other = geometry.edge_index
        lengths = (positions[sender] - positions[other]).norm(dim=1)
        priority, rate = crowding(geometry.numbers, geometry.edge_index, lengths, 3.5)
        (slopes,) = torch.autograd.grad(priority[receiver], positions)
        slopes[receiver] = 0.0
        expected = float((slopes.square().sum(1) * torch.from_numpy(fast)).sum())
        assert float(rate[receiver].detach()) == pytest.approx(expected, rel=1e-12)


def test_both_atoms_of_a_pair_widen_delta():
    index = torch.tensor([[0, 1], [1, 0]])
    priority = torch.tensor([0.3, 0.0], dtype=torch.float64)
    spread = torch.tensor([0.09, 0.26], dtype=torch.float64)
    found = masses(priority, index, torch.ones(2).double(), 0.1, 0.7, spread)
    suppression = smoothstep(torch.tensor(0.3 / np.sqrt(0.01 + 0.09 + 0.26)).double())
    suppression = suppression / (2 - suppression)  # shared with the rival, of which the rest is
    mass = float(smoothstep(1 - 0.7 * suppression))
    expected = [1.0, 1 - (1 - mass) ** 2]
    assert found.tolist() == pytest.approx(expected, abs=1e-15)


def test_a_cell_and_its_supercell_have_the_same_priorities_and_rates():
    crystal = bulk("NaCl", "rocksalt", a=5.6)
    crystal.rattle(0.1, seed=0)
    single, double = (geometry_of([s]) for s in (crystal, crystal.repeat((2, 1, 1))))
    found = [crowding(g.numbers, g.edge_index, g.edge_lengths, 4.7) for g in (single, double)]
    for one, two in zip(*found, strict=True):
        torch.testing.assert_close(one.repeat(2), two, rtol=1e-12, atol=0)


def disordered_water(rng):
    """64 molecules near the points of a grid, in random orientations."""
    water = Atoms(cell=[12.4] * 3, pbc=True)
    for place in itertools.product(range(4), repeat=3):
        one = molecule("H2O")
        one.positions = one.positions @ random_rotation(rng) + 3.1 * np.array(place)
        one.positions += rng.normal(scale=0.3, size=3)
        water += one
    return water


def test_nodes_of_a_liquid_do_not_change_hands_faster_than_its_atoms_move():
    """What a quarter of a femtosecond at the velocities of 300 K moves of the nodes' mass."""
    rng = np.random.default_rng(0)
    moved = {softening: [] for softening in (0.0, 40.0)}
    for _ in range(40):
        water = disordered_water(rng)
        speeds = np.sqrt(units.kB * 300 / water.get_masses())[:, None]
        later = water.copy()
        later.positions += 0.25 * units.fs * speeds * rng.normal(size=(len(water), 3))
        for softening, shares in moved.items():
            choice = ThinnedNodes(0.1, 1.5, softening)
            before, after = (choice(geometry_of([s], 7.0), 5.6, 7.0) for s in (water, later))
            shares.append(float((after - before).abs().sum() / before.sum()))
    assert max(moved[40.0]) < 0.05
    assert max(moved[0.0]) > 3 * max(moved[40.0])


def test_a_model_of_other_equations_is_refused():
    model = muse_lr.build_model(
        {
            "elements": ["H"],
            "backbone": {"kind": "painn", "cutoff": 3.0, "channels": 4, "layers": 1},
            "multiscale": {"kind": "muse", "radius": 4.0, "cutoff": 8.0},
            "charges": None,
            "heads": {},
        }
    )
    data = model_state(model)
    assert isinstance(restore_model(data, "new.pt"), muse_lr.EnergyModel)
    del data["revisions"]
    with pytest.raises(InputError, match=r"old.pt: .*multiscale block.*have changed.*train again"):
        restore_model(data, "old.pt")


def test_a_perfect_lattice_keeps_all_its_atoms():
    geometry = geometry_of([bulk("Na", "sc", a=3.0).repeat((2, 2, 1))])
    assert ThinnedNodes(0.2, 1.5, 40.0)(geometry, 4.5, 6.0).tolist() == [1.0] * 4


def test_it_thins_disordered_matter():
    salt = rattled_salt(0.15, repeat=(3, 3, 3))
    mass = ThinnedNodes(0.2, 1.5, 40.0)(geometry_of([salt]), 4.5, 6.0)
    assert 0.02 < float((mass > 0).double().mean()) < 0.35
