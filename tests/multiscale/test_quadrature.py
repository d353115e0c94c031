"""The nodes as a quadrature of the atoms: contents, means, isolated atoms, exchange of levels."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import molecule
from hypothesis import given
from hypothesis import strategies as st

import muse_lr
from helpers import geometry_of, painn_section, random_model, rattled_salt
from muse_lr import AtomsBatch
from muse_lr.model.describe import describe
from muse_lr.multiscale.muse.assignment import assign, kept_nodes, pairs_with_nodes
from muse_lr.multiscale.muse.choices import EveryAtom, ThinnedNodes
from muse_lr.testing import strategies

ELEMENTS = ("H", "C", "O", "Na", "Cl")


def model_of(weights: int | None = 0, **multiscale):
    section = painn_section(
        ELEMENTS,
        multiscale={"kind": "muse", "radius": 4.0, "cutoff": 9.0, **multiscale},
        charges=None,
        heads={},
    )
    return random_model(section, weights=weights)


def placed(geometry, choice, radius=4.0):
    """Nodes and assignment with equal affinities."""
    mass = choice(geometry, 0.8 * radius, radius)
    nodes = kept_nodes(mass, geometry)
    pairs = pairs_with_nodes(nodes, geometry, radius)
    return nodes, assign(nodes, pairs, None, 0.8 * radius, radius, len(mass))


structures = st.one_of(
    strategies.molecules(ELEMENTS, max_atoms=10),
    strategies.crystals(ELEMENTS, max_atoms=6),
    strategies.slabs(ELEMENTS, max_atoms=6),
)


@given(atoms=structures)
def test_contents_sum_to_the_number_of_atoms_and_means_are_means(atoms: Atoms) -> None:
    geometry = geometry_of([atoms], 4.0)
    nodes, assignment = placed(geometry, ThinnedNodes(0.1, 1.5, 45.0))
    assert float(assignment.content.sum()) == pytest.approx(len(atoms), rel=1e-12)
    none = torch.zeros(len(nodes.atoms)).double()
    means = none.index_add(0, assignment.node, assignment.mean_weight)
    torch.testing.assert_close(means, torch.ones_like(means), rtol=0, atol=1e-12)
    near = none.index_add(0, assignment.node, assignment.tensor_weight.square())
    assert float(near.max()) <= 1 + 1e-12  # incoherent sums are of order 1


def test_what_a_node_sees_does_not_depend_on_the_other_nodes() -> None:
    geometry = geometry_of([rattled_salt(0.2)], 4.0)
    few, assignment = placed(geometry, ThinnedNodes(0.1, 1.5, 0.0))
    everything, full = placed(geometry, EveryAtom())
    assert 0 < len(few.atoms) < len(everything.atoms)
    for node, atom in enumerate(few.atoms.tolist()):
        own = assignment.mean_weight[assignment.node == node].sort().values
        torch.testing.assert_close(own, full.mean_weight[full.node == atom].sort().values)


@pytest.mark.parametrize("levels", [1, 2])
def test_an_isolated_atom_has_no_multiscale_energy(levels: int) -> None:
    """E0 is the energy of the isolated atom, and its features are those of the backbone."""
    model = model_of(levels=levels)
    lone = [Atoms(symbol) for symbol in ELEMENTS]
    pair = Atoms("NaCl", [[0, 0, 0], [0, 0, 2.5]])
    batch = AtomsBatch.from_ase([*lone, pair], model.cutoff)
    output = model(batch)
    energies = output.energy_parts["multiscale"].tolist()
    assert energies[:-1] == [0.0] * len(lone)
    assert abs(energies[-1]) > 1e-3
    bare = random_model(painn_section(ELEMENTS, charges=None, heads={}))
    bare.backbone.load_state_dict(model.backbone.state_dict())
    own = bare(batch).features.scalars
    torch.testing.assert_close(output.features.scalars[:5], own[:5], rtol=0, atol=0)


def test_coarser_levels_tell_the_nodes_of_finer_ones() -> None:
    """What a coarser level returns to the atoms changes the nodes and the energy of the finest."""
    model = model_of(levels=2)
    finest, coarsest = model.multiscale.levels
    assert finest.back is not None
    assert coarsest.back is None
    batch = AtomsBatch.from_ase([molecule("CH3CH2OH")], model.cutoff)
    seen, energies = [], []
    finest.back.register_forward_hook(lambda *parts: seen.append(parts[-1][1].scalars))
    whole = type(finest).energy

    def energy(state, num_graphs):
        energies.append(whole(finest, state, num_graphs))
        return energies[-1]

    finest.energy = energy
    with torch.no_grad():
        model(batch)
        coarsest.unpooling.value.weight.mul_(2)
        model(batch)
    assert float((seen[0] - seen[1]).abs().max()) > 1e-4
    assert abs(float(energies[0] - energies[1])) > 1e-6


def test_the_constant_of_the_contents_comes_from_the_data() -> None:
    """The mean over atoms of the contents of their nodes, in batches and for each level."""
    model = model_of(levels=2)
    listed = [rattled_salt(0.2), molecule("CH3CH2OH")]
    model.multiscale.calibrate([geometry_of([atoms], model.cutoff) for atoms in listed])
    for level in model.multiscale.levels:
        contents = torch.cat(
            [level.place(geometry_of([a], model.cutoff))[1].content for a in listed]
        )
        expected = float(contents.square().sum() / contents.sum())
        assert float(level.mean_content) == pytest.approx(expected, rel=1e-12)
        assert sum(map(len, listed)) == pytest.approx(float(contents.sum()))
    text = "\n".join(describe(model))
    assert f"M_0 = {float(model.multiscale.levels[0].mean_content):.3g} atoms" in text


def test_tensors_of_order_two_of_the_backbone_are_pooled() -> None:
    """With l = 2 in the backbone, a node reads it."""
    pytest.importorskip("mace", reason="the extra of mace is not installed")
    section = painn_section(
        ELEMENTS,
        backbone={"kind": "mace", "cutoff": 3.5, "channels": 8, "layers": 2, "l_max": 2},
        multiscale={"kind": "muse", "radius": 4.0, "cutoff": 9.0, "backbone": "none"},
        charges=None,
        heads={},
    )
    model = random_model(section)
    assert set(model.multiscale.levels[0].pooling.carries) == {"1", "2"}
    output = model(AtomsBatch.from_ase([molecule("CH3CH2OH")], model.cutoff))
    output.energy_parts["multiscale"].sum().backward()
    assert float(model.multiscale.levels[0].pooling.carries["2"].weight.grad.abs().max()) > 0


def test_the_modules_can_take_the_keys_of_the_atoms() -> None:
    section = painn_section(ELEMENTS, charges=None, heads={})
    section["backbone"] = {**section["backbone"], "num_radial": 7}
    models = {
        asked: random_model({**section, "multiscale": {"kind": "muse", "backbone": asked}})
        for asked in ("atoms", "painn")
    }
    kept = {name: model.config.multiscale.backbone for name, model in models.items()}
    assert kept["atoms"]["num_radial"] == 7
    assert kept["painn"]["num_radial"] == int(np.ceil(1.6 * section["backbone"]["cutoff"]))
    again = muse_lr.build_model(models["atoms"].config.model_dump())
    assert again.config == models["atoms"].config
