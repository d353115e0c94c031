"""Radial distribution functions against lattices and ideal gases."""

from __future__ import annotations

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, molecule

from muse_lr.analysis.rdf import PairHistogram


def test_shells_of_rock_salt():
    """Coordination numbers of the shells, whatever the cell."""
    for atoms in (bulk("NaCl", "rocksalt", a=5.6), bulk("NaCl", "rocksalt", a=5.6, cubic=True)):
        histogram = PairHistogram([11, 17], 6.0)
        for _ in range(2):
            histogram.add(atoms)
        found = {each.pair: each for each in histogram.results()}
        assert set(found) == {"Cl-Cl", "Cl-Na", "Na-Na"}
        unlike, like = found["Cl-Na"], found["Na-Na"]
        for distance, number in ((2.6, 0), (3.0, 6), (4.7, 6), (5.0, 14)):
            assert unlike.coordination[np.searchsorted(unlike.r, distance)] == number
        for distance, number in ((3.8, 0), (4.1, 12), (5.8, 18)):
            assert like.coordination[np.searchsorted(like.r, distance)] == number


def test_an_ideal_gas_has_no_structure():
    rng = np.random.default_rng(1)
    histogram = PairHistogram([1, 8], 8.0)
    for edge in (9.0, 11.0):  # a volume that changes, and distances beyond half the cell
        for _ in range(20):
            atoms = Atoms("H60O30", rng.uniform(0, edge, (90, 3)), cell=[edge] * 3, pbc=True)
            histogram.add(atoms)
    for each in histogram.results():
        assert each.g is not None
        tail = each.g[each.r > 3.0]
        expected = 29 / 30 if each.pair == "O-O" else 59 / 60 if each.pair == "H-H" else 1.0
        assert tail.mean() == pytest.approx(expected, abs=0.02)


def test_a_molecule_has_neighbors_but_no_g():
    histogram = PairHistogram([1, 8], 3.0)
    histogram.add(molecule("H2O"))
    found = {each.pair: each for each in histogram.results()}
    assert set(found) == {"O-H", "H-H"}
    assert found["O-H"].g is None
    assert found["O-H"].coordination[-1] == 2
    assert found["O-H"].density.sum() * 0.05 == pytest.approx(2)


def test_counting_continues_from_a_saved_state():
    atoms = bulk("NaCl", "rocksalt", a=5.6)
    whole, first, second = (PairHistogram([11, 17], 5.0) for _ in range(3))
    whole.add(atoms)
    first.add(atoms)
    second.restore(first.state())
    for histogram in (whole, second):
        histogram.add(atoms)
    for a, b in zip(whole.results(), second.results(), strict=True):
        np.testing.assert_array_equal(a.g, b.g)
