"""Many-body dispersion: against pymbd, its limits, its symmetries, its refusals."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import bulk, molecule
from scipy.special import erf

import muse_lr
from helpers import energies_of, head_model, painn_section, random_model
from muse_lr import testing
from muse_lr.heads.dispersion.matrix_root import NotPositiveError, matrix_root
from muse_lr.heads.dispersion.mbd import frequency_grid, k_points
from muse_lr.heads.dispersion.volumes import HARTREE, free_atoms
from muse_lr.structures.geometry import strained_geometry

#: A water dimer beside carbon monoxide, A.
MOLECULES = Atoms(
    "OHHOHHCO",
    [
        [0.0, 0.0, 0.1173],
        [0.0, 0.7572, -0.4692],
        [0.0, -0.7572, -0.4692],
        [3.0173, 0.3, 0.2],
        [2.4308, 0.3, 0.9572],
        [2.4308, 0.3, -0.5572],
        [0.2, 3.4, 0.5],
        [0.3, 3.5, 1.63],
    ],
)
VOLUMES = [0.9, 0.6, 0.6, 0.9, 0.65, 0.7, 0.85, 0.95]
CRYSTAL = Atoms(
    "ArKr",
    [[0.0, 0.0, 0.0], [2.4, 2.7, 2.2]],
    cell=[[5.2, 0.4, 0.0], [0.1, 5.0, 0.3], [0.0, 0.2, 5.6]],
    pbc=True,
)
#: mbd_energy_species of pymbd 0.15.0 (its implementation in numpy), Hartree: free atoms with
#: beta 0.83, and the volumes above with beta 0.7.
PYMBD_MOLECULES = (-0.0025745762813311757, -0.0038868801214118065)
#: The same of the crystal by grid.
PYMBD_CRYSTAL = {
    (1, 1, 1): -0.0006217597789068829,
    (2, 2, 2): -0.0023028067877715053,
    (3, 2, 1): -0.0021927559112602246,
}


def test_molecules_are_those_of_pymbd():
    elements = ["C", "H", "O"]
    free = energies_of(head_model("mbd", elements), [MOLECULES])
    assert free[0] == pytest.approx(PYMBD_MOLECULES[0] * HARTREE, rel=1e-7)
    head = head_model("mbd", elements, beta=0.7).heads["head"]
    batch = muse_lr.AtomsBatch.from_ase([MOLECULES], head.cutoff)
    geometry = strained_geometry(batch, batch.positions, None)
    composition = torch.tensor([[s == e for e in elements] for s in MOLECULES.symbols]).double()
    found = head.energy(geometry, composition, torch.tensor(VOLUMES, dtype=torch.float64))
    assert float(found) == pytest.approx(PYMBD_MOLECULES[1] * HARTREE, rel=1e-7)


@pytest.mark.parametrize("grid", PYMBD_CRYSTAL)
def test_crystals_are_those_of_pymbd(grid):
    found = energies_of(head_model("mbd", ["Ar", "Kr"], k_grid=grid, cutoff=14.0), [CRYSTAL])
    assert found[0] == pytest.approx(PYMBD_CRYSTAL[grid] * HARTREE, rel=1e-7)


def test_far_pairs_are_those_of_undamped_c6():
    distances = (15.0, 30.0, 60.0)
    dimers = [Atoms("ArKr", [[0, 0, 0], [0, 0, distance]]) for distance in distances]
    many = energies_of(head_model("mbd", ["Ar", "Kr"]), dimers)
    pairs = energies_of(head_model("c6", ["Ar", "Kr"], damping="none"), dimers)
    np.testing.assert_allclose(many, pairs, rtol=2e-4)


def test_three_atoms_are_not_three_pairs():
    """The triple-dipole energy of Axilrod and Teller, 9/16 hbar omega alpha^3 / r^9 of like atoms.

    For an equilateral triangle 1 + 3 cos cos cos = 11/8. B. M. Axilrod, E. Teller, J. Chem. Phys.
    11, 299 (1943).
    """
    side = 12.0
    triangle = Atoms("Ar3", [[0, 0, 0], [side, 0, 0], [side / 2, side * np.sqrt(0.75), 0]])
    model = head_model("mbd", ["Ar"])
    three, two = energies_of(model, [triangle, triangle[:2]])
    free = model.heads["head"]._free
    frequency = 4 / 3 * free.c6 / free.polarizability**2
    expected = 9 / 16 * frequency * free.polarizability**3 * 11 / 8 / side**9
    assert three - 3 * two == pytest.approx(float(expected), rel=0.02)


def test_crystal_in_a_large_cell_is_its_molecule():
    """Its images act as 1 / L^3."""
    cluster = Atoms("ArKrAr", [[0, 0, 0], [3.6, 0, 0], [1.5, 3.5, 0.4]])
    boxed = cluster.copy()
    boxed.set_cell([40.0, 41.0, 42.0])
    boxed.pbc = True
    model = head_model("mbd", ["Ar", "Kr"], k_grid=(1, 1, 1), cutoff=14.0)
    open_energy, box_energy = energies_of(model, [cluster, boxed])
    assert box_energy == pytest.approx(open_energy, rel=1e-3)


def test_a_supercell_folds_the_grid():
    one = energies_of(head_model("mbd", ["Ar", "Kr"], k_grid=(4, 2, 1)), [CRYSTAL])
    two = energies_of(head_model("mbd", ["Ar", "Kr"], k_grid=(2, 2, 1)), [CRYSTAL * (2, 1, 1)])
    assert two[0] / 2 == pytest.approx(one[0], rel=1e-9)


def test_k_points_are_half_of_the_shifted_grid():
    points = k_points((3, 2, 2))
    assert sum(weight for _, weight in points) == pytest.approx(1.0)
    assert len(points) == 6
    assert len(k_points((1, 1, 1))) == 1
    both = {tuple(np.round(sign * p.numpy() % 1, 9)) for p, _ in points for sign in (1, -1)}
    assert len(both) == 12


def test_derivatives_and_symmetries():
    argon = Atoms("Ar2Kr", [[0, 0, 0], [3.4, 0.2, 0], [1.3, 3.3, 0.6]])
    model = head_model("mbd", ["Ar", "Kr"], k_grid=(2, 1, 1))
    for atoms in (argon, CRYSTAL):
        testing.check_forces(model, atoms, directions=1)
        testing.check_second_derivatives(model, atoms)
        testing.check_rotation(model, atoms)
        testing.check_permutation(model, atoms)
    testing.check_stress(model, CRYSTAL)
    testing.check_wrapping(model, CRYSTAL)
    testing.check_batch(model, [argon, CRYSTAL, argon[:1], CRYSTAL[:1], argon[:2]])
    testing.check_far_copies(model, argon, strict=True)


def test_learned_volumes_can_be_trained_on_forces():
    section = painn_section(["C", "H", "O"], charges=None, heads={"mbd": {}})
    testing.check_training_gradient(random_model(section), [MOLECULES[:6], MOLECULES[6:]])


def test_derivatives_of_roots_of_degenerate_matrices(float64):
    """The identity has one eigenvalue three times: that of its vectors would divide by zero."""

    def root(lower: torch.Tensor) -> torch.Tensor:
        return matrix_root(2 * torch.eye(3) + lower + lower.mT)

    def hermitian_root(real: torch.Tensor, imaginary: torch.Tensor) -> torch.Tensor:
        matrix = torch.complex(real, imaginary)
        return torch.view_as_real(matrix_root(2 * torch.eye(3) + matrix + matrix.mH))

    zero = torch.zeros((3, 3), requires_grad=True)
    other = torch.zeros((3, 3), requires_grad=True)
    assert torch.autograd.gradcheck(root, zero)
    assert torch.autograd.gradgradcheck(root, zero)
    assert torch.autograd.gradcheck(hermitian_root, (zero, other))
    assert torch.autograd.gradgradcheck(hermitian_root, (zero, other))
    squared = root(torch.tensor([[0.1, 0.2, 0.0], [0.0, 0.3, -0.1], [0.3, 0.0, 0.2]]))
    torch.testing.assert_close(root(torch.zeros(3, 3)) ** 2, 2 * torch.eye(3))
    assert bool((torch.linalg.eigvalsh(squared) > 0).all())
    with pytest.raises(NotPositiveError):
        matrix_root(-torch.eye(2))


def test_what_it_cannot_describe_is_refused():
    model = head_model("mbd", ["Ar", "C", "H", "Na"], max_atoms=5)
    slab = Atoms("Ar", cell=[4, 4, 10], pbc=(1, 1, 0))
    with pytest.raises(muse_lr.InputError, match="TTF"):
        energies_of(model, [slab])
    with pytest.raises(muse_lr.InputError, match="structure 1 has 12 atoms"):
        energies_of(model, [molecule("CH4"), molecule("C6H6")])
    with pytest.raises(muse_lr.InputError, match="k_grid"):
        head_model("mbd", ["Ar"], k_grid=(2, 0, 1))


def screened(atoms, beta=0.83):
    """Contracted and full screening of free atoms of one element, after the published equations.

    Returns the polarizabilities of the atoms by frequency, the inverse of the static response and
    the lowest squared frequency of the coupled oscillators (None without positive
    polarizabilities), in Å and eV.
    """
    free = free_atoms((atoms.symbols[0],))
    alpha, c6, radius = (float(v[0]) for v in (free.polarizability, free.c6, free.radius))
    vectors = atoms.positions[:, None] - atoms.positions
    distance = np.linalg.norm(vectors, axis=2) + np.eye(len(atoms)) * 1e9
    outer = vectors[:, :, :, None] * vectors[:, :, None] / distance[:, :, None, None] ** 2
    cubed = distance[:, :, None, None] ** 3

    def matrix(blocks):
        return blocks.transpose(0, 2, 1, 3).reshape(3 * len(atoms), -1)

    def damping(radii):
        sums = beta * (radii[:, None] + radii)
        return (1 / (1 + np.exp(-6 * (distance / sums - 1))))[:, :, None, None]

    bare = (np.eye(3) - 3 * outer) / cubed
    short = 1 - damping(np.full(len(atoms), radius))
    frequencies, weights = frequency_grid()
    contracted, inverses = [], []
    for u in frequencies:
        dynamic = alpha / (1 + (u / (4 / 3 * c6 / alpha**2)) ** 2)
        width = np.sqrt(2) * (np.sqrt(2 / np.pi) * dynamic / 3) ** (1 / 3)
        zeta = (distance / width)[:, :, None, None]
        theta = 2 / np.sqrt(np.pi) * zeta * np.exp(-(zeta**2))
        tensor = (erf(zeta) - theta) * bare + 2 * zeta**2 * theta * outer / cubed
        inverses.append(matrix(short * tensor) + np.eye(3 * len(atoms)) / dynamic)
        response = np.linalg.inv(inverses[-1]).reshape(len(atoms), 3, len(atoms), 3)
        contracted.append(np.einsum("iaja->i", response) / 3)
    static = contracted[0]
    if np.min(contracted) <= 0:
        return np.array(contracted), inverses[0], None
    c6 = 3 / np.pi * weights.numpy() @ np.array(contracted) ** 2
    omega = np.repeat(4 / 3 * c6 / static**2, 3)
    push = omega * np.repeat(np.sqrt(static), 3)
    coupling = damping(radius * (static / alpha) ** (1 / 3)) * bare
    squares = np.diag(omega**2) + np.outer(push, push) * matrix(coupling)
    return np.array(contracted), inverses[0], np.linalg.eigvalsh(squares)


def cluster(symbol, neighbors, scale=1.0):
    """An atom of a bcc metal and its nearest neighbors."""
    atoms = bulk(symbol, cubic=True).repeat(5)
    atoms.pbc = False
    order = np.argsort(np.linalg.norm(atoms.positions - atoms.positions[124], axis=1))
    return Atoms(f"{symbol}{neighbors + 1}", scale * atoms.positions[order[: neighbors + 1]])


@pytest.mark.parametrize("symbol", ["Na", "K", "Cs", "Li"])
@pytest.mark.parametrize(("neighbors", "scale"), [(8, 1.0), (8, 0.7), (14, 1.0), (14, 0.8)])
def test_what_fails_in_clusters_of_metals_is_named(symbol, neighbors, scale):
    atoms = cluster(symbol, neighbors, scale)
    contracted, inverse, squares = screened(atoms)
    with pytest.raises(muse_lr.InputError, match="structure 1") as error:
        energies_of(head_model("mbd", [symbol], beta=0.83), [Atoms(symbol), atoms])
    message = str(error.value)
    if squares is None:
        row = contracted[int((contracted <= 0).any(1).argmax())]
        assert f"({symbol}): the self-consistent screening" in message
        assert f"of {row.min():.3g} Å^3" in message
        positive = np.linalg.eigvalsh(inverse)[0] > 0
        assert ("itself is positive definite" in message) == positive
        assert ("not positive definite" in message) == (not positive)
    else:
        assert f"{(squares <= 0).sum()} squared frequencies" in message
        assert f"the lowest is {squares[0]:.3g} eV^2" in message


def test_the_atom_of_a_negative_contraction_is_named():
    """The screened response of nine lithium atoms is positive definite, and an atom's is not."""
    atoms = cluster("Li", 8)
    contracted, inverse, _ = screened(atoms)
    assert np.linalg.eigvalsh(inverse)[0] > 0 > contracted[0, 0]
    order = [3, 1, 0, 2, 4, 5, 6, 7, 8]
    model = head_model("mbd", ["Li"])
    with pytest.raises(muse_lr.InputError, match=r"structure 0, atom 2 \(Li\).*c6 or d3"):
        energies_of(model, [atoms[order]])


def test_metals_that_are_stable_have_the_energy_of_the_equations():
    atoms = bulk("Al", cubic=True).repeat(2)
    atoms.pbc = False
    _, _, squares = screened(atoms)
    model, one = head_model("mbd", ["Al"]), Atoms("Al")
    found = energies_of(model, [atoms, one])
    assert found[1] == pytest.approx(0, abs=1e-12)
    contracted = screened(atoms)[0]
    weights = frequency_grid()[1].numpy()
    omega = 4 / np.pi * weights @ contracted**2 / contracted[0] ** 2
    assert found[0] == pytest.approx(np.sqrt(squares).sum() / 2 - 1.5 * omega.sum(), rel=1e-9)
