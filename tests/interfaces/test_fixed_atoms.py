"""One structure whose positions an engine supplies."""

from __future__ import annotations

import numpy as np

from muse_lr.interfaces.fixed_atoms import FixedAtoms
from muse_lr.structures import verlet_list


def test_an_engine_that_wraps_atoms_keeps_the_neighbor_list(engine_model, box, monkeypatch):
    built = []
    build = verlet_list.batch_edges

    def counted(*arguments):
        built.append(arguments)
        return build(*arguments)

    monkeypatch.setattr(verlet_list, "batch_edges", counted)
    potential = FixedAtoms(engine_model, box)
    first = potential(box.positions[None], box.cell.array[None])
    wrapped = box.positions.copy()
    wrapped[0] += np.array([1, 0, -1]) @ box.cell.array
    second = potential(wrapped[None], box.cell.array[None])
    assert len(built) == 1
    assert abs(second.energy[0] - first.energy[0]) < 1e-10
    assert np.abs(second.forces - first.forces).max() < 1e-8
    assert np.abs(second.virial - first.virial).max() < 1e-8
