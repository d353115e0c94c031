"""Slabs with wide gaps: the reciprocal sums leave the gaps out, and nothing changes."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from ase import Atoms

import muse_lr
from muse_lr.electrostatics.ewald import gaps
from muse_lr.units import COULOMB_CONSTANT

BACKBONE = {"kind": "painn", "channels": 4, "layers": 1, "cutoff": 4.0}
FIXED = {"Na": 1.0, "Cl": -0.5, "O": -1.0, "H": 0.3}
SECTIONS = {
    "charges": {"backbone": None, "charges": {"kind": "fixed", "by_element": FIXED, "width": 0.5}},
    "mesh": {
        "backbone": None,
        "charges": {"kind": "fixed", "by_element": FIXED, "width": 0.5},
        "heads": {"coulomb": {"kind": "coulomb", "solver": "pme"}},
    },
    "dipoles": {"backbone": BACKBONE, "charges": {"kind": "latent", "l_max": 1, "width": 0.8}},
    "qeq": {"backbone": BACKBONE, "charges": {"kind": "qeq", "width": 0.8}},
    "scf": {"backbone": BACKBONE, "charges": {"kind": "scf", "l_max": 1, "width": 1.0}},
    "c6": {"backbone": BACKBONE, "charges": None, "heads": {"c6": {"kind": "c6"}}},
    "features": {"backbone": BACKBONE, "heads": {"features": {"kind": "field_features"}}},
    "features of r^-6": {
        "backbone": BACKBONE,
        "heads": {"features": {"kind": "field_features", "exponent": 6}},
    },
    "ewald_mp": {
        "backbone": BACKBONE,
        "multiscale": {"kind": "ewald_mp"},
        "charges": None,
        "heads": {},
    },
}


#: A gap that every sum closes, A.
WIDE_GAP = 600.0


def model_of(name: str) -> muse_lr.EnergyModel:
    torch.manual_seed(0)
    section = {"elements": ["Na", "Cl", "O", "H"], **SECTIONS[name]}
    model = muse_lr.build_model(section).double().eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return model


def two_slabs(distance: float) -> Atoms:
    """Two charged layers; the open axis is the first, and its vector is oblique."""
    atoms = Atoms("NaClOH", pbc=[False, True, True])
    atoms.cell = [[30, 2, 1], [0, 4, 0.3], [0, 0.5, 4.2]]
    atoms.positions = [[0, 0, 0], [0.5, 2, 2], [2.2, 1, 3], [2.4, 3, 1]]
    atoms.positions[2:, 0] += distance
    return atoms


def results(model: muse_lr.EnergyModel, atoms: Atoms) -> list[np.ndarray]:
    atoms = atoms.copy()
    atoms.calc = muse_lr.Calculator(model)
    return [np.array(atoms.get_potential_energy()), atoms.get_forces(), atoms.get_stress()]


@pytest.mark.parametrize("name", SECTIONS)
def test_closing_a_gap_changes_nothing(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    model = model_of(name)
    found_lengths = []
    removed_lengths = gaps._removed_lengths

    def spy(*arguments: object) -> object:
        found_lengths.append(removed_lengths(*arguments))
        return found_lengths[-1]

    monkeypatch.setattr(gaps, "_removed_lengths", spy)
    closed = results(model, two_slabs(WIDE_GAP))
    assert found_lengths
    assert all(lengths is not None for lengths in found_lengths)
    monkeypatch.setattr(gaps, "WIDE", np.inf)
    for found, expected in zip(closed, results(model, two_slabs(WIDE_GAP)), strict=True):
        scale = max(1.0, float(np.abs(expected).max()))
        # The mesh is a multiple of the height.
        np.testing.assert_allclose(
            found, expected, atol=(1e-5 if name == "mesh" else 1e-10) * scale
        )


def test_the_hessian_and_mixed_batches_do_not_change(monkeypatch: pytest.MonkeyPatch) -> None:
    model = model_of("dipoles")
    close = two_slabs(0.0)

    def gradients() -> list[torch.Tensor]:
        structures = [close, two_slabs(WIDE_GAP), Atoms("H2", [[0, 0, 0], [0, 0, 1.0]])]
        batch = muse_lr.AtomsBatch.from_ase(structures, model.cutoff)
        output = model(batch, ("forces", "stress"), create_graph=True)
        loss = output.forces.square().sum() + output.stress[:2].square().sum()
        return list(torch.autograd.grad(loss, list(model.parameters()), allow_unused=True))

    closed = gradients()
    monkeypatch.setattr(gaps, "WIDE", np.inf)
    for found, expected in zip(closed, gradients(), strict=True):
        if expected is not None:
            scale = max(1.0, float(expected.abs().max()))
            torch.testing.assert_close(found, expected, atol=1e-9 * scale, rtol=0)


@pytest.mark.parametrize("distance", [1e5, 1e8])
def test_distant_charged_layers_interact_as_charged_planes(distance: float) -> None:
    """E = -(2 pi k / A) sum q_i q_j |z_i - z_j| for all pairs of atoms in different layers."""
    model = model_of("charges")
    atoms = two_slabs(distance)
    whole = results(model, atoms)
    parts = [results(model, atoms[rows]) for rows in ([0, 1], [2, 3])]
    area = np.linalg.norm(np.cross(*atoms.cell.array[1:]))
    q = np.array([FIXED[symbol] for symbol in atoms.symbols])
    x = atoms.positions[:, 0]  # the plane contains the other two axes
    pairs = q[:2, None] * q[None, 2:] * (x[None, 2:] - x[:2, None])
    plane = -2 * np.pi * COULOMB_CONSTANT / area
    expected = plane * pairs.sum()
    assert whole[0] - parts[0][0] - parts[1][0] == pytest.approx(expected, rel=1e-12, abs=1e-6)
    # The forces are constant, and the stress along the normal is their virial.
    force = plane * np.outer(q[:2], q[2:]).sum()
    found = (whole[1][:2] - parts[0][1]).sum(0)
    np.testing.assert_allclose(found, [force, 0, 0], atol=1e-7)
    strain = (whole[2] - parts[0][2] - parts[1][2])[0] * atoms.get_volume()
    assert strain == pytest.approx(expected, rel=1e-9)
