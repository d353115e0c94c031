"""Coulomb sums against textbook constants, direct sums, finite differences and torch-pme."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import bulk, molecule

import muse_lr
from helpers import evaluate, fixed_charge_model, rattled_salt, skewed_salt
from muse_lr.units import COULOMB_CONSTANT

TORCHPME = "torchpme"


def coulomb_model(charges, width=0.0, **head):
    return fixed_charge_model(charges, width, coulomb={"kind": "coulomb", **head})


SALT = {"Na": 1.0, "Cl": -1.0}


def crystal_of(defect: bool) -> Atoms:
    atoms = skewed_salt()
    if defect:
        del atoms[0]
    return atoms


@pytest.mark.parametrize("solver", ["reference", TORCHPME])
@pytest.mark.parametrize(
    ("structure", "distance", "madelung"),
    [("rocksalt", 5.64 / 2, 1.7475645946), ("cesiumchloride", 4.1 * 3**0.5 / 2, 1.7626747731)],
)
def test_madelung_constants(structure, distance, madelung, solver):
    lattice = {"rocksalt": 5.64, "cesiumchloride": 4.1}[structure]
    atoms = bulk("NaCl", structure, a=lattice)
    model = coulomb_model(SALT, accuracy=1e-10, solver=solver)
    energy = float(evaluate(model, [atoms]).energy)
    assert energy * distance / COULOMB_CONSTANT == pytest.approx(-madelung, rel=1e-9)


def test_zincblende_madelung_constant():
    model = coulomb_model({"Zn": 2.0, "S": -2.0}, accuracy=1e-10)
    energy = float(evaluate(model, [bulk("ZnS", "zincblende", a=5.41)]).energy)
    distance = 5.41 * 3**0.5 / 4
    assert energy * distance / COULOMB_CONSTANT / 4 == pytest.approx(-1.6380550534, rel=1e-9)


@pytest.mark.parametrize("width", [0.0, 0.4, 1.3])
def test_open_sum_is_the_direct_sum(width):
    from scipy.special import erf

    atoms = molecule("CH3CH2OH")
    charges = {"C": 0.1, "H": 0.15, "O": -0.6}
    energy = float(evaluate(coulomb_model(charges, width), [atoms]).energy)
    q = np.array([charges[s] for s in atoms.symbols])
    direct = 0.0
    for i in range(len(atoms)):
        for j in range(i):
            r = atoms.get_distance(i, j)
            kernel = erf(r / (2 * width)) / r if width else 1 / r
            direct += COULOMB_CONSTANT * q[i] * q[j] * kernel
    assert energy == pytest.approx(direct, rel=1e-13)


@pytest.mark.parametrize("defect", [False, True], ids=["neutral", "charged"])
@pytest.mark.parametrize("width", [0.0, 0.3, 1.0])
def test_ewald_equals_torch_pme(width, defect):
    atoms = crystal_of(defect)
    results = [
        evaluate(coulomb_model(SALT, width, accuracy=1e-10, solver=s), [atoms], "forces", "stress")
        for s in ("reference", TORCHPME)
    ]
    for name in ("energy", "forces", "stress"):
        ours, theirs = (getattr(result, name).detach() for result in results)
        torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-9, msg=name)


@pytest.mark.parametrize("width", [0.0, 0.5])
def test_net_charge_does_not_depend_on_the_splitting(width):
    atoms = crystal_of(defect=True)
    energies = [
        float(evaluate(coulomb_model(SALT, width, accuracy=1e-11, cutoff=c), [atoms]).energy)
        for c in (5.0, 7.5, 10.0)
    ]
    assert np.ptp(energies) < 1e-8


@pytest.mark.parametrize("accuracy", [1e-3, 1e-5, 1e-7])
def test_accuracy_is_delivered(accuracy):
    """RMS force error over k q_rms^2 (N/V)^(2/3), against a sum that is converged much further."""
    atoms = skewed_salt().repeat((2, 1, 2))
    exact, forces = (
        evaluate(coulomb_model(SALT, accuracy=a), [atoms], "forces").forces.detach()
        for a in (1e-12, accuracy)
    )
    scale = COULOMB_CONSTANT * (len(atoms) / atoms.get_volume()) ** (2 / 3)
    assert float((forces - exact).square().mean().sqrt()) / scale < accuracy


@pytest.mark.parametrize("width", [0.0, 0.8])
def test_stress_is_the_strain_derivative(width):
    atoms = crystal_of(defect=True)
    model = coulomb_model(SALT, width, accuracy=1e-10)
    stress = evaluate(model, [atoms], "stress").stress[0].detach().numpy()
    step = 1e-4
    for a, b in [(0, 0), (1, 1), (2, 2), (0, 1), (1, 2), (0, 2)]:
        energies = []
        for sign in (1, -1):
            strain = np.zeros((3, 3))
            strain[a, b] += sign * step / 2
            strain[b, a] += sign * step / 2
            strained = atoms.copy()
            strained.set_cell(atoms.cell.array @ (np.eye(3) + strain), scale_atoms=True)
            energies.append(float(evaluate(model, [strained]).energy))
        numeric = (energies[0] - energies[1]) / (2 * step) / atoms.get_volume()
        assert stress[a, b] == pytest.approx(numeric, abs=1e-6)


def test_energy_is_the_same_for_equivalent_cells():
    atoms = skewed_salt()
    equivalent = atoms.copy()
    equivalent.set_cell(np.array([[1, 2, 0], [0, 1, 0], [-1, 0, 1]]) @ atoms.cell.array)
    left_handed = atoms.copy()
    left_handed.set_cell(atoms.cell.array[[1, 0, 2]])
    model = coulomb_model(SALT, accuracy=1e-6)
    energies = evaluate(model, [atoms, equivalent, left_handed]).energy.detach()
    assert float(energies.max() - energies.min()) < 1e-10


def test_energy_is_continuous_under_strain():
    """No step where k vectors enter: the second difference stays small along +-3 %."""
    atoms = rattled_salt(0.1)
    model = coulomb_model(SALT, accuracy=1e-5)
    strained = []
    for scale in np.linspace(0.97, 1.03, 241):
        copy = atoms.copy()
        copy.set_cell(atoms.cell.array * scale, scale_atoms=True)
        strained.append(copy)
    energy = evaluate(model, strained).energy.detach().numpy() / len(atoms)
    assert np.abs(np.diff(energy, 3)).max() < 1e-6


def test_mixed_boundaries_equal_one_by_one():
    structures = [molecule("NaCl"), crystal_of(True), Atoms("Cl"), skewed_salt()]
    model = coulomb_model(SALT, 0.5)
    together = evaluate(model, structures, "forces")
    alone = [evaluate(model, [atoms], "forces") for atoms in structures]
    energies = torch.cat([result.energy for result in alone])
    torch.testing.assert_close(together.energy, energies, rtol=0, atol=1e-12)
    forces = torch.cat([result.forces for result in alone])
    torch.testing.assert_close(together.forces, forces, rtol=0, atol=1e-12)


@pytest.mark.parametrize("width", [0.0, 0.6])
def test_derivatives_to_second_order(width):
    atoms = crystal_of(defect=True)
    model = coulomb_model(SALT, width, accuracy=1e-4)
    batch = muse_lr.AtomsBatch.from_ase([atoms], cutoff=model.cutoff)

    def energy(positions):
        moved = batch.clone()
        moved.positions = positions
        return model(moved).energy.sum()

    start = batch.positions.clone().requires_grad_(True)
    assert torch.autograd.gradgradcheck(energy, (start,), atol=1e-6)
    hessian = torch.autograd.functional.hessian(energy, start).reshape(21, 21)
    torch.testing.assert_close(hessian, hessian.T, rtol=0, atol=1e-10)


def test_chains_are_refused():
    chain = bulk("NaCl", "rocksalt", a=5.64, cubic=True)
    chain.pbc = (False, True, False)
    with pytest.raises(muse_lr.InputError, match="one axis only"):
        evaluate(coulomb_model(SALT), [chain])


def test_unknown_solver_is_named():
    with pytest.raises(muse_lr.InputError, match="did you mean 'reference'"):
        coulomb_model(SALT, solver="referense")
