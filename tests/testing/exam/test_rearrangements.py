"""Paths of rearrangements: atoms keep their distance, and coarse nodes are born and die."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from ase import Atoms

from helpers import geometry_of, painn_section, random_model
from muse_lr.multiscale.muse.choices import ThinnedNodes
from muse_lr.multiscale.muse.config import MuseConfig
from muse_lr.testing import exam
from muse_lr.testing.exam.rearrangements import rearrangements
from muse_lr.testing.exam.structures import bond_length
from testing.exam.toys import Ions, verdict

ELEMENTS = [("H", "O"), ("Na", "Cl"), ("C",), ("H", "C", "N", "O")]
NAMES = ("smooth_rearrangement", "stiff_rearrangement")


def events_of(elements, quick=False):
    neutral = Ions(charges=dict.fromkeys(elements, 0.0))
    return list(rearrangements(exam.Bench(neutral, exam.from_elements(elements, quick), quick)))


def scan(event, points=60):
    return [event.path(float(t)) for t in np.linspace(*event.span, points)]


def masses(structures):
    """Masses of the coarse nodes of the default hierarchy, (structures, atoms)."""
    config = MuseConfig()
    geometry = geometry_of(structures, cutoff=config.radius)
    choice = ThinnedNodes(config.delta, config.kappa, config.softening)
    found = choice(geometry, config.inner_fraction * config.radius, config.radius)
    return found.reshape(len(structures), -1).numpy()


def hierarchy():
    """A model with one coarse level and random weights."""
    multiscale = {"kind": "muse", "backbone": "none"}
    section = painn_section(["H", "O"], multiscale=multiscale, charges=None, heads={})
    return random_model(section).requires_grad_(False)


@pytest.mark.parametrize("elements", ELEMENTS, ids="".join)
def test_atoms_that_move_keep_their_distance(elements):
    """Nothing comes closer than 1.3 bond lengths but what is bound in a molecule."""
    for event in events_of(elements):
        structures = scan(event)
        symbols = structures[0].get_chemical_symbols()
        bonds = np.array([[bond_length(a, b) for b in symbols] for a in symbols])
        distances = np.array([atoms.get_all_distances() for atoms in structures])
        changes = np.ptp(distances, axis=0) > 1e-9
        assert changes.any()
        assert (distances / bonds)[:, changes].min() > 1.29


@pytest.mark.parametrize("elements", ELEMENTS, ids="".join)
def test_nodes_are_born_and_die(elements):
    events = events_of(elements)
    for event in events:
        if "chain of Cl and Na" in event.where:
            continue  # its nodes are farther apart than their radius
        nodes = masses(scan(event)) > 0
        assert (nodes.any(0) & ~nodes.all(0)).any(), event.where
    # The sites of a hop tie: one is the only node of both at each end.
    first = masses(scan(events[0]))[:, :2]
    if len(elements) > 1:
        assert np.argmax(first[0]) != np.argmax(first[-1])
        assert first[0].min() == first[-1].min() == 0


def test_the_pieces_cover_the_path():
    for event in events_of(("H", "O")):
        pieces = list(event.pieces(2.0))
        assert pieces[0][0] == event.span[0]
        assert pieces[-1][1] == pytest.approx(event.span[1])
        assert all(a[1] == b[0] for a, b in pairwise(pieces))
        assert max(high - low for low, high in pieces) < 3.0


@pytest.mark.parametrize("name", NAMES)
def test_a_hierarchy_passes(name):
    """Untrained: the nodes of a model with coarse levels come and go smoothly."""
    result = verdict(name, hierarchy(), ("H", "O"))
    assert result.status == "pass", result


def test_a_potential_without_molecules_is_skipped():
    class Periodic(Ions):
        def one(self, atoms, compute):
            if not atoms.pbc.any():
                raise NotImplementedError("crystals only")
            return super().one(atoms, compute)

    result = verdict(NAMES[0], Periodic())
    assert (result.status, result.why) == ("skipped", "crystals only")


def test_one_frame_meets_itself():
    frame = Atoms("NaCl", [[0, 0, 0], [0, 0, 2.6]])
    made = exam.from_frames([frame], quick=True)
    events = list(rearrangements(exam.Bench(Ions(), made, quick=True)))
    assert [event.where for event in events] == [
        "Na between two Cl",
        "frame 0 (ClNa) and frame 0 (ClNa)",
    ]
    assert len(events[1].path(5.0)) == 4
