"""What nodes receive and who carries them: the choices other than the default ones."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import molecule
from ase.io import write
from hypothesis import given, settings
from hypothesis import strategies as st

import muse_lr
from helpers import geometry_of, painn_section, random_model, rattled_salt
from muse_lr import testing
from muse_lr.data.formats import read_atoms
from muse_lr.math.harmonics import solid_harmonics
from muse_lr.math.multipoles import to_standard_order
from muse_lr.math.switching import switch_off
from muse_lr.model.describe import describe
from muse_lr.multiscale.muse.assignment import assign, kept_nodes, pairs_with_nodes
from muse_lr.multiscale.muse.choices import GivenNodes, ThinnedNodes
from muse_lr.multiscale.muse.moments import MomentPooling
from muse_lr.multiscale.muse.pooling import AtomTensors
from muse_lr.multiscale.muse.tensors import matrices_to_standard
from muse_lr.multiscale.muse.thinning import coverage_bound
from muse_lr.reporting.coarse_summary import described_atoms, summarize
from muse_lr.testing import strategies

ELEMENTS = ("H", "C", "N", "O", "Na", "Cl")


def model_of(*, weights=1, **multiscale):
    multiscale = {"kind": "muse", "radius": 4.0, "cutoff": 8.0, **multiscale}
    section = painn_section(ELEMENTS, multiscale=multiscale, charges=None, heads={})
    return random_model(section, weights=weights)


initial_model = partial(model_of, weights=None)


def check_everything(model, molecule, crystal):
    """Symmetry, extensivity and derivatives of a molecule and a crystal."""
    for atoms in (molecule, crystal):
        testing.check_rotation(model, atoms)
        testing.check_reflection(model, atoms)
        testing.check_translation(model, atoms)
        testing.check_permutation(model, atoms)
        testing.check_forces(model, atoms)
        testing.check_hessian_symmetric(model, atoms)
    testing.check_far_copies(model, molecule, strict=True)
    testing.check_supercell(model, crystal)
    testing.check_wrapping(model, crystal)
    testing.check_stress(model, crystal)
    testing.check_batch(model, [molecule, crystal])


def test_moments_of_the_nodes_are_those_of_the_atoms():
    """The sums over atoms of r^l Y_l, with harmonics that the pooling does not use."""
    torch.manual_seed(0)
    geometry = geometry_of([molecule("CH3CH2OH")], 4.0)
    n = len(geometry.numbers)
    pooling = MomentPooling(5, 3, 2, 4.0, 2).double()
    scalars = torch.randn(n, 5, dtype=torch.float64)
    nodes = kept_nodes(ThinnedNodes(0.2, 1.5, 40.0)(geometry, 3.0, 4.0), geometry)
    assignment = assign(nodes, pairs_with_nodes(nodes, geometry, 4.0), None, 3.0, 4.0, n)
    nothing = torch.zeros(n, 3, 0).double()
    pooled = pooling(AtomTensors(scalars, None, None, nothing, None), assignment, len(nodes.atoms))
    strengths = [linear(scalars) for linear in (pooling.value, *pooling.strengths)]
    offset = geometry.positions[:, None] - geometry.positions[nodes.atoms]
    pull = torch.zeros(n, len(nodes.atoms)).double()
    pull[assignment.atom, assignment.node] = assignment.mean_weight
    expected = [
        torch.einsum("ik,ikm,ic->kmc", pull, solid_harmonics(order, offset / 4.0), strength)
        for order, strength in enumerate(strengths)
    ]
    torch.testing.assert_close(pooled.scalars, expected[0][:, 0])
    torch.testing.assert_close(to_standard_order(pooled.vectors), expected[1])
    torch.testing.assert_close(matrices_to_standard(pooled.matrices), expected[2])


@pytest.mark.parametrize("l_max", [0, 1, 2])
def test_pooling_by_moments_keeps_the_contract(l_max):
    model = model_of(pooling="moments", l_max=l_max)
    check_everything(model, molecule("CH3CH2OH"), rattled_salt(0.2))
    testing.check_parameters_receive_gradients(
        initial_model(pooling="moments", l_max=l_max), [molecule("CH3CH2OH"), rattled_salt(0.2)]
    )


def grouped(atoms, index):
    atoms = atoms.copy()
    atoms.arrays["coarse_index"] = np.asarray(index)
    return atoms


def waters(count, seed=0):
    """A cube of water molecules, each a group, wrapped so that some are cut by the boundary."""
    rng = np.random.default_rng(seed)
    box = Atoms(cell=[3.1 * count] * 3, pbc=True)
    for place in np.ndindex(count, count, count):
        one = molecule("H2O")
        one.rotate(rng.uniform(0, 180), rng.normal(size=3), center="com")
        one.positions += 3.1 * np.array(place) + rng.normal(scale=0.1, size=3)
        box += one
    box = grouped(box, np.arange(len(box)) // 3)
    box.wrap()
    return box


def test_one_node_for_each_given_molecule():
    """As thick as they lie, each molecule has its node on its oxygen, which it shares with none."""
    box = waters(3)
    output = model_of(nodes="given")(muse_lr.AtomsBatch.from_ase([box], cutoff=4.0))
    nodes, assignment = output.levels[0]
    assert nodes.atoms.tolist() == list(range(0, 81, 3))
    assert nodes.mass.tolist() == [1.0] * 27
    shares = torch.zeros(81, 27).double()
    shares[assignment.atom, assignment.node] = assignment.share
    torch.testing.assert_close(shares, torch.eye(27).double().repeat_interleave(3, 0))
    _, thinned = model_of()(muse_lr.AtomsBatch.from_ase([box], cutoff=4.0)).levels[0]
    assert float(thinned.share[thinned.share > 0].detach().min()) < 0.5


@settings(max_examples=5 * settings.default.max_examples)
@given(
    atoms=st.one_of(
        strategies.molecules(ELEMENTS, max_atoms=12), strategies.crystals(ELEMENTS, max_atoms=8)
    ),
    seed=st.integers(0, 10**6),
)
def test_every_atom_of_a_group_is_covered_by_it(atoms, seed):
    index = np.random.default_rng(seed).integers(-1, 3, len(atoms))
    geometry = geometry_of([grouped(atoms, index)], 4.0)
    choice = GivenNodes(0.2, 1.5, 40.0)
    nodes = kept_nodes(choice(geometry, 3.0, 4.0), geometry)
    pairs = pairs_with_nodes(nodes, geometry, 4.0, choice.allowed(geometry))
    assignment = assign(nodes, pairs, None, 3.0, 4.0, len(atoms))
    group = torch.from_numpy(index)
    assert (group[assignment.atom] == group[nodes.atoms[assignment.node]]).all()
    weight = switch_off(assignment.lengths, 3.0, 4.0) * nodes.mass[assignment.node]
    covered = torch.zeros(len(atoms)).double().index_add(0, assignment.atom, weight)
    sums = torch.zeros(len(atoms)).double().index_add(0, assignment.atom, assignment.share)
    assert (covered[group >= 0] >= coverage_bound(1.5) - 1e-9).all()
    torch.testing.assert_close(sums, (group >= 0).double(), rtol=0, atol=1e-12)


@pytest.mark.parametrize("levels", [1, 2])
def test_given_groups_keep_the_contract(levels):
    """Permuted with their atoms, repeated with their cell, across a boundary, alone and batched."""
    alcohol = grouped(molecule("CH3CH2OH"), [0, 0, 1, 1, 0, 0, 1, 0, -1])
    model = model_of(nodes="given", levels=levels)
    crystal = grouped(rattled_salt(0.2), [0, 0, 1, 1, 7, 7, -1, -1])
    check_everything(model, alcohol, waters(2) if levels == 1 else crystal)


def test_the_numbers_of_groups_mean_nothing_and_the_grouping_something():
    model = model_of(nodes="given")
    alcohol = molecule("CH3CH2OH")
    listed = [[0] * 5 + [1] * 4, [12] * 5 + [3] * 4, [0.0] * 5 + [1.0] * 4, [0] * 4 + [1] * 5]
    batch = muse_lr.AtomsBatch.from_ase([grouped(alcohol, index) for index in listed], cutoff=4.0)
    energies = model(batch).energy
    torch.testing.assert_close(energies[:3], energies[0].expand(3), rtol=0, atol=1e-12)
    assert abs(float(energies[3] - energies[0])) > 1e-6
    alcohol.calc = muse_lr.Calculator(model)
    for index, energy in zip(listed, energies.tolist(), strict=True):
        alcohol.arrays["coarse_index"] = np.array(index)
        assert alcohol.get_potential_energy() == pytest.approx(energy, abs=1e-10)


def test_groups_that_are_missing_or_none_are_refused(tmp_path):
    model = model_of(nodes="given")
    water = molecule("H2O")
    listed = [grouped(water, [0, 0, 0]), water]
    with pytest.raises(muse_lr.InputError, match="structure 1 has no groups of atoms"):
        model(muse_lr.AtomsBatch.from_ase(listed, cutoff=4.0))
    for index, message in (
        ([0, -2, 0], "coarse_index of atom 1 is -2: .* from 0 on, or -1"),
        ([0, 0, 0.5], "coarse_index of atom 2 is 0.5"),
        ([0, np.nan, 0], "coarse_index of atom 1 is nan"),
        (["a", "b", "c"], "one whole number for each atom"),
        (np.zeros((3, 2), int), "one whole number for each atom"),
    ):
        with pytest.raises(muse_lr.InputError, match=message):
            muse_lr.AtomsBatch.from_ase([grouped(water, index)], cutoff=4.0)
    # What a file says arrives, and what is written says it too.
    path = tmp_path / "water.xyz"
    write(path, grouped(water, [4, 4, -1]), format="extxyz")
    batch = muse_lr.AtomsBatch.from_ase([read_atoms(path)[0]], cutoff=4.0)
    assert batch.coarse_index.tolist() == [4, 4, -1]
    levels = summarize(model, read_atoms(path)[0])
    assert levels[0].bound is None
    assert described_atoms(read_atoms(path)[0], levels).arrays["coarse_index"].tolist() == [
        4,
        4,
        -1,
    ]


@pytest.mark.parametrize(
    "kind",
    ["none", "mace", "so3krates", {"kind": "mace", "l_max": 2, "max_ell": 2, "correlation": 2}],
    ids=str,
)
def test_nodes_may_have_modules_of_another_kind_than_the_atoms(kind):
    model = model_of(backbone=kind)
    bridge = model.multiscale.levels[0].bridge
    if kind == "none":
        assert bridge is None
    else:
        asked = {"kind": kind} if isinstance(kind, str) else kind
        known = bridge.interactions.config.model_dump()
        assert asked.items() <= known.items()
        assert bridge.orders == [1, 2][: known["l_max"]]
    check_everything(model, molecule("C2H6"), rattled_salt(0.2))


@pytest.mark.parametrize("kind", ["painn", "mace", "so3krates"])
def test_all_modules_learn_where_nodes_have_no_tensors(kind):
    model = initial_model(backbone=kind, l_max=0)
    crystal = rattled_salt(0.2)
    testing.check_parameters_receive_gradients(model, [crystal, molecule("C2H6")], noise=0.02)


def test_three_levels_keep_the_contract():
    model = model_of(levels=3, radius=2.0, cutoff=5.0, tensor_channels=4)
    assert model.cutoff == 8.0
    assert "level 3: atoms within 8 A of a node, nodes exchange within 20 A" in "".join(
        describe(model)
    )
    check_everything(model, molecule("C2H6"), rattled_salt(0.2))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"nodes": "species"}, "say which in species"),
        ({"nodes": "species", "species": ["Xy"]}, "'Xy' is no element"),
        ({"species": ["O"]}, "nodes: species alone"),
        ({"cutoff": 4.0}, "does not reach from node to node"),
        (
            {"backbone": {"kind": "so3krates", "channels": 10}},
            "so3krates modules of a coarse level",
        ),
        ({"nodes": "all", "cutoff": 4.0}, "does not reach from node to node"),
        ({"backbone": {"kind": "mace", "max_m": 1}}, "max_m: unknown key"),
        ({"backbone": {"kind": "mace", "layers": 2}}, "backbone.layers: the level says this"),
        ({"backbone": {"kind": "mace", "file": "x"}}, "backbone.file: this is for the backbone of"),
        ({"backbone": {"kind": "mace", "l_max": 2}, "l_max": 1}, "have tensors of l = 2, which"),
        ({"backbone": {"l_max": 2}}, "unknown backbone kind"),
    ],
    ids=str,
)
def test_options_that_do_not_fit_are_refused(options, message):
    with pytest.raises(muse_lr.InputError, match=message):
        initial_model(**options)
