"""Atoms far from each other, unwrapped coordinates and skewed cells: lists, energies, refusals."""

from __future__ import annotations

import subprocess
import sys
import textwrap

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.geometry import minkowski_reduce
from hypothesis import given, settings
from hypothesis import strategies as st

import muse_lr
from helpers import energies_of, fixed_charge_model, head_model
from muse_lr import InputError
from muse_lr.data.structures import close_pair, find_problems
from muse_lr.structures.neighbors import complete_cell, has_volume, neighbor_list
from muse_lr.structures.reduction import is_skewed, reduced_lattice
from muse_lr.structures.tree_list import tree_list

ALL, OPEN = np.ones(3, bool), np.zeros(3, bool)
BOUNDARIES = [(0, 0, 0), (1, 1, 1), (1, 1, 0), (0, 1, 1), (1, 0, 1), (0, 1, 0)]


def all_images(positions, cell, pbc, cutoff):
    """Sender, receiver and length of all pairs, by a loop over the images of a short cell."""
    cell = minkowski_reduce(cell, pbc)[0] if pbc.sum() > 1 else cell.copy()
    cell[~pbc] = np.linalg.svd(cell[pbc])[2][pbc.sum() :] if pbc.any() else np.eye(3)
    inverse = np.linalg.inv(cell)
    wrapped = positions - np.where(pbc, np.floor(positions @ inverse), 0) @ cell
    reach = np.where(pbc, np.ceil(cutoff * np.linalg.norm(inverse, axis=0)) + 1, 0).astype(int)
    found = []
    for shift in np.ndindex(*(2 * reach + 1)):
        vectors = wrapped[:, None] - wrapped[None] + (np.array(shift) - reach) @ cell
        lengths = np.linalg.norm(vectors, axis=2)
        if (shift == reach).all():
            np.fill_diagonal(lengths, np.inf)
        pairs = np.argwhere(lengths < cutoff)
        found.append(np.column_stack([pairs, lengths[tuple(pairs.T)]]))
    return in_order(np.concatenate(found))


def listed(positions, cell, pbc, cutoff, search=neighbor_list):
    """The same of a neighbor list, whose shifts refer to the given positions and cell."""
    (sender, receiver), shift = search(positions, cell, pbc, cutoff)
    assert not shift[:, ~pbc].any()
    assert len(np.unique(np.column_stack([sender, receiver, shift]), axis=0)) == len(sender)
    lengths = np.linalg.norm(positions[sender] - positions[receiver] + shift @ cell, axis=1)
    return in_order(np.column_stack([sender, receiver, lengths]))


def in_order(rows):
    return rows[np.lexsort(rows.T[::-1])]


def assert_same_pairs(found, expected, cutoff, tolerance):
    """Equal, apart from pairs so close to the cutoff that rounding decides."""
    found, expected = (rows[rows[:, 2] < cutoff - tolerance] for rows in (found, expected))
    assert found.shape == expected.shape
    np.testing.assert_array_equal(found[:, :2], expected[:, :2])
    np.testing.assert_allclose(found[:, 2], expected[:, 2], atol=tolerance)


@st.composite
def distant(draw):
    """Positions, the cell as given, periodicity and a cutoff."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    pbc = np.array(draw(st.sampled_from(BOUNDARIES)), bool)
    n = draw(st.sampled_from([1, 2, 5, 9]))
    lengths = [draw(st.sampled_from([3.0, 7.0, 1e3, 1e6])) for _ in range(3)]
    short = np.array(lengths)[:, None] * (np.eye(3) + 0.15 * rng.uniform(-1, 1, (3, 3)))
    positions = rng.uniform(0, 8, (n, 3))
    far = draw(st.sampled_from([0, 1e2, 1e4, 1e6, 9e7]))
    kind = draw(st.sampled_from(["one", "clumps", "chain", "anywhere", "shifted", "unwrapped"]))
    if kind == "one":
        positions[0] += far * np.eye(3)[rng.integers(3)]
    elif kind == "clumps":
        positions += far * rng.choice([-1, 0, 1], (n, 3))
    elif kind == "chain":
        positions += np.arange(n)[:, None] * rng.normal(size=3) * far / 40
    elif kind == "anywhere":
        positions = rng.uniform(-far, far, (n, 3))
    elif kind == "shifted":
        positions += far
    cells = 10 ** rng.integers(1, 7)
    if kind == "unwrapped":
        positions += np.clip(rng.integers(-cells, cells, (n, 3)) * pbc @ short, -1e8, 1e8)
    cell = short.copy()
    for _ in range(draw(st.integers(0, 2)) * (pbc.sum() > 1)):
        row, other = rng.choice(np.flatnonzero(pbc), 2, replace=False)
        cell[row] += draw(st.sampled_from([-1, 3, 40, 1000])) * cell[other]
    vectors = draw(st.sampled_from([0.0, 1e-4, 1.0, 1e5]))
    cell[~pbc] = vectors * (cell[~pbc] + draw(st.booleans()) * cell[pbc].sum(0))
    cell[0] *= draw(st.sampled_from([1, -1]))
    return positions, cell, pbc, draw(st.sampled_from([1e-7, 0.5, 4.0, 8.0]))


@given(distant())
@settings(max_examples=150)
def test_lists_equal_a_loop_over_images(drawn):
    positions, given_cell, pbc, cutoff = drawn
    if np.abs(given_cell[pbc]).max(initial=0) > 1e5:
        try:
            cell = complete_cell(given_cell, pbc)
        except InputError:  # Very long vectors that are skewed as well.
            return
    cell = complete_cell(given_cell, pbc)
    assert not is_skewed(cell, pbc)
    tolerance = 1e-14 * max(np.abs(positions).max(), np.abs(given_cell[pbc]).max(initial=0)) + 1e-10
    expected = all_images(positions, cell, pbc, cutoff + 4 * tolerance)
    found = listed(positions, cell, pbc, cutoff)
    assert_same_pairs(found, expected, cutoff, 4 * tolerance)
    assert (found[:, 2] < cutoff + 4 * tolerance).all()


@pytest.mark.parametrize("shear", [3, 1000, 10**6])
@pytest.mark.parametrize("pbc", [(1, 1, 1), (1, 1, 0)], ids=str)
def test_shifts_refer_to_the_cell_that_the_list_was_asked_for(shear, pbc):
    """Also if it is not the one that the list is made with."""
    pbc = np.array(pbc, bool)
    cell = np.array([[4.0, 0, 0], [4.0 * shear, 5.0, 0], [0, 1.0, 6.0]])
    positions = np.random.default_rng(0).uniform(-20, 20, (5, 3))
    expected = all_images(positions, cell - np.eye(3)[[1]].T * shear * cell[0], pbc, 6.0)
    assert_same_pairs(listed(positions, cell, pbc, 6.0), expected, 6.0, 1e-8)


@pytest.mark.parametrize("pbc", BOUNDARIES, ids=str)
def test_the_tree_and_the_cell_list_agree(pbc):
    pbc = np.array(pbc, bool)
    rng = np.random.default_rng(0)
    cell = complete_cell(6 * np.eye(3) + rng.uniform(-1, 1, (3, 3)), pbc)
    positions = rng.uniform(0, 6, (30, 3))
    expected = listed(positions, cell, pbc, 7.0)
    assert_same_pairs(listed(positions, cell, pbc, 7.0, tree_list), expected, 7.0, 1e-12)


def test_no_atoms_and_no_cutoff():
    for positions, cutoff in ((np.zeros((0, 3)), 5.0), (np.zeros((3, 3)), 0.0)):
        index, shift = neighbor_list(positions, np.eye(3), OPEN, cutoff)
        assert index.shape == (2, 0)
        assert shift.shape == (0, 3)


@pytest.mark.parametrize("coordinate", [1e9, -3e8, np.nan, np.inf])
def test_coordinates_beyond_the_precision_are_refused_with_the_atom(coordinate):
    positions = np.zeros((4, 3))
    positions[:, 0] = 1.5 * np.arange(4)
    positions[2, 1] = coordinate
    with pytest.raises(InputError, match="atom 2 has a coordinate of"):
        neighbor_list(positions, np.eye(3), OPEN, 5.0)
    if np.isfinite(coordinate):
        atoms = Atoms("H4", positions)
        (problem,) = find_problems(atoms)
        assert (problem.kind, problem.atom) == ("positions", 2)
        with pytest.raises(InputError, match=r"structure 0: atom 2 .* origin"):
            muse_lr.AtomsBatch.from_ase([atoms], cutoff=5.0)


@pytest.mark.parametrize("far", [0, 1e4, 1e8])
def test_close_atoms_are_found_wherever_they_are(far):
    cell = complete_cell(np.array([[4.0, 0, 0], [4e6, 5.0, 0], [0, 0, 6.0]]), ALL)
    positions = np.array([[0.1, 0.1, 0.1], [2.0, 2.0, 2.0], [0.1, 0.1, 6.1004]])
    positions[1] += far * np.array([1, 0, 0])
    assert close_pair(positions, cell, ALL, 1e-3) == (0, 2, pytest.approx(4e-4, abs=1e-9))
    assert close_pair(positions[:2], cell, ALL, 1e-3) is None
    positions[1] = positions[0] + [far + 3e-4, 0, 0]
    assert close_pair(positions[:2], np.eye(3), OPEN, 1e-3) == (
        None if far else (0, 1, pytest.approx(3e-4))
    )


# --- Cells ----------------------------------------------------------------------------------------


@given(st.integers(0, 2**32), st.sampled_from([2, 3]), st.sampled_from([5, 1000, 10**6]))
@settings(max_examples=40)
def test_reduction_finds_the_shortest_vectors(seed, periodic, largest):
    """Their lengths are those of ASE's reduction of the cell before it was sheared."""
    rng = np.random.default_rng(seed)
    pbc = np.arange(3) < periodic
    short = rng.uniform(-6, 6, (3, 3)) + 4 * np.eye(3)
    short[~pbc] = np.cross(short[0], short[1]) if periodic == 2 else short[~pbc]
    row, other = rng.choice(periodic, 2, replace=False)
    cell = short.copy()
    cell[row] += rng.integers(-largest, largest + 1) * cell[other]
    reduced, change = reduced_lattice(cell, pbc)
    expected = np.sort(np.linalg.norm(minkowski_reduce(short, pbc)[0][pbc], axis=1))
    np.testing.assert_allclose(np.linalg.norm(reduced[pbc], axis=1), expected, atol=1e-7)
    np.testing.assert_allclose(change @ cell, reduced, atol=1e-7)
    assert round(abs(np.linalg.det(change.astype(float)))) == 1
    assert has_volume(cell, pbc)


def test_ordinary_cells_are_not_changed():
    """Primitive, hexagonal, monoclinic and rhombohedral cells stay as they are."""
    hexagonal = bulk("Mg").cell.array
    rhombohedral = np.linalg.cholesky(10.5**2 * (np.full((3, 3), 0.912) + 0.088 * np.eye(3)))
    monoclinic = np.array([[5.0, 0, 0], [0, 6.0, 0], [-7.0, 0, 19.0]])
    for cell in (bulk("Cu").cell.array, bulk("Na").cell.array, hexagonal, rhombohedral, monoclinic):
        np.testing.assert_array_equal(complete_cell(cell, ALL), cell)
        np.testing.assert_array_equal(complete_cell(cell, np.array([True, True, False])), cell)


def test_an_oblique_open_vector_keeps_the_volume():
    cell = np.array([[4.0, 0, 0], [0, 5.0, 0], [1e6, -3e5, 20.0]])
    completed = complete_cell(cell, np.array([True, True, False]))
    np.testing.assert_allclose(completed, np.diag([4.0, 5.0, 20.0]), atol=1e-9)


@pytest.mark.parametrize(
    ("cell", "message"),
    [
        ([[4.0, 0, 0], [8.0, 0, 0], [0, 0, 1]], "singular"),
        ([[4.0, 1, 2], [8.0, 2, 4.0], [0, 0, 3]], "singular"),
        ([[4.0, 0, 0], [4e7, 4, 0], [4e14, 4e7, 4]], "float64 changes the lattice by"),
        ([[4.0, 1, 0], [4 * 2**0.5, 2**0.5, 0], [0, 0, 4]], "linearly dependent"),
        ([[4.0, 0, 0], [1e300, 4, 0], [0, 0, 4]], "float64 changes the lattice by"),
        ([[1e10, 0, 0], [0, 4, 0], [0, 0, 4]], "float64 changes the lattice by"),
        ([[4.0, 0, 0], [4e5, 0.3, 0], [0, 0, 4]], "repeats after 0.3 A"),
    ],
)
def test_cells_without_a_lattice_are_refused(cell, message):
    with pytest.raises(InputError, match=message):
        complete_cell(np.array(cell), ALL)
    assert has_volume(np.array(cell), ALL) == ("repeats" in message)


# --- Whole processes ------------------------------------------------------------------------------


def run_limited(script: str) -> None:
    """Run a script with 3 GB of memory; failures to allocate, signals and asserts fail the test."""
    limit = "import resource; resource.setrlimit(resource.RLIMIT_AS, (3 << 30, 3 << 30))\n"
    done = subprocess.run(
        [sys.executable, "-c", limit + textwrap.dedent(script)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, f"exit status {done.returncode}: {done.stderr[-2000:]}"


def test_distant_atoms_do_not_end_the_process():
    """Two equal clumps have twice the pairs of one, for all distances and cutoffs."""
    run_limited(
        """
        import numpy as np
        from muse_lr.structures.neighbors import complete_cell, neighbor_list

        def edges(positions, cell, pbc, cutoff):
            return neighbor_list(positions, complete_cell(cell, pbc), pbc, cutoff)[0].shape[1]

        rng, periodic = np.random.default_rng(0), np.array([True, True, False])
        for n in (2, 100):
            side = 3 * n ** (1 / 3)
            clump = rng.random((n, 3)) * side
            for cutoff in (0.5, 12.0):
                for far in (1e3, 1e6, 1e8):
                    for direction in ([1, 0, 0], [1, 1, 1], [0, 1, -1], [0, 0, 1]):
                        both = np.concatenate([clump, clump + far * np.array(direction)])
                        for cell, pbc in (
                            (np.zeros((3, 3)), np.zeros(3, bool)),
                            (np.diag([side + 1, side + 1, 0]), periodic),
                            (np.diag([side + 1, side + 1, 1e-3]), periodic),
                        ):
                            if pbc.any() and direction != [0, 0, 1]:
                                continue
                            once = edges(clump, cell, pbc, cutoff)
                            assert edges(both, cell, pbc, cutoff) == 2 * once, (n, cutoff, far)
        chain = np.arange(1000)[:, None] * np.array([[1e5, 0, 0]])
        chain, box, pbc = np.concatenate([chain, chain + 1]), np.zeros((3, 3)), np.zeros(3, bool)
        assert edges(chain, box, pbc, 5.0) == 2000
        assert edges(rng.uniform(-1e8, 1e8, (20_000, 3)), box, pbc, 5.0) == 0
        for box in ([1e5] * 3, [1e6, 1e6, 20.0], [5e7, 10.0, 10.0]):
            nine = rng.random((9, 3)) * 3
            apart = nine + [box[0] / 2, 0, 0]
            inside = edges(nine, np.diag(box), np.ones(3, bool), 4.0)
            assert edges(apart, np.diag(box), np.ones(3, bool), 4.0) == inside > 0
        """
    )


def results(atoms):
    """Energy, forces and stress of fixed charges."""
    model = fixed_charge_model({"Na": 1.0, "Cl": -1.0}, coulomb={"kind": "coulomb"})
    atoms.calc = muse_lr.Calculator(model)
    stress = atoms.get_stress(voigt=False)
    return atoms.get_potential_energy(), atoms.get_forces(), stress


def assert_same_results(atoms, expected):
    energy, forces, stress = results(atoms)
    assert energy == pytest.approx(expected[0], abs=1e-7 * len(atoms))
    np.testing.assert_allclose(forces, expected[1], atol=1e-6)
    np.testing.assert_allclose(stress, expected[2], atol=1e-7)


def salt(pbc):
    atoms = bulk("NaCl", "rocksalt", a=5.64, cubic=True)
    atoms.rattle(0.1, seed=1)
    atoms.set_cell([5.64, 5.64, 5.64 if pbc[2] else 20.0])
    atoms.pbc = pbc
    return atoms


@pytest.mark.parametrize("pbc", [(True, True, True), (True, True, False)], ids=str)
def test_unwrapped_atoms_change_no_energy(pbc):
    """One atom has drifted along one axis; all atoms have, along all axes."""
    atoms = salt(pbc)
    expected = results(atoms.copy())
    rng = np.random.default_rng(0)
    for cells in (300, 3 * 10**6):
        drifted = atoms.copy()
        drifted.positions[0] += cells * atoms.cell[0]
        assert_same_results(drifted, expected)
        jumps = rng.integers(-cells, cells, (len(atoms), 3)) * np.array(pbc)
        drifted.positions += jumps @ atoms.cell.array
        assert_same_results(drifted, expected)


@pytest.mark.parametrize("pbc", [(True, True, True), (True, True, False)], ids=str)
@pytest.mark.parametrize("shear", [1, 10, 1000, 10**6])
def test_equivalent_skewed_cells_change_no_energy(pbc, shear):
    atoms = salt(pbc)
    expected = results(atoms.copy())
    atoms.cell[1] += shear * atoms.cell[0]
    if shear < 10**4:
        atoms.positions[3] += 100 * atoms.cell[1]
        atoms.cell[2] -= shear * atoms.cell[1]
    assert_same_results(atoms, expected)


@pytest.mark.parametrize("far", [1e4, 1e6, 1e8])
def test_distant_clusters_have_twice_the_energy_of_one(far):
    one = salt((False, False, False))
    both = one.copy()
    both.translate([far, 0, -far])
    both += one
    model = head_model("d3", ["Na", "Cl"])
    energy = energies_of(model, [one, both])
    assert energy[1] == pytest.approx(2 * energy[0], abs=1e-6)
