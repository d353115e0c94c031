"""Hessians of a model: exact, for every boundary and solver, within a bound of memory."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import molecule

import muse_lr
from helpers import evaluate, fixed_charge_model, painn_section, random_model, rattled_salt
from muse_lr.errors import InputError
from muse_lr.model import hessian as hessians
from muse_lr.model.hessian import _Copies, exact_copy, hessian
from muse_lr.structures.batch import atoms_to_data
from muse_lr.units import COULOMB_CONSTANT
from muse_lr.utils.tensor_memory import TensorMemory

ELEMENTS = ["H", "O", "Na", "Cl"]
MUSE = {"kind": "muse", "radius": 4.0, "cutoff": 8.0, "tensor_channels": 4}
STEP = 1e-4


def model_of(charges: str = "conserved", multiscale: dict | None = MUSE) -> muse_lr.EnergyModel:
    """PaiNN with a hierarchy, charges and their Coulomb energy."""
    heads = {"coulomb": {"kind": "coulomb"}}
    section = painn_section(
        ELEMENTS, 3.0, multiscale=multiscale, charges={"kind": charges}, heads=heads
    )
    return random_model(section, scale=0.2)


def ion_in_water() -> Atoms:
    atoms = molecule("H2O") + Atoms("Na", [[0.3, 0.2, 2.6]])
    atoms.info["total_charge"] = 1
    return atoms


def slab() -> Atoms:
    atoms = rattled_salt(0.1)
    atoms.pbc = (True, True, False)
    atoms.cell[2] = 0
    return atoms


STRUCTURES = {"molecule": ion_in_water, "slab": slab, "crystal": lambda: rattled_salt(0.1)}


def by_differences(model: muse_lr.EnergyModel, atoms: Atoms, coordinates: list[int]) -> np.ndarray:
    """Rows of the Hessian by differences of the forces, to the fourth order."""
    rows = []
    for coordinate in coordinates:
        moved = []
        for steps in (-2, -1, 1, 2):
            copy = atoms.copy()
            copy.positions[coordinate // 3, coordinate % 3] += steps * STEP
            moved.append(copy)
        forces = evaluate(model, moved, "forces").forces.detach().numpy().reshape(4, -1)
        rows.append(-(forces[0] - 8 * forces[1] + 8 * forces[2] - forces[3]) / (12 * STEP))
    return np.array(rows)


@pytest.mark.parametrize("boundary", STRUCTURES)
def test_equals_differences_of_forces(boundary):
    model, atoms = model_of(), STRUCTURES[boundary]()
    found = hessian(model, atoms)
    scale = np.abs(found).max()
    assert scale > 0.1
    np.testing.assert_allclose(found, found.T, atol=1e-9 * scale)
    # Acoustic sum rule: a translation makes no forces.
    np.testing.assert_allclose(found.reshape(len(found), -1, 3).sum(1), 0, atol=1e-9 * scale)
    chosen = [0, 4, 3 * len(atoms) - 1]
    np.testing.assert_allclose(found[chosen], by_differences(model, atoms, chosen), atol=1e-5)


@pytest.mark.parametrize("charges", ["qeq", "scf", "split"])
@pytest.mark.parametrize("boundary", ["molecule", "crystal"])
def test_charges_that_are_solved_for(charges, boundary):
    model, atoms = model_of(charges, None), STRUCTURES[boundary]()
    found = hessian(model, atoms, rows=[0])
    np.testing.assert_allclose(found, by_differences(model, atoms, [0, 1, 2]), atol=1e-5)


def test_point_charges_are_those_of_the_textbook():
    charges = {"Na": 1.0, "Cl": -0.7}
    model = fixed_charge_model(charges, coulomb={"kind": "coulomb"})
    atoms = Atoms("NaClNa", [[0, 0, 0], [0.4, 2.1, -0.3], [3.0, 1.0, 1.5]])
    q = [charges[symbol] for symbol in atoms.symbols]
    expected = np.zeros((3, 3, 3, 3))
    for i in range(3):
        for j in range(3):
            if i != j:
                r = atoms.positions[i] - atoms.positions[j]
                length = np.linalg.norm(r)
                bent = 3 * np.outer(r, r) / length**2 - np.eye(3)
                block = COULOMB_CONSTANT * q[i] * q[j] * bent / length**3
                expected[i, j] -= block
                expected[i, i] += block
    found = hessian(model, atoms)
    np.testing.assert_allclose(found, expected.transpose(0, 2, 1, 3).reshape(9, 9), atol=1e-10)


def test_rows_of_some_atoms():
    model, atoms = model_of(), ion_in_water()
    whole = hessian(model, atoms)
    np.testing.assert_allclose(
        hessian(model, atoms, rows=[2, 0]), whole[[6, 7, 8, 0, 1, 2]], atol=1e-12
    )


def test_an_energy_without_forces_has_no_hessian():
    section = {"elements": ["H"], "backbone": None, "charges": None, "heads": {}, "e0": {"H": -1}}
    model = muse_lr.build_model(section).double()
    np.testing.assert_array_equal(hessian(model, Atoms("H2", [[0, 0, 0], [0, 0, 1]])), 0)


@pytest.mark.parametrize(
    ("share", "passes", "copies"),
    [(1.5, 1, [1]), (2.5, 1, [1, 2]), (1e3, 1, [1, 11]), (1e3, 3, [1, 4]), (1e3, 20, [1])],
)
def test_more_memory_computes_more_rows_at_once(share, passes, copies, monkeypatch):
    monkeypatch.setattr(hessians, "PASSES", passes)
    model, atoms = model_of(), ion_in_water()
    data = atoms_to_data(atoms, model.cutoff)
    with TensorMemory() as single:
        _Copies(model, data, 1).rows(np.array([0]))
    made, make = [], _Copies.__init__

    def counted(self, model, data, count):
        made.append(count)
        make(self, model, data, count)

    monkeypatch.setattr(_Copies, "__init__", counted)
    with TensorMemory() as used:
        found = hessian(model, atoms, memory=share * single.peak / 1e9)
    assert made == copies
    assert used.peak <= share * single.peak
    np.testing.assert_allclose(found, hessian(model, atoms), atol=1e-12)


def test_a_bound_that_is_too_small_is_said_and_rows_are_computed_one_by_one():
    model, atoms = model_of(), ion_in_water()
    with pytest.warns(UserWarning, match=r"one row of the Hessian of 4 atoms needs .* GB, more"):
        found = hessian(model, atoms, memory=1e-9)
    np.testing.assert_allclose(found, hessian(model, atoms), atol=1e-12)


def test_the_copy_is_exact_and_the_model_stays_as_it_is():
    model = model_of().float().train()
    copy = exact_copy(model)
    assert (copy.dtype, model.dtype) == (torch.float64, torch.float32)
    assert model.training
    assert not copy.training
    assert any(p.requires_grad for p in model.parameters())
    assert not any(p.requires_grad for p in copy.parameters())


def test_what_the_model_does_not_support_is_refused():
    with pytest.raises(InputError, match="has the element C"):
        hessian(model_of(), molecule("CH4"))
    with pytest.raises(InputError, match=r"an ase\.Atoms is needed"):
        hessian(model_of(), "water.xyz")


def test_memory_of_tensors_is_counted_while_they_exist():
    with TensorMemory() as used:
        a = torch.zeros(1000, dtype=torch.float64)
        view = a[:10]
        assert used.now == 8000
        b = torch.ones(500, dtype=torch.float64).exp()  # the argument is freed
        assert used.now == 12000
        assert used.peak == 16000
        del a
        assert used.now == 12000  # the view keeps it
        del view, b
        assert used.now == 0
