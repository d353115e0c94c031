"""Multiscale energies near perfect lattices, in dense slabs and in clusters, at initial weights.

Where many priorities are nearly equal, nodes appear and vanish within hundredths of an Angstrom.
Their sums are quadratures of the atoms, so that the energy does not change with them.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import bulk

import muse_lr
from muse_lr import AtomsBatch


@pytest.fixture(scope="module")
def model() -> muse_lr.EnergyModel:
    torch.manual_seed(0)
    section = {
        "elements": ["Na", "Cl", "Cu"],
        "backbone": {"kind": "painn", "cutoff": 5.0, "channels": 16, "layers": 2},
        "charges": None,
        "heads": {},
        "multiscale": {"kind": "muse"},
    }
    return muse_lr.build_model(section).double().eval()


def multiscale(model: muse_lr.EnergyModel, atoms: Atoms) -> tuple[float, torch.Tensor]:
    """Multiscale energy per atom and its forces, with the forces of all terms kept apart."""
    batch = AtomsBatch.from_ase([atoms], model.cutoff)
    output = model(batch, ("forces", "parts"), create_graph=False)
    energy = float(output.energy_parts["multiscale"].detach()) / len(atoms)
    return energy, output.force_parts["multiscale"]


def salt() -> Atoms:
    return bulk("NaCl", "rocksalt", a=5.64, cubic=True)


@pytest.mark.parametrize("crystal", ["Cu", "NaCl"])
def test_the_force_constant_of_a_displaced_atom_is_constant(
    model: muse_lr.EnergyModel, crystal: str
) -> None:
    start = (bulk("Cu", cubic=True) if crystal == "Cu" else salt()) * (2, 2, 2)
    constants = {}
    for step in (0.001, 0.01, 0.03):
        atoms = start.copy()
        atoms.positions[0, 0] += step
        constants[step] = -float(multiscale(model, atoms)[1][0, 0]) / step
    scale = max(abs(constants[0.001]), 0.3)
    assert max(abs(k - constants[0.001]) for k in constants.values()) <= 0.1 * scale, constants


@pytest.mark.parametrize("name", ["slab", "cluster", "rattled"])
def test_the_energy_starts_small(model: muse_lr.EnergyModel, name: str) -> None:
    if name == "slab":
        atoms = Atoms("NaCl", [[0, 0, 0], [1.3, 1.2, 1.6]], pbc=[True, True, False])
        atoms.cell = [[2.6, 0, 0], [1.3, 2.4, 0], [0.2, 0.3, 40]]
    else:
        atoms = bulk("Cu", cubic=True) * ((3, 3, 3) if name == "cluster" else (2, 2, 2))
        atoms.pbc = name != "cluster"
        atoms.rattle(0.05 if name == "cluster" else 0.01, seed=1)
    energy, forces = multiscale(model, atoms)
    assert np.isfinite(energy)
    assert abs(energy) < 0.5
    assert float(forces.abs().max()) < 1
