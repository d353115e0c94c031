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
from ase.calculators.calculator import Calculator, all_changes

import muse_lr
from muse_lr import AtomsBatch, testing
from muse_lr.backbones import painn


def build(seed: int = 0) -> muse_lr.EnergyModel:
    """A model with its initial weights."""
    torch.manual_seed(seed)
    section = {
        "elements": ["Na", "Cl", "Cu", "Si", "Mg", "O"],
        "backbone": {"kind": "painn", "cutoff": 5.0, "channels": 16, "layers": 2},
        "charges": None,
        "heads": {},
        "multiscale": {"kind": "muse"},
    }
    return muse_lr.build_model(section).double().eval()


@pytest.fixture(scope="module")
def model() -> muse_lr.EnergyModel:
    return build()


def multiscale(model: muse_lr.EnergyModel, atoms: Atoms) -> tuple[float, torch.Tensor]:
    """Multiscale energy per atom and its forces, with the forces of all terms kept apart."""
    batch = AtomsBatch.from_ase([atoms], model.cutoff)
    output = model(batch, ("forces", "parts"), create_graph=False)
    energy = float(output.energy_parts["multiscale"].detach()) / len(atoms)
    return energy, output.force_parts["multiscale"]


CRYSTALS = {
    "Cu": bulk("Cu", cubic=True),
    "NaCl": bulk("NaCl", "rocksalt", a=5.64, cubic=True),
    "Si": bulk("Si", cubic=True),
    "MgO": bulk("MgO", "rocksalt", a=4.21, cubic=True),
}


class MultiscaleAlone(Calculator):
    """The multiscale energy of a model and its forces."""

    implemented_properties = ("energy", "forces")

    def __init__(self, model: muse_lr.EnergyModel) -> None:
        super().__init__()
        self.model = model

    def calculate(self, atoms=None, properties=("energy",), system_changes=all_changes) -> None:
        super().calculate(atoms, properties, system_changes)
        energy, forces = multiscale(self.model, atoms)
        self.results = {"energy": energy * len(atoms), "forces": forces.numpy()}


@pytest.mark.parametrize("crystal", CRYSTALS)
def test_the_force_constant_of_a_displaced_atom_is_constant(
    model: muse_lr.EnergyModel, crystal: str
) -> None:
    atoms = CRYSTALS[crystal] * (2, 2, 1)
    testing.check_force_constant(MultiscaleAlone(model), atoms)
    far = (0.001, 0.05, 0.1)
    testing.check_force_constant(MultiscaleAlone(model), atoms, displacements=far, tolerance=0.5)


def enlarged(seed: int) -> muse_lr.EnergyModel:
    """A model with random weights, whose energies are up to 0.5 eV/atom."""
    model = build()
    torch.manual_seed(seed)
    with torch.no_grad():
        for name, weights in model.multiscale.named_parameters():
            if weights.dim() > 1 and weights.requires_grad:
                weights.add_(torch.randn_like(weights) * weights.std())
            if name.endswith(("readout.2.weight", "unpooling.value.weight")):
                weights.mul_(5)
    return model


@pytest.mark.parametrize("seed", [0, 4])
@pytest.mark.parametrize("crystal", CRYSTALS)
def test_force_constants_are_constant_with_large_weights(
    monkeypatch: pytest.MonkeyPatch, crystal: str, seed: int
) -> None:
    """Where a force constant nearly vanishes by chance, its relative change may be larger.

    Norms within PaiNN are softened, since its features change the constant of MgO by 11 %.
    """
    monkeypatch.setattr(painn, "NORM_EPSILON", 1.0)
    atoms = CRYSTALS[crystal] * (2, 2, 1)
    alone = MultiscaleAlone(enlarged(100 + seed))
    testing.check_force_constant(alone, atoms)
    far = (0.001, 0.05, 0.1)
    testing.check_force_constant(alone, atoms, displacements=far, tolerance=0.5)


@pytest.mark.parametrize("crystal", CRYSTALS)
def test_a_rattled_lattice_has_the_energy_of_the_lattice(
    model: muse_lr.EnergyModel, crystal: str
) -> None:
    """All atoms are nodes in one, and a fraction in the other."""
    atoms = CRYSTALS[crystal] * (2, 2, 1)
    rattled = atoms.copy()
    rattled.rattle(0.1, seed=0)
    assert abs(multiscale(model, atoms)[0] - multiscale(model, rattled)[0]) < 5e-3


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
