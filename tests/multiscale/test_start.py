"""The hierarchy at its initial weights: small energies and forces, and gradients that train it."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import bulk, molecule

import muse_lr
from helpers import painn_section
from muse_lr import AtomsBatch
from muse_lr.testing import structures

ELEMENTS = ("H", "C", "O", "Na", "Cl", "Cu")
BACKBONES = ("painn", "mace", "so3krates")
#: Structures for each backbone and number of levels, in `make test` and in the slow test.
FEW, MANY = 6, 200
#: Clusters of copper whose sites nearly tie, so that nodes come and go within hundredths of an A.
NEAR_TIES = (34, 130, 190)


def build(backbone: str, levels: int, seed: int = 0) -> muse_lr.EnergyModel:
    """A model with its initial weights."""
    torch.manual_seed(seed)
    # Two levels and more with a smaller radius, since the number of pairs grows with its cube.
    radius = 7.0 if levels == 1 else 4.0
    section = painn_section(
        ELEMENTS,
        backbone={"kind": backbone, "cutoff": 4.5, "channels": 16, "layers": 2},
        multiscale={"kind": "muse", "levels": levels, "radius": radius, "cutoff": 2.3 * radius},
        charges=None,
        heads={},
    )
    return muse_lr.build_model(section).double().eval()


def drawn(seed: int) -> Atoms:
    """A molecule, crystal, slab, cluster or liquid, some of them dense."""
    rng = np.random.default_rng(seed)
    count = int(rng.integers(1, 11))
    symbols = [ELEMENTS[i] for i in rng.integers(0, len(ELEMENTS), count)]
    kind = seed % 6
    if kind == 0:
        return structures.molecule(symbols, seed, minimum_distance=float(rng.uniform(0.8, 1.5)))
    if kind == 1:
        return structures.crystal(symbols, seed, minimum_distance=float(rng.uniform(1.0, 2.0)))
    if kind == 2:
        return structures.slab(symbols, seed, minimum_distance=float(rng.uniform(1.0, 2.0)))
    if kind == 3:
        name, lattice = [("Cu", "fcc"), ("NaCl", "rocksalt"), ("Na", "bcc")][seed // 6 % 3]
        atoms = bulk(name, lattice, a={"Cu": 3.6, "NaCl": 5.64, "Na": 4.2}[name], cubic=True)
        atoms.rattle(float(rng.choice([0.0, 0.01, 0.1])), seed=seed)
        return atoms
    if kind == 4:
        cluster = bulk("Cu", cubic=True) * (2, 2, 2)
        cluster.pbc = False
        cluster.rattle(0.05, seed=seed)
        return cluster
    water = Atoms(cell=[6.2] * 3, pbc=True)
    for place in np.ndindex(2, 2, 2):
        one = molecule("H2O")
        one.rotate(float(rng.uniform(0, 180)), rng.normal(size=3), center="com")
        one.positions += 3.1 * np.array(place) + rng.normal(scale=0.15, size=3)
        water += one
    return water


def check_start(backbone: str, levels: int, count: int) -> None:
    """Energies below 0.5 eV/atom, forces below 1 eV/A, and parameters that learn."""
    model = build(backbone, levels)
    worst = np.zeros(2)
    for seed in dict.fromkeys([*range(count), *NEAR_TIES]):
        atoms = drawn(seed)
        batch = AtomsBatch.from_ase([atoms], model.cutoff)
        output = model(batch, ("forces", "parts"), create_graph=False)
        energy = abs(float(output.energy_parts["multiscale"].detach())) / len(atoms)
        forces = float(output.force_parts["multiscale"].abs().max())
        assert energy < 0.5, (seed, energy)
        assert forces < 1.0, (seed, forces)
        worst = np.maximum(worst, (energy, forces))
    print(f"\n{backbone}, {levels} levels: at most {worst[0]:.3f} eV/atom, {worst[1]:.3f} eV/A")


@pytest.mark.parametrize("levels", [1, 2])
@pytest.mark.parametrize("backbone", BACKBONES)
def test_energies_and_forces_start_small(backbone: str, levels: int) -> None:
    check_start(backbone, levels, FEW)


@pytest.mark.slow
@pytest.mark.parametrize("levels", [1, 2, 3])
@pytest.mark.parametrize("backbone", BACKBONES)
def test_energies_and_forces_start_small_for_many(backbone: str, levels: int) -> None:
    check_start(backbone, levels, MANY)


@pytest.mark.parametrize("levels", [1, 2])
@pytest.mark.parametrize("backbone", BACKBONES)
def test_every_parameter_of_the_hierarchy_learns_from_the_start(backbone: str, levels: int) -> None:
    """Gradients are not smaller than 1e-3 of the median of those of the backbone.

    Those within the interaction modules depend on the initial weights of their kind.
    """
    model = build(backbone, levels)
    salt = bulk("NaCl", "rocksalt", a=5.64, cubic=True)
    salt.rattle(0.1, seed=0)
    pair = molecule("C6H6") + Atoms("NaCl", [[0, 0, 4.5], [2.4, 0, 4.5]])
    batch = AtomsBatch.from_ase([drawn(5), salt, pair, molecule("CH3CH2OH")], model.cutoff)
    model.train()
    output = model(batch, ("forces",))
    rng = np.random.default_rng(0)
    target = torch.from_numpy(rng.normal(size=output.forces.shape))
    energies = torch.from_numpy(rng.normal(size=len(output.energy)))
    loss = (output.energy - energies).square().mean() + (output.forces - target).square().mean()
    loss.backward()

    def sizes(part: torch.nn.Module) -> dict[str, float]:
        return {
            name: float(p.grad.square().mean().sqrt())
            for name, p in part.named_parameters()
            if p.requires_grad and p.grad is not None
        }

    reference = np.median(list(sizes(model.backbone).values()))
    found = {n: g for n, g in sizes(model.multiscale).items() if "interactions" not in n}
    small = {n: g / reference for n, g in found.items() if g < 1e-3 * reference}
    assert not small, small
