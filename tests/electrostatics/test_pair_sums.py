"""Sums over all pairs in portions: the same derivatives, in memory that does not grow."""

from __future__ import annotations

import gc

import numpy as np
import pytest
import torch
from ase import Atoms

import muse_lr
from helpers import painn_section, random_model
from muse_lr import testing
from muse_lr.electrostatics import pair_sums
from muse_lr.electrostatics.ewald.reference import ReferenceSolver
from muse_lr.electrostatics.fields import FieldOperator
from muse_lr.structures.geometry import strained_geometry

pytestmark = pytest.mark.usefixtures("float64")
SIZES, CHOSEN = torch.tensor([4, 2, 5, 0, 3]), torch.tensor([True, False, True, True, True])

#: Charges and heads that sum over all pairs of molecules, or over the heights of slabs.
SUMS = {
    "coulomb": ({"kind": "latent", "l_max": 1}, {"kind": "coulomb"}),
    "field_features": ({"kind": "latent", "l_max": 1}, {"kind": "field_features"}),
    "power": ({"kind": "latent", "width": 0.8}, {"kind": "field_features", "exponent": 6}),
    "scf": ({"kind": "scf", "l_max": 1}, {"kind": "coulomb"}),
    "c6": (None, {"kind": "c6", "cutoff": 4.0}),
}


def potential(first, second, positions, charges):
    """Energies of the graphs, whose pair function is not linear in anything."""
    distance = torch.linalg.vector_norm(positions[first] - positions[second], dim=1)
    pair = torch.sin(charges[first] * charges[second]) * torch.exp(-distance)
    graph = torch.repeat_interleave(torch.arange(len(SIZES)), SIZES)
    return pair.new_zeros(len(SIZES)).index_add(0, graph[first], pair)


def derivatives(portion, monkeypatch):
    """Value, gradient and contractions of the second and third derivatives."""
    monkeypatch.setattr(pair_sums, "PORTION", portion)
    rng = np.random.default_rng(0)
    count = int(SIZES.sum())
    draw = lambda *shape: torch.from_numpy(rng.normal(size=shape))  # noqa: E731
    inputs = (draw(count, 3).requires_grad_(True), draw(count).requires_grad_(True))
    weights, directions = draw(len(SIZES)), (draw(count, 3), draw(count))
    value = pair_sums.sum_over_pairs(potential, SIZES, CHOSEN, inputs)
    found, scalar = [value], (value * weights).sum()
    for _ in range(3):
        gradient = torch.autograd.grad(scalar, inputs, create_graph=True)
        found += gradient
        scalar = sum((g * d).sum() for g, d in zip(gradient, directions, strict=True))
        # Of the second derivative, only the part of the charges is wanted.
        directions = (torch.zeros(count, 3), directions[1])
    return found


@pytest.mark.parametrize("portion", [1, 3, 8])
def test_derivatives_do_not_depend_on_the_portions(portion, monkeypatch):
    whole = derivatives(10**6, monkeypatch)
    for expected, found in zip(whole, derivatives(portion, monkeypatch), strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-13)
    assert float(whole[0][1].detach()) == 0  # not chosen


def model_of(name):
    charges, head = SUMS[name]
    section = painn_section(["Na", "Cl", "O"], charges=charges, heads={"head": head})
    return random_model(section, scale=0.3)


@pytest.mark.parametrize("name", SUMS)
def test_models_do_not_depend_on_the_portions(name, monkeypatch):
    model = model_of(name)
    symbols = ["Na", "Cl", "O", "O", "Na", "Cl", "O"]
    make = (testing.structures.molecule, testing.structures.slab, testing.structures.molecule)
    structures = [build(symbols, seed, minimum_distance=1.4) for seed, build in enumerate(make)]
    found = []
    for portion in (10**6, 5):
        monkeypatch.setattr(pair_sums, "PORTION", portion)
        batch = muse_lr.AtomsBatch.from_ase(structures, cutoff=model.cutoff)
        output = model(batch, compute=("forces",), create_graph=True)
        loss = output.forces.square().sum() + output.energy.square().sum()
        gradients = torch.autograd.grad(loss, list(model.parameters()), allow_unused=True)
        norms = [gradient for gradient in gradients if gradient is not None]
        found.append([output.energy.detach(), output.forces.detach(), *norms])
    # The self-consistent multipoles are solved to 1e-10.
    tolerance = 1e-7 if name == "scf" else 1e-11
    for expected, value in zip(*found, strict=True):
        torch.testing.assert_close(value, expected, rtol=tolerance, atol=tolerance)


def test_operators_do_not_depend_on_the_portions(monkeypatch):
    structures = [
        build(["Na", "Cl", "O", "O"], seed, minimum_distance=1.4)
        for seed, build in enumerate((testing.structures.molecule, testing.structures.crystal))
    ]
    solver = ReferenceSolver((0.7,), 1e-8, 5.0)
    batch = muse_lr.AtomsBatch.from_ase(structures, cutoff=solver.ewald.cutoff)
    geometry = strained_geometry(batch, batch.positions, None)
    width = torch.full((8,), 0.7)
    moments = torch.from_numpy(np.random.default_rng(1).normal(size=(8, 9)))
    fields = []
    for portion in (10**6, 2):
        monkeypatch.setattr(pair_sums, "PORTION", portion)
        operator = FieldOperator(geometry, solver, 1, width, width, 2)
        fields.append(operator(moments).moments)
    torch.testing.assert_close(fields[1], fields[0], rtol=1e-12, atol=1e-12)
    assert float(fields[0].abs().min()) > 0


class Held:
    """A tensor saved for a derivative, whose memory is counted."""

    held = most = 0

    def __init__(self, tensor):
        self.tensor, self.bytes = tensor, tensor.numel() * tensor.element_size()
        Held.held += self.bytes
        Held.most = max(Held.most, Held.held)

    def __del__(self):
        Held.held -= self.bytes


def most_saved(model, count):
    """Largest memory of the tensors that autograd saves in a step with forces, bytes per atom."""
    places = np.stack(np.meshgrid(*[np.arange(4)] * 2, np.arange(count // 16)), -1).reshape(-1, 3)
    atoms = Atoms(["Na", "Cl"] * (count // 2), 3.0 * places)
    atoms.rattle(0.2, seed=1)
    batch = muse_lr.AtomsBatch.from_ase([atoms], cutoff=model.cutoff)
    gc.collect()
    Held.held = Held.most = 0
    with torch.autograd.graph.saved_tensors_hooks(Held, lambda held: held.tensor):
        output = model(batch, compute=("forces",), create_graph=True)
        output.forces.square().sum().backward()
    return Held.most / count


@pytest.mark.parametrize(
    "name",
    ["coulomb", "c6", *(pytest.param(n, marks=pytest.mark.slow) for n in ("scf", "power"))],
)
def test_the_memory_of_an_atom_does_not_grow_with_the_molecule(name, monkeypatch):
    model = model_of(name)
    monkeypatch.setattr(pair_sums, "PORTION", 256)
    small, large = (most_saved(model, count) for count in (48, 112))
    assert large < 1.2 * small
    monkeypatch.setattr(pair_sums, "PORTION", 10**6)
    assert most_saved(model, 112) > 1.2 * large
