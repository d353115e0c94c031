"""Energies in a field: their slope is minus the dipole, or the field is refused."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from ase import Atoms

import muse_lr
from helpers import painn_section, random_model
from muse_lr import testing
from muse_lr.config.registry import CHARGES, lookup

ELEMENTS = ("Na", "Cl", "O")
COULOMB = {"kind": "coulomb"}
#: Charges of the backbone need a backbone that has them; those of few steps of induction are below.
KINDS = [kind for kind in CHARGES if not lookup("charges", kind).needs_charges]
CONVERGED = [kind for kind in KINDS if lookup("charges", kind).converged_response]
#: The kinds, and every option of the multipoles that changes the response.
MODELS = [(kind, {}) for kind in CONVERGED]
MODELS += [(kind, {"l_max": 1}) for kind in CONVERGED if lookup("charges", kind).has_multipoles]
MODELS += [
    ("scf", {"l_max": 1, **options})
    for options in (
        {"nonlinear": True},
        {"nonlinear": True, "spin": True},
        {"nonlinear": True, "charge_response": False},
        {"nonlinear": True, "charges_at_rest": "elements"},
        {"charge_response": False},
        {"spin": True},
    )
]


def model_of(kind, options=None, multiscale=None, **heads):
    charges = {"kind": kind, **(options or {})}
    if kind == "fixed":
        charges["by_element"] = {"Na": 1.0, "Cl": -1.0, "O": -0.3}
    heads = {"coulomb": COULOMB, **heads, "field": {"kind": "external_field"}}
    section = painn_section(ELEMENTS, 4.0, charges=charges, heads=heads)
    return random_model({**section, "multiscale": multiscale}, scale=0.3)


def structure(boundary):
    """Atoms and a strong field, along the normal of a slab."""
    build = getattr(testing.structures, boundary)
    atoms = build(["Na", "Cl", "O", "O"], 3, minimum_distance=1.6)
    field = np.array([0.3, -0.2, 0.5])
    if boundary == "slab":
        normal = np.cross(*atoms.cell.array[atoms.pbc])
        field = 0.6 * normal / np.linalg.norm(normal)
    return atoms, field


def answer(model, atoms, field, *compute):
    atoms = atoms.copy()
    atoms.info["electric_field"] = field
    batch = muse_lr.AtomsBatch.from_ase([atoms], cutoff=model.cutoff)
    return model(batch, ("dipole", *compute))


def slope(values, step):
    """Derivative from values at -2, -1, 1 and 2 steps, to the fourth order."""
    return (values[0] - 8 * values[1] + 8 * values[2] - values[3]) / (12 * step)


@pytest.mark.parametrize("boundary", ["molecule", "slab"])
@pytest.mark.parametrize(("kind", "options"), MODELS, ids=str)
def test_the_slope_of_the_energy_in_a_field_is_minus_the_dipole(kind, options, boundary):
    model = model_of(kind, {"tolerance": 1e-12, **options} if kind == "scf" else options)
    atoms, field = structure(boundary)
    directions = np.eye(3) if boundary == "molecule" else [field / np.linalg.norm(field)]
    compute = ("polarizability",) if boundary == "molecule" else ()
    out = answer(model, atoms, field, *compute)
    dipole, step = out.dipole[0].detach().numpy(), 2e-3
    for direction in directions:
        changed = [answer(model, atoms, field + n * step * direction) for n in (-2, -1, 1, 2)]
        found = slope([float(each.energy.detach()) for each in changed], step)
        assert found == pytest.approx(-dipole @ direction, abs=1e-8)
        if compute:
            bent = slope([each.dipole[0].detach().numpy() for each in changed], step)
            alpha = out.polarizability[0].detach().numpy()
            np.testing.assert_allclose(alpha @ direction, bent, rtol=0, atol=1e-8)
    if lookup("charges", kind).reads_field:  # the field induces a dipole
        still = answer(model, atoms, 0 * field).dipole[0].detach().numpy()
        assert abs((dipole - still) @ field) > 1e-4
    total = float(out.density.charges.detach().sum())
    if lookup("charges", kind).exact_total_charge and kind != "fixed":
        assert total == pytest.approx(0, abs=1e-10)


@pytest.mark.parametrize("kind", ["qeq", "scf"])
@pytest.mark.parametrize(
    ("heads", "named"),
    [
        ({"coulomb": {**COULOMB, "damping_width": 0.5}}, r"heads\.coulomb\.damping_width changes"),
        ({"coulomb": {**COULOMB, "exclusion_radius": 3}}, r"exclusion_radius changes"),
        ({"coulomb": {**COULOMB, "self_interaction": True}}, r"self_interaction changes"),
        ({"coulomb": {**COULOMB, "level": 1}}, r"heads\.coulomb\.level changes"),
        ({"coulomb": None}, r"has 0 coulomb heads: use one"),
        ({"again": COULOMB}, r"has 2 coulomb heads: use one"),
        ({"more": {"kind": "field_features"}}, r"'more' reads the density.*heads\.more: null"),
    ],
)
def test_a_field_is_refused_where_charges_minimize_another_energy(kind, heads, named):
    multiscale = {"kind": "muse", "radius": 2.4, "cutoff": 5.0} if "level" in str(heads) else None
    model = model_of(kind, multiscale=multiscale, **heads)
    atoms, field = structure("molecule")
    with pytest.raises(muse_lr.InputError, match=rf"structure 0 has an electric field.*{named}"):
        answer(model, atoms, field)
    assert bool(torch.isfinite(answer(model, atoms, 0 * field).energy).all())
    # Charges that do not respond to the field may have any energy.
    answer(model_of("split", multiscale=multiscale, **heads), atoms, field)


@pytest.mark.parametrize("options", [{}, {"l_max": 1, "nonlinear": True}])
def test_a_field_is_refused_where_induction_stops_early(options):
    atoms = Atoms("NaCl", [[0, 0, 0], [0, 0, 2.4]])
    with pytest.raises(muse_lr.InputError, match=r"'induced' stop short.*use kind scf"):
        answer(model_of("induced", options), atoms, [0, 0, 0.1])
