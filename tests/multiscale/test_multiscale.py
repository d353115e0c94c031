"""The coarse levels: coverage, partition of unity, smoothness, what reaches the nodes."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import molecule
from ase.neighborlist import neighbor_list as ase_neighbor_list
from hypothesis import assume, given, settings
from hypothesis import strategies as st

import muse_lr
from helpers import geometry_of, painn_section, random_model, rattled_salt
from muse_lr import testing
from muse_lr.math.harmonics import rotation_matrix, solid_harmonics
from muse_lr.math.switching import switch_off
from muse_lr.multiscale.base import CoarseNodes
from muse_lr.multiscale.muse.assignment import assign, kept_nodes, pairs_with_nodes
from muse_lr.multiscale.muse.choices import ThinnedNodes
from muse_lr.multiscale.muse.edges import MessageWindow, coarse_edges
from muse_lr.multiscale.muse.tensors import (
    inner,
    matrices_from_standard,
    matrices_to_standard,
    matrix_of,
)
from muse_lr.multiscale.muse.thinning import coverage_bound
from muse_lr.testing import strategies

ELEMENTS = ("H", "C", "O", "Na", "Cl")


def model_of(**multiscale):
    multiscale = {"kind": "muse", "radius": 4.0, "cutoff": 8.0, **multiscale}
    section = painn_section(ELEMENTS, multiscale=multiscale, charges=None, heads={})
    return random_model(section)


def coverage(choice, geometry, inner_radius, radius):
    """(n_atoms,) sum over nodes of mass times window, the node on the atom included."""
    mass = choice(geometry, inner_radius, radius)
    sender, receiver = geometry.edge_index
    window = switch_off(geometry.edge_lengths, inner_radius, radius)
    return mass.index_add(0, receiver, mass[sender] * window), mass


def test_coverage_bounds_are_the_published_ones():
    for kappa, bound in ((1.0, 0.8533), (1.5, 0.590), (2.0, 0.452), (3.0, 0.308)):
        assert coverage_bound(kappa) == pytest.approx(bound, abs=1e-3)


structures = st.one_of(
    strategies.molecules(ELEMENTS, max_atoms=12),
    strategies.crystals(ELEMENTS, max_atoms=8),
    strategies.slabs(ELEMENTS, max_atoms=8),
)


@settings(max_examples=20 * settings.default.max_examples)
@given(
    atoms=structures,
    kappa=st.sampled_from([1.0, 1.5, 2.0, 3.0]),
    delta=st.sampled_from([0.05, 0.2]),
)
def test_every_atom_is_covered_and_shared_out_exactly(atoms, kappa, delta):
    geometry = geometry_of([atoms], 4.0)
    covered, mass = coverage(ThinnedNodes(delta, kappa, 40.0), geometry, 3.0, 4.0)
    assert float(covered.min()) >= coverage_bound(kappa) - 1e-9
    nodes = kept_nodes(mass, geometry)
    pairs = pairs_with_nodes(nodes, geometry, 4.0)
    affinity = torch.exp(torch.sin(7 * torch.arange(len(pairs[0])).double()))
    assignment = assign(nodes, pairs, affinity, 3.0, 4.0, len(atoms))
    sums = torch.zeros(len(atoms)).double().index_add(0, assignment.atom, assignment.share)
    assert float((sums - 1).abs().max()) < 1e-12


@pytest.mark.parametrize("pbc", [(1, 1, 1), (1, 0, 1), (0, 0, 0)], ids=str)
@pytest.mark.parametrize("limit", [None, "MOST_CANDIDATES", "AT_ONCE"])
def test_coarse_edges_are_those_of_another_code(pbc, limit, monkeypatch):
    if limit:  # graph by graph through a cell list, or in portions
        monkeypatch.setattr(f"muse_lr.multiscale.muse.edges.{limit}", 1)
    rng = np.random.default_rng(0)
    cells = [np.array([[5.0, 0.3, 0], [1.5, 6.0, 0], [0, -2.0, 4.0]]), np.diag([7.0, 4.0, 3.0])]
    listed = [Atoms("H6", rng.uniform(-6, 6, (6, 3)), cell=cell, pbc=pbc) for cell in cells]
    listed.insert(1, Atoms("H", cell=cells[0], pbc=pbc))
    geometry = geometry_of(listed, 1.0)
    atoms = torch.arange(0, 13, 2)
    content = torch.linspace(0.2, 1.0, 7).double()
    nodes = CoarseNodes(atoms, torch.ones(7).double(), geometry.graph_index[atoms])
    window = MessageWindow(3.0, 8.0)
    edges = coarse_edges(nodes, content, geometry, window, torch.tensor(2.0).double())
    expected = []
    for structure, first, mine in zip(listed, (0, 3, 4), ([0, 2, 4], [0], [1, 3, 5]), strict=True):
        i, j, vector = ase_neighbor_list("ijD", structure[mine], 8.0)
        expected += list(zip(i + first, j + first, vector, strict=True))
    found = zip(*edges.edge_index.flip(0).numpy(), edges.vectors.numpy(), strict=True)
    np.testing.assert_allclose(in_order(found), in_order(expected), atol=1e-10)
    weights = window(edges.lengths) * content[edges.edge_index[0]]
    for node in range(7):
        own = edges.edge_index[1] == node
        torch.testing.assert_close(edges.weights[own], weights[own] / (2 + weights[own].sum()))
    torch.testing.assert_close(edges.lengths, torch.linalg.vector_norm(edges.vectors, dim=1))


@pytest.mark.parametrize("limit", [None, "MOST_CANDIDATES"])
def test_coarse_edges_of_distant_nodes(limit, monkeypatch):
    """Unwrapped by 1e6 cells, in a skewed cell, or far apart in the open direction of a slab."""
    if limit:
        monkeypatch.setattr(f"muse_lr.multiscale.muse.edges.{limit}", 1)
    rng = np.random.default_rng(0)
    near = Atoms("H6", rng.uniform(0, 5, (6, 3)), cell=np.diag([5.0, 6.0, 7.0]), pbc=True)
    unwrapped, skewed = near.copy(), near.copy()
    unwrapped.positions += rng.integers(-(10**6), 10**6, (6, 3)) @ near.cell.array
    skewed.cell[1] += 10**6 * near.cell[0]
    slab, distant = near.copy(), near.copy()
    slab.pbc = distant.pbc = (True, True, False)
    distant += slab
    distant.positions[:6, 2] += 1e7
    distant.cell[2] += 1e5 * distant.cell[0]
    listed = [near, unwrapped, skewed, slab, distant]
    geometry = geometry_of(listed, 1.0)
    nodes = torch.arange(geometry.ptr[-1])
    content = torch.ones(len(nodes)).double()
    coarse = CoarseNodes(nodes, content, geometry.graph_index)
    edges = coarse_edges(coarse, content, geometry, MessageWindow(3.0, 8.0), content.mean())
    graph = geometry.graph_index[edges.edge_index[0]]
    lengths = [np.sort(edges.lengths[graph == i].numpy()) for i in range(5)]
    first, slab_lengths = (np.sort(ase_neighbor_list("d", atoms, 8.0)) for atoms in (near, slab))
    expected = [first, first, first, slab_lengths, np.repeat(slab_lengths, 2)]
    for found, reference in zip(lengths, expected, strict=True):
        np.testing.assert_allclose(found, reference, atol=1e-7)


def in_order(edges):
    """Receiver, sender and vector of each edge, in an order of their own."""
    rows = np.array([[receiver, sender, *vector] for receiver, sender, vector in edges])
    return rows[np.lexsort(rows.round(6).T)]


def test_matrices_and_components_of_order_two():
    points = torch.randn(5, 3, 1, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    standard = solid_harmonics(2, points[:, :, 0])[:, :, None]
    torch.testing.assert_close(matrices_from_standard(standard), matrix_of(points))
    torch.testing.assert_close(matrices_to_standard(matrix_of(points)), standard)
    norms = inner(matrix_of(points), matrix_of(points))
    torch.testing.assert_close(norms, points.square().sum(1) ** 2)
    turn = torch.linalg.qr(points[:3, :, 0]).Q
    turned = torch.einsum("mk,nkc->nmc", rotation_matrix(2, turn), standard)
    rotated = torch.einsum("ab,nbc->nac", turn, points)
    torch.testing.assert_close(matrices_from_standard(turned), matrix_of(rotated))


def jump_of_curvature(model, path, where, step):
    """Difference of the second derivatives of the energy on both sides of a point."""
    offsets = np.array([-3, -2, -1, 1, 2, 3]) * step
    batch = muse_lr.AtomsBatch.from_ase([path(where + t) for t in offsets], cutoff=model.cutoff)
    e = model(batch).energy.detach().numpy()
    left, right = e[0] - 2 * e[1] + e[2], e[3] - 2 * e[4] + e[5]
    return abs(right - left) / step**2


@settings(max_examples=3 * settings.default.max_examples)
@given(seed=st.integers(0, 10**6))
def test_energies_are_smooth_where_nodes_appear_and_vanish(seed):
    """The jump of the second derivative shrinks with the step, at the death of a node."""
    model = model_of()
    rng = np.random.default_rng(seed)
    atoms = testing.structures.molecule(
        [ELEMENTS[i] for i in rng.integers(0, 5, 8)], seed, minimum_distance=1.2
    )
    direction = rng.normal(size=atoms.positions.shape)

    def path(t):
        moved = atoms.copy()
        moved.positions += t * direction / np.linalg.norm(direction)
        return moved

    def kept(t):
        batch = muse_lr.AtomsBatch.from_ase([path(t)], cutoff=model.cutoff)
        return set(model(batch).levels[0][0].atoms.tolist())

    grid = np.linspace(-0.3, 0.3, 31)
    nodes = [kept(t) for t in grid]
    changes = [i for i in range(30) if nodes[i] != nodes[i + 1]]
    assume(changes)
    low, high = grid[changes[0]], grid[changes[0] + 1]
    start = kept(low)
    for _ in range(30):
        middle = (low + high) / 2
        low, high = (middle, high) if kept(middle) == start else (low, middle)
    coarse, fine = (jump_of_curvature(model, path, low, h) for h in (1e-3, 1e-4))
    assert fine < 0.3 * coarse + 1e-3


def test_the_energy_is_in_a_part_of_its_own_and_features_reach_the_charges():
    configuration = {
        "elements": ["H", "O"],
        "backbone": {"kind": "painn", "cutoff": 3.5, "channels": 8, "layers": 1},
        "multiscale": {"kind": "muse", "tensor_channels": 4, "levels": 2},
        "charges": {"kind": "latent", "l_max": 2},
    }
    model = muse_lr.build_model(configuration)
    assert model.cutoff == 14.0
    assert model.multiscale.features.tensors == {1: 8 + 2 * 4, 2: 2 * 4}
    output = model(muse_lr.AtomsBatch.from_ase([molecule("H2O")], cutoff=model.cutoff), ("forces",))
    assert list(output.energy_parts) == ["e0", "backbone", "multiscale", "coulomb"]
    assert output.density.l_max == 2
    assert len(output.levels) == 2
    with pytest.raises(muse_lr.InputError, match="l = 2"):
        muse_lr.build_model(
            {**configuration, "charges": {"kind": "latent", "l_max": 2, "input": "backbone"}}
        )


@pytest.mark.parametrize("nodes", ["species", "all"])
def test_other_choices_of_nodes(nodes):
    water = molecule("H2O")
    options = {"species": ["O"]} if nodes == "species" else {}
    output = model_of(nodes=nodes, **options)(muse_lr.AtomsBatch.from_ase([water], cutoff=4.0))
    assert output.levels[0][0].atoms.tolist() == ([0] if nodes == "species" else [0, 1, 2])
    if nodes == "species":
        # An atom that loses its last node fades out.
        pairs = [Atoms("OH", [[0, 0, 0], [0, 0, r]]) for r in (3.999, 4.0, 4.001)]
        batch = muse_lr.AtomsBatch.from_ase(pairs, cutoff=4.0)
        assert np.ptp(model_of(nodes=nodes, **options)(batch).energy.detach().numpy()) < 1e-6


FIXED = {"H": 0, "Na": 1, "Cl": -1}


def model_with_coarse_charges(**head):
    """A model with its initial weights."""
    section = painn_section(
        ["H", "Na", "Cl"],
        multiscale={"kind": "muse", "radius": 4.0, "cutoff": 8.0},
        charges={"kind": "fixed", "by_element": FIXED, "width": 0.5},
        heads={"coulomb": {"kind": "coulomb", "level": 1, **head}},
    )
    return random_model(section, weights=None)


def test_charges_on_a_coarse_level():
    """Far molecules attract as their charges do, though the nodes carry them; symmetric, smooth."""
    model = model_with_coarse_charges()
    ions = molecule("NaCl")

    def interaction(distance):
        pair = ions.copy()
        pair.positions += [0.3, 0, distance]
        together = ions + pair
        both, alone = (
            model(muse_lr.AtomsBatch.from_ase([a], cutoff=model.cutoff)).energy_parts["coulomb"]
            for a in (together, ions)
        )
        return float(both - 2 * alone)

    def exact(distance):
        shift = np.array([0.3, 0, distance])
        q, r = np.array([1.0, -1.0]), ions.positions
        lengths = np.linalg.norm(r[:, None] - r[None] - shift, axis=2)
        return 14.399645478 * (np.outer(q, q) / lengths).sum()

    # What is cut off, octupoles with dipoles, is a relative (r / R)^2.
    for distance, error in ((40.0, 2e-2), (160.0, 2e-3)):
        assert interaction(distance) == pytest.approx(exact(distance), rel=error)
    salt = rattled_salt(0.2)
    testing.check_forces(model, salt)
    testing.check_stress(model, salt)
    testing.check_wrapping(model, salt)
    testing.check_hessian_symmetric(model, salt)
    testing.check_supercell(model, salt)
    lone = Atoms("NaH2", [[0, 0, 0], [3, 0, 0], [0, 3.5, 1]], info={"total_charge": 1})
    testing.check_batch(model, [salt, lone, ions])


@pytest.mark.parametrize("head", [{}, {"damping_width": 1.0}, {"exclusion_radius": 6.0}], ids=str)
@given(seed=st.integers(0, 2**16))
def test_an_ion_shared_among_nodes_does_not_repel_itself(head, seed):
    """One ion among neutral atoms has no energy, however its charge is shared out."""
    model = model_with_coarse_charges(**head)
    atoms = testing.structures.molecule(["Na", *"HHHHHH"], seed, minimum_distance=1.5)
    atoms.info["total_charge"] = 1
    output = model(muse_lr.AtomsBatch.from_ase([atoms], cutoff=model.cutoff))
    shares = output.levels[0][1].share[output.levels[0][1].atom == 0]
    assume(shares.max() < 0.9)
    assert abs(float(output.energy_parts["coulomb"])) < 1e-10


def test_a_level_that_is_not_there_is_refused():
    with pytest.raises(muse_lr.InputError, match="has 1 levels"):
        model_with_coarse_charges(level=2)
