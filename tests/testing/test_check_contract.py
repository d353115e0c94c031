"""All checks in one call: nothing is left out in silence, and a violation is found and placed."""

from __future__ import annotations

import pytest

from helpers import random_model
from muse_lr.heads.zbl import ZBLHead
from muse_lr.testing import CheckFailed, check_contract
from muse_lr.testing.structures import molecule

SECTION = {
    "elements": ["H", "O"],
    "backbone": {"kind": "painn", "cutoff": 3.0, "channels": 4, "layers": 1},
    "charges": None,
    "heads": {"repulsion": {"kind": "zbl"}},
}
MOLECULE = molecule(["H", "O"], 1, minimum_distance=1.1)


def test_what_the_structures_do_not_allow_is_named():
    contract = check_contract(random_model(SECTION), [MOLECULE])
    left_out = "\n".join(contract.not_applicable)
    assert "check_training_gradient needs a periodic structure" in left_out
    assert "check_size_consistency needs two molecules" in left_out
    assert "forces" in {measurement.name for measurement in contract.measurements}


def tilted(head, inputs):
    """An energy that depends on the orientation."""
    geometry = inputs.geometry
    near = geometry.edge_lengths < 2
    along = geometry.edge_vectors[near, 0].square() * (2 - geometry.edge_lengths[near]) ** 3
    energies = geometry.positions.new_zeros(geometry.num_graphs)
    return energies.index_add(0, geometry.graph_index[geometry.edge_index[1, near]], along)


def test_a_violation_is_found_and_placed(monkeypatch):
    model = random_model(SECTION)
    monkeypatch.setattr(ZBLHead, "forward", tilted)
    with pytest.raises(CheckFailed, match="rotation") as caught:
        check_contract(model, [MOLECULE])
    assert caught.value.__notes__ == ["check_contract: structure 0 (HO)"]
