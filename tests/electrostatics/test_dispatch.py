"""Who sums what: a solver is never used where it is wrong, and a choice is explained."""

from __future__ import annotations

import pytest
import torch
from ase import Atoms
from ase.build import bulk, molecule

import muse_lr
from charge_systems import FFF, TTT, System, random_structure
from helpers import rattled_salt
from muse_lr.config.registry import SOLVERS, lookup
from muse_lr.electrostatics import dispatch
from muse_lr.electrostatics.base import EVERY_DERIVATIVE
from muse_lr.electrostatics.dispatch import FIRST_DERIVATIVES, MESH_SIZE, Electrostatics
from muse_lr.structures.geometry import strained_geometry

TRAINING = frozenset({"forces", "stress", "force_loss", "stress_loss"})


def electrostatics(l_max=0, accuracy=1e-4, solver="auto", widths=(0.0,)):
    return Electrostatics(widths, l_max, accuracy, 6.0, solver)


@pytest.mark.parametrize("derivatives", [FIRST_DERIVATIVES, TRAINING, EVERY_DERIVATIVE])
@pytest.mark.parametrize("boundary", ["TTF", "TTT"])
@pytest.mark.parametrize("n_atoms", [1, MESH_SIZE])
@pytest.mark.parametrize("l_max", [0, 2])
@pytest.mark.parametrize("accuracy", [1e-2, 1e-12])
def test_what_is_chosen_is_right(derivatives, boundary, n_atoms, l_max, accuracy):
    choice = electrostatics(l_max, accuracy).choose(boundary, n_atoms, derivatives)
    solver = lookup("solver", choice.name)
    assert derivatives <= solver.supported_derivatives
    assert boundary in solver.boundaries
    assert solver.l_max >= l_max
    assert solver.best_accuracy <= accuracy


def test_small_crystals_go_to_the_reference_and_large_ones_to_a_mesh():
    sums = electrostatics()
    assert sums.choose("TTT", MESH_SIZE - 1, FIRST_DERIVATIVES).name == "reference"
    assert sums.choose("TTT", MESH_SIZE, EVERY_DERIVATIVE).name == "pme"
    assert electrostatics(l_max=1).choose("TTT", MESH_SIZE, FIRST_DERIVATIVES).name == "reference"
    assert electrostatics(accuracy=1e-11).choose("TTF", MESH_SIZE, TRAINING).name == "reference"


def test_a_mixed_batch_goes_to_several_solvers(monkeypatch):
    """With a low threshold molecules, slabs, small and large crystals meet in one call."""
    monkeypatch.setattr(dispatch, "MESH_SIZE", 64)
    salt = rattled_salt(0.1, repeat=(2, 2, 2))
    structures = [
        random_structure(4, FFF, seed=1),
        random_structure(4, TTT, seed=2),
        random_structure(4, (True, False, True), seed=3),
        salt,
        Atoms("H"),
    ]
    system = System(structures, 0, accuracy=1e-4).neutral()
    geometry = strained_geometry(system.batch, system.positions, None)
    sums = electrostatics(accuracy=1e-4)
    assert sums.choose("TTT", 64, FIRST_DERIVATIVES).name == "pme"
    energies = sums.energy(system.density(), geometry, FIRST_DERIVATIVES)
    exact = System(structures, 0, accuracy=1e-10)
    torch.testing.assert_close(
        energies, exact.energies(moments=system.moments), rtol=1e-4, atol=1e-2
    )


@pytest.mark.parametrize("name", [n for n in SOLVERS if not n.startswith("nvalchemi")])
def test_a_named_solver_is_refused_where_it_is_wrong(name):
    sums = electrostatics(solver=name)
    right = lookup("solver", name).supported_derivatives
    if right >= EVERY_DERIVATIVE:
        assert sums.choose("TTT", 1, EVERY_DERIVATIVE).name == name
    else:
        with pytest.raises(muse_lr.InputError, match="is wrong or inexact for: hessian"):
            sums.choose("TTT", 1, EVERY_DERIVATIVE)


def test_what_a_solver_cannot_do_is_refused_when_built():
    with pytest.raises(muse_lr.InputError, match="up to l = 0"):
        electrostatics(l_max=1, solver="torchpme")
    with pytest.raises(muse_lr.InputError, match="down to"):
        electrostatics(accuracy=1e-9, solver="torchpme_pme")
    with pytest.raises(muse_lr.InputError, match="did you mean 'torchpme'"):
        electrostatics(solver="torchpm")


def test_a_model_says_what_it_is_differentiated_for():
    """A Hessian of a model with a mesh solver is refused, its forces are not."""
    model = muse_lr.build_model(
        {
            "elements": ["Na", "Cl"],
            "backbone": None,
            "charges": {"kind": "fixed", "by_element": {"Na": 1, "Cl": -1}, "width": 0},
            "heads": {"coulomb": {"kind": "coulomb", "accuracy": 1e-3, "solver": "torchpme_pme"}},
        }
    ).double()
    salt = bulk("NaCl", "rocksalt", a=5.64, cubic=True)
    batch = muse_lr.AtomsBatch.from_ase([salt, molecule("NaCl")], cutoff=model.cutoff)
    assert model.eval()(batch, ("forces", "stress")).forces.shape == (10, 3)
    with pytest.raises(muse_lr.InputError, match="hessian"):
        model(batch, ("forces",), create_graph=True)
    batch.positions.requires_grad_(True)
    with pytest.raises(muse_lr.InputError, match="hessian"):
        model(batch)


def test_a_choice_is_explained():
    sums = electrostatics()
    assert "all pairs" in sums.explain("FFF", 10)
    assert "reference (the fastest below" in sums.explain("TTT", 10)
    assert "pme (a mesh, from 1000 atoms on)" in sums.explain("TTT", MESH_SIZE)
    named = electrostatics(solver="torchpme_pme").explain("TTT", MESH_SIZE)
    assert "Hessians: refused" in named
