"""Lattices, liquids, surfaces, defects and near ties: distances, metrics and shrinking."""

from __future__ import annotations

import numpy as np
import pytest
from ase.neighborlist import neighbor_list
from hypothesis import find, given

from muse_lr.errors import InputError
from muse_lr.testing import arrangements, strategies

MINIMUM = 1.3
KINDS = {
    "liquids": strategies.liquids,
    "surfaces": strategies.surfaces,
    "defects": strategies.defects,
    "near_ties": strategies.near_ties,
    "bravais": strategies.bravais_crystals,
    "all": strategies.all_arrangements,
}


def smallest_distance(atoms):
    return min(neighbor_list("d", atoms, 2 * MINIMUM), default=2 * MINIMUM)


@pytest.mark.parametrize("kind", KINDS)
def test_distances_hold_over_periodic_images(kind):
    @given(atoms=KINDS[kind](["Na", "Cl"], minimum_distance=MINIMUM))
    def holds(atoms):
        assert smallest_distance(atoms) >= MINIMUM - 1e-9

    holds()


@pytest.mark.parametrize("kind", KINDS)
def test_failures_shrink_to_few_atoms_of_the_first_element(kind):
    smallest = find(KINDS[kind](["Na", "Cl"]), lambda atoms: True)
    assert len(smallest) <= 2
    assert set(smallest.symbols) == {"Na"}


@pytest.mark.parametrize("lattice", arrangements.LATTICES)
@pytest.mark.parametrize("basis", [["Na"], ["Na", "Cl"]])
def test_lattices_have_their_symmetry(lattice, basis):
    """ASE finds the lattice from the metric of the reduced cell alone."""
    for seed in range(5):
        atoms = arrangements.bravais_crystal(lattice, basis, seed, minimum_distance=MINIMUM)
        assert len(atoms) == len(basis)
        assert atoms.cell.get_bravais_lattice().name == lattice
        assert smallest_distance(atoms) == pytest.approx(MINIMUM, abs=1e-9)


def test_seeds_change_what_the_lattice_leaves_open():
    for lattice, free in (("FCC", False), ("HEX", True), ("TRI", True)):
        made = [arrangements.bravais_crystal(lattice, ["Na"], seed) for seed in (0, 1)]
        assert np.allclose(made[0].cell.array, made[1].cell.array) is not free


def test_a_liquid_has_no_lattice():
    """The order of the wave of the starting lattice is 1, and vanishes in a liquid."""
    waves = []
    for seed in (0, 1):
        atoms = arrangements.liquid(["Ar"] * 27, seed, minimum_distance=MINIMUM)
        wave = np.exp(2j * np.pi * 3 * atoms.get_scaled_positions())
        waves.append(np.abs(wave.mean(0)).max())
    assert waves[0] == pytest.approx(1.0)
    assert waves[1] < 0.5


def test_surfaces_have_an_adsorbate_above():
    atoms = arrangements.surface(["Mg", "O"], ["C", "O"], layers=2, width=2, site="hollow")
    assert atoms.get_chemical_formula() == "CMg4O5"
    assert atoms.positions[-2:, 2].min() > atoms.positions[:-2, 2].max()
    assert list(atoms.pbc) == [True, True, False]


@pytest.mark.parametrize(
    ("kind", "formula"),
    [("vacancy", "Cl4Na3"), ("interstitial", "Cl4KNa4"), ("substitution", "Cl4KNa3")],
)
def test_defects_change_one_atom(kind, formula):
    atoms = arrangements.defect(["Na", "Cl"], kind, "K", shape=(2, 2, 2))
    assert atoms.get_chemical_formula() == formula


@pytest.mark.parametrize("shift", [1e-2, 1e-8])
def test_near_ties_differ_by_their_shift(shift):
    atoms = arrangements.nearly_degenerate(["Na"] * 8, 1, shift=shift)
    distances = np.sort(atoms.get_all_distances()[np.triu_indices(8, 1)])[:12]
    spread = np.ptp(distances)
    assert shift / 10 < spread < 4 * shift


def test_other_lattices_are_refused():
    with pytest.raises(InputError, match="no lattice 'FC'"):
        arrangements.bravais_crystal("FC", ["Na"])
    with pytest.raises(InputError, match="one or two atoms"):
        arrangements.bravais_crystal("FCC", [])
