"""How energies of far fragments decay in open systems: local slopes of untrained models."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from ase import Atoms

import muse_lr
from helpers import painn_section, random_model
from muse_lr import testing
from muse_lr.units import COULOMB_CONSTANT

FORMAL = {"Na": 1.0, "Cl": -1.0, "H": 0.4, "O": -0.4}
#: Distances at which slopes are measured, A, and the step of the difference in ln R.
DISTANCES = (30.0, 55.0, 100.0)
STEP = 0.02
#: Fragments and the exponent of their interaction.
FRAGMENTS = {
    "charge-charge": ("Na", "Cl", -1),
    "charge-dipole": ("Na", "OH", -2),
    "dipole-dipole": ("HO", "OH", -3),
}


def fragment(model, symbols):
    """An atom, or a diatomic about the point of its axis where its dipole has no quadrupole."""
    if len(Atoms(symbols)) == 1:
        return Atoms(symbols)
    atoms = Atoms(symbols, [[-0.5, -0.1, -0.2], [0.5, 0.1, 0.2]])
    batch = muse_lr.AtomsBatch.from_ase([atoms], cutoff=model.cutoff)
    out = model(batch, ("dipole", "quadrupole"))
    dipole, quadrupole = out.dipole[0].detach().numpy(), out.quadrupole[0].detach().numpy()
    # Theta along mu is Theta - 2 a mu about a point that is a further along mu.
    atoms.positions -= dipole * (dipole @ quadrupole @ dipole) / (2 * (dipole @ dipole) ** 2)
    return atoms


def build(backbone, charges, heads):
    """A model with its initial weights."""
    section = painn_section(list(FORMAL), 4.0, charges=charges, heads=heads)
    section["backbone"] = {**section["backbone"], "layers": 2} if backbone else None
    return random_model(section, weights=None)


def interaction(model, first, second, distances):
    """(n,) energies less those of the fragments, the second one moved along x."""
    structures = [first, second]
    for distance in distances:
        moved = second.copy()
        moved.positions[:, 0] += distance
        structures.append(first + moved)
    for atoms in structures if model.config.charges.kind != "fixed" else ():
        atoms.info["total_charge"] = round(sum(FORMAL[symbol] for symbol in atoms.symbols))
    batch = muse_lr.AtomsBatch.from_ase(structures, cutoff=model.cutoff)
    energies = model(batch).energy.detach().numpy()
    return energies[2:] - energies[:2].sum()


def slopes(model, first, second, distances=DISTANCES):
    """d ln |E| / d ln R at each distance."""
    around = np.asarray(distances)[:, None] * np.exp([-STEP, STEP])
    found = interaction(model, first, second, around.ravel()).reshape(-1, 2)
    return np.diff(np.log(np.abs(found)), axis=1)[:, 0] / (2 * STEP)


@pytest.mark.parametrize("pair", FRAGMENTS)
@pytest.mark.parametrize(
    "options", [{}, {"damping_width": 1.5}, {"exclusion_radius": 6.0}], ids=str
)
@pytest.mark.parametrize("kind", ["fixed", "split", "split:1"])
def test_slopes_of_the_coulomb_head(kind, options, pair):
    """Formal charges; transfers of an untrained network, with and without atomic dipoles."""
    kind, _, l_max = kind.partition(":")
    charges = {"kind": kind, "by_element": FORMAL, "width": 0.8}
    if kind == "split":
        constants = {"Na": 1.0, "Cl": -1.0}
        charges |= {"by_element": constants, "l_max": int(l_max or 0), "net_charge": "refuse"}
    model = build(kind == "split", charges, {"coulomb": {"kind": "coulomb", **options}})
    first, second, exponent = FRAGMENTS[pair]
    found = slopes(model, fragment(model, first), fragment(model, second))
    np.testing.assert_allclose(found, exponent, atol=0.01)


@pytest.mark.parametrize(
    ("source", "exponent", "distances"),
    [("Na", -1, (3e3, 5e3, 1e4)), ("OH", -2, (300.0, 500.0, 1000.0))],
)
def test_field_features_follow_the_potential(source, exponent, distances):
    """A molecule without charges feels that of an ion or of a dipole; the rest is of higher order.

    Nonlinear, so that the slope is reached further out than that of a pair energy.
    """
    charges = {"kind": "fixed", "by_element": {**FORMAL, "Cl": 0.0}, "width": 0.8}
    model = build(True, charges, {"field": {"kind": "field_features"}})
    testing.randomize_weights(model, seed=1)
    found = slopes(model, Atoms("Cl"), fragment(model, source), distances)
    np.testing.assert_allclose(found, exponent, atol=0.01)


@pytest.mark.parametrize(
    ("source", "exponent", "distances", "tolerance"),
    [("Na", -6, (30.0, 40.0), 0.01), ("OH", -7, (25.0, 30.0), 0.05)],
)
def test_field_features_follow_the_sixth_power(source, exponent, distances, tolerance):
    """With the exponent 6; a probe of width s adds 15 s^2 / R^2 to an ion's potential.

    Further out the tail is lost in the digits of the network's energy.
    """
    charges = {"kind": "fixed", "by_element": {**FORMAL, "Cl": 0.0}, "width": 0.8}
    head = {"kind": "field_features", "exponent": 6, "widths": [0.5], "l_max": 0}
    model = build(True, charges, {"field": head})
    testing.randomize_weights(model, seed=1)
    with torch.no_grad():
        model.heads["field"].gate.fill_(1e4)
    found = slopes(model, Atoms("Cl"), fragment(model, source), distances)
    np.testing.assert_allclose(found, exponent, atol=tolerance)


@pytest.mark.parametrize("kind", ["induced", "scf"])
def test_an_ion_polarizes_an_atom(kind):
    """E = -S F^2 / 2 with F = k / R^2, to all digits; the ion feels the dipole at R^-10 only."""
    charges = {"kind": kind, "l_max": 1, "width": 0.8, "charge_response": False}
    model = build(True, charges, {"coulomb": {"kind": "coulomb"}})
    with torch.no_grad():
        model.charges.readout[-1].weight.zero_()
        model.charges.offsets.copy_(torch.tensor([[1.0], [-1.0], [0.0], [0.0]]))
    ion, atom, distances = Atoms("Na"), Atoms("O"), np.array([30.0, 55.0, 100.0])
    np.testing.assert_allclose(slopes(model, ion, atom, distances), -4, atol=0.01)
    inputs = []
    model.charges.register_forward_pre_hook(lambda _, given: inputs.extend(given))
    model(muse_lr.AtomsBatch.from_ase([atom], cutoff=model.cutoff))
    susceptibility = float(
        model.charges.susceptibilities(inputs[0].features, inputs[0].composition)[0, 1, 0].detach()
    )
    expected = -susceptibility * (COULOMB_CONSTANT / distances**2) ** 2 / 2
    found = interaction(model, ion, atom, distances)
    np.testing.assert_allclose(found, expected, rtol=1e-5)
