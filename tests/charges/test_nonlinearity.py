"""Nonlinear polarization: a convex energy, its gradient and its Legendre transform."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from ase import Atoms
from scipy.optimize import minimize

import muse_lr
from helpers import painn_section, random_model
from muse_lr.charges.nonlinearity import Nonlinearity
from muse_lr.charges.polarization import by_component

pytestmark = pytest.mark.usefixtures("float64")


def drawn(l_max=2, channels=2, atoms=5, seed=0):
    """A nonlinearity near its limits, fields and susceptibilities."""
    rng = np.random.default_rng(seed)
    strength = np.tanh(rng.normal(size=(atoms, 4, channels)) * 3)
    strength[0], strength[1] = 0.999, -0.999
    scale = rng.exponential(size=(atoms, 4, l_max)) ** 3
    fields = rng.normal(size=(atoms, (l_max + 1) ** 2)) * rng.exponential(size=(atoms, 1)) * 2
    susceptibility = rng.exponential(size=(atoms, l_max + 1, channels))
    parts = (torch.from_numpy(part) for part in (strength, scale, fields, susceptibility))
    strength, scale, fields, susceptibility = parts
    return Nonlinearity(strength, scale), fields.requires_grad_(True), susceptibility


@pytest.mark.parametrize("l_max", [1, 2])
def test_the_response_is_the_gradient_of_the_energy(l_max):
    nonlinearity, fields, susceptibility = drawn(l_max)
    response = by_component(susceptibility * nonlinearity.factors(fields, susceptibility))
    for channel in range(2):
        energy = nonlinearity.energy(fields, susceptibility)[:, channel].sum()
        (slope,) = torch.autograd.grad(energy, fields)
        expected = response[:, 1:, channel] * fields[:, 1:]
        torch.testing.assert_close(slope[:, 1:], expected, rtol=1e-12, atol=1e-12)
        assert bool((slope[:, 0] == 0).all())  # charges respond linearly
    factors = nonlinearity.factors(fields, susceptibility)
    assert bool(((factors > 0) & (factors < 2)).all())
    assert float((factors[:, 1:] - 1).detach().abs().max()) > 0.3


@pytest.mark.parametrize("seed", range(5))
def test_the_curvature_is_positive_and_at_most_twice_that_of_a_linear_response(seed):
    nonlinearity, fields, susceptibility = drawn(seed=seed)
    for atom in range(len(fields)):
        one = Nonlinearity(*(part[atom, None] for part in vars(nonlinearity).values()))

        def energy(field, one=one, atom=atom):
            full = torch.cat([torch.zeros(1), field])[None]
            return one.energy(full, susceptibility[atom, None])[0, 0]

        hessian = torch.autograd.functional.hessian(energy, fields[atom, 1:].detach())
        linear = by_component(susceptibility[atom, None])[0, 1:, 0]
        scaled = hessian / (linear[:, None] * linear).sqrt()
        values = torch.linalg.eigvalsh(scaled)
        assert 0 < float(values[0]) <= float(values[-1]) < 2


def test_one_atom_in_a_field_minimizes_its_energy():
    """The energy g*(w) - w.F of one atom, with g* from a maximization by scipy."""
    model = model_of("scf")
    field = np.array([0.6, -0.8, 1.1])
    atoms = Atoms("O", info={"electric_field": field})
    out, seen = answer(model, atoms)
    g = lambda v: float(  # noqa: E731
        seen["nonlinearity"].energy(torch.tensor([[0.0, *v]]), seen["susceptibility"])[0, 0]
    )
    moments = out.density.moments[0, 1:].detach().numpy()
    rest = seen["reference"][0, 1:, 0].numpy()
    transform = minimize(lambda v: g(v) - (rest - moments) @ v, np.zeros(3), tol=1e-12)
    work = float(out.energy_parts["charges"].detach())
    assert work == pytest.approx(-transform.fun, abs=1e-9)
    linear = ((rest - moments) ** 2 / 2 / float(seen["susceptibility"][0, 1, 0])).sum()
    assert abs(work - linear) > 1e-4


def model_of(kind, **options):
    charges = {"kind": kind, "l_max": 1, "nonlinear": True, **options}
    heads = {"coulomb": {"kind": "coulomb"}, "field": {"kind": "external_field"}}
    section = painn_section(["H", "C", "O"], charges=charges, heads=heads)
    return random_model(section, scale=0.5)


def answer(model, atoms, *compute):
    """The output, and the response of the charge model, detached."""
    seen, polarized = {}, model.charges.polarized

    def spy(polarize, response, geometry):
        seen.update({k: v.detach() for k, v in vars(response).items() if torch.is_tensor(v)})
        parts = vars(response.nonlinearity).values()
        seen["nonlinearity"] = Nonlinearity(*(part.detach() for part in parts))
        return polarized(polarize, response, geometry)

    model.charges.polarized = spy
    batch = muse_lr.AtomsBatch.from_ase([atoms], cutoff=model.cutoff)
    return model(batch, compute), seen


@pytest.mark.parametrize("spin", [False, True])
def test_weak_fields_are_answered_linearly_and_strong_ones_are_not(spin):
    """The polarizability of an atom changes with the field, and stays positive."""
    model = model_of("scf", spin=spin)
    alphas = []
    for strength in (0.0, 1e-4, 2.0):
        atoms = Atoms("O", info={"electric_field": [0, 0, strength]})
        alphas.append(answer(model, atoms, "polarizability")[0].polarizability[0].detach())
    assert float((alphas[1] - alphas[0]).abs().max()) < 1e-8
    assert float((alphas[2] - alphas[0]).abs().max()) > 1e-3 * float(alphas[0].max())
    assert all(float(torch.linalg.eigvalsh(alpha)[0]) > 0 for alpha in alphas)


@pytest.mark.parametrize("kind", ["induced", "scf"])
def test_charges_alone_are_linear(kind):
    with pytest.raises(muse_lr.InputError, match=r"nonlinear is true and l_max is 0.*l_max to 1"):
        model_of(kind, l_max=0)
