"""Draw extreme structures and compute each with a model: ``python worker.py FIRST COUNT``.

Each structure runs through the calculator and through a training step on energies and forces. The
worker has limits of memory and time, so that a crash, an allocation error or a structure that takes
too long ends it. It prints one line of JSON per structure.
"""

from __future__ import annotations

import json
import os
import resource
import signal
import sys
import time
import warnings

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import torch
from ase import Atoms
from ase.calculators.calculator import PropertyNotImplementedError
from numpy.typing import NDArray

import muse_lr
from muse_lr.testing.structures import crystal, molecule, random_unimodular, slab
from muse_lr.train.config import TrainingConfig
from muse_lr.train.losses import weighted_loss

#: Largest memory of the process, bytes, and largest time of one structure, s.
MEMORY = 3 * 10**9
SECONDS = 60
#: Tolerance of energies that must be equal, eV/atom.
SAME_ENERGY = 1e-6
ELEMENTS = ("H", "O", "Na", "Cl")
KINDS = ("far", "unwrapped", "sheared", "sparse", "flat", "tiny", "shifted", "float32")
PAINN = {"kind": "painn", "channels": 4, "layers": 1, "cutoff": 4.0}
CHARGES = {"kind": "conserved", "width": 1.0}
HEADS: dict[str, dict[str, object]] = {
    "coulomb": {"coulomb": {"kind": "coulomb"}},
    "dispersion": {"coulomb": {"kind": "coulomb"}, "c6": {"kind": "c6"}},
    "d3": {"coulomb": {"kind": "coulomb"}, "d3": {"kind": "d3"}},
    "features": {"features": {"kind": "field_features"}},
}
MODELS: dict[str, dict[str, object]] = {
    **{
        name: {"backbone": PAINN, "charges": CHARGES, "heads": heads}
        for name, heads in HEADS.items()
    },
    "multipoles": {"backbone": PAINN, "charges": {**CHARGES, "l_max": 1}},
    "fixed": {
        "backbone": None,
        "charges": {
            "kind": "fixed",
            "by_element": {"H": 0.5, "O": -1, "Na": 1, "Cl": -1},
            "width": 0.5,
        },
    },
    "muse": {"backbone": PAINN, "multiscale": {"kind": "muse"}, "charges": None, "heads": {}},
    "qeq": {"backbone": PAINN, "charges": {"kind": "qeq", "width": 1.0}},
    "scf": {"backbone": PAINN, "charges": {"kind": "scf", "width": 1.0}},
}


def draw(seed: int) -> tuple[str, Atoms, Atoms | None]:
    """Draw a structure: its kinds, the structure, and an equivalent ordinary one or None."""
    rng = np.random.default_rng(seed)
    kinds = [str(k) for k in rng.choice(KINDS, size=rng.integers(1, 3), replace=False)]
    symbols = [str(s) for s in rng.choice(ELEMENTS, size=rng.integers(1, 9))]
    if "tiny" in kinds:
        symbols = symbols[:1]
    make = (molecule, slab, crystal)[rng.integers(3)]
    plain = make(symbols, int(rng.integers(1, 10**6)), minimum_distance=1.2)
    atoms = plain.copy()
    equivalent = True
    for kind in kinds:
        equivalent &= CHANGES[kind](atoms, rng)
    return "+".join(kinds), atoms, plain if equivalent else None


def _power(rng: np.random.Generator, low: float, high: float) -> float:
    return float(10 ** rng.uniform(low, high))


def _far(atoms: Atoms, rng: np.random.Generator) -> bool:
    """Move some atoms far away along open directions; the energy changes."""
    axes = np.flatnonzero(~atoms.pbc)
    moved = rng.random(len(atoms)) < 0.5
    for axis in axes:
        atoms.positions[moved, axis] += _power(rng, 0, 9) * rng.choice([-1, 1])
    return len(axes) == 0 or not moved.any()


def _unwrapped(atoms: Atoms, rng: np.random.Generator) -> bool:
    size = _power(rng, 0, 7)
    jumps = np.round(rng.uniform(-size, size, size=(len(atoms), 3))) * atoms.pbc
    atoms.positions += jumps @ atoms.cell.array
    return True


def _sheared(atoms: Atoms, rng: np.random.Generator) -> bool:
    periodic = np.flatnonzero(atoms.pbc)
    if len(periodic) == 0:
        return True
    cell = random_unimodular(rng, atoms.pbc) @ atoms.cell.array
    first, second = rng.choice(periodic, size=2, replace=False)
    cell[first] += round(_power(rng, 0, 7)) * cell[second]
    atoms.cell = cell
    return True


def _sparse(atoms: Atoms, rng: np.random.Generator) -> bool:
    if not atoms.pbc.any():
        return True
    lengths = np.where(atoms.pbc, [_power(rng, 1, 4) for _ in range(3)], 0)
    if rng.random() < 0.5:
        lengths = np.where(atoms.pbc, lengths.max(), 0)
    cell = atoms.cell.array
    directions = cell / np.linalg.norm(cell, axis=1, keepdims=True)
    atoms.cell = cell + lengths[:, None] * directions
    return False


def _flat(atoms: Atoms, rng: np.random.Generator) -> bool:
    axis = int(rng.integers(3))
    if not atoms.pbc[axis]:
        return True
    cell = atoms.cell.array.copy()
    cell[axis] *= _power(rng, -1, 3)
    atoms.cell = cell
    return False


def _tiny(atoms: Atoms, rng: np.random.Generator) -> bool:
    return True  # one atom, drawn above


def _shifted(atoms: Atoms, rng: np.random.Generator) -> bool:
    size = _power(rng, 0, 9)
    atoms.positions += rng.uniform(-size, size, size=3)
    return size < 1e6  # beyond, rounding changes the distances


def _float32(atoms: Atoms, rng: np.random.Generator) -> bool:
    atoms.arrays["positions"] = atoms.positions.astype(np.float32)
    return False


CHANGES = {
    "far": _far,
    "unwrapped": _unwrapped,
    "sheared": _sheared,
    "sparse": _sparse,
    "flat": _flat,
    "tiny": _tiny,
    "shifted": _shifted,
    "float32": _float32,
}


def build(name: str) -> muse_lr.EnergyModel:
    torch.manual_seed(0)
    return muse_lr.build_model({"elements": list(ELEMENTS), **MODELS[name]}).double()


def by_calculator(model: muse_lr.EnergyModel, atoms: Atoms) -> float:
    atoms = atoms.copy()
    atoms.calc = muse_lr.Calculator(model)
    energy = atoms.get_potential_energy()
    _finite("energy", np.array(energy))
    _finite("forces", atoms.get_forces())
    if atoms.pbc.any():
        try:
            _finite("stress", atoms.get_stress())
        except PropertyNotImplementedError:
            assert atoms.cell.rank < 3, "a cell with a volume has a stress"
    return float(energy)


def train_step(model: muse_lr.EnergyModel, atoms: Atoms) -> None:
    model.train()
    labels = {"energy": np.array(0.0), "forces": np.zeros((len(atoms), 3))}
    batch = muse_lr.AtomsBatch.from_ase([atoms], model.cutoff, [labels])
    config = TrainingConfig(loss={"energy": 1.0, "forces": 1.0})
    output = model(batch, ("forces",))
    loss = weighted_loss(output, batch, config, {"energy": 1.0, "forces": 3.0 * len(atoms)})
    parameters = [p for p in model.parameters() if p.requires_grad]
    if parameters:
        found = torch.autograd.grad(loss, parameters, allow_unused=True)
        for gradient in found:
            if gradient is not None:
                _finite("gradient", gradient.numpy())


def _finite(name: str, values: NDArray[np.float64]) -> None:
    assert np.isfinite(values).all(), f"the {name} is not finite"


def run_one(model: muse_lr.EnergyModel, seed: int) -> dict[str, object]:
    kinds, atoms, plain = draw(seed)
    start = time.monotonic()
    signal.alarm(SECONDS)
    try:
        energy = by_calculator(model, atoms)
        if plain is not None:
            expected = by_calculator(model, plain)
            # Energies far above those of bonds are equal to their last digits only.
            size = max(1.0, abs(expected) / len(atoms))
            assert abs(energy - expected) < SAME_ENERGY * len(atoms) * size, (energy, expected)
        train_step(model, atoms)
        outcome = "ok"
    except muse_lr.InputError as error:
        outcome = f"refused: {error}"
    finally:
        signal.alarm(0)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    seconds = round(time.monotonic() - start, 2)
    return {"seed": seed, "kinds": kinds, "outcome": outcome, "s": seconds, "MB": round(peak)}


def main() -> None:
    first, count = map(int, sys.argv[1:3])
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    resource.setrlimit(resource.RLIMIT_DATA, (MEMORY, MEMORY))
    models = {name: build(name) for name in MODELS}
    names = list(MODELS)
    for seed in range(first, first + count):
        name = names[seed % len(names)]
        print(json.dumps({"model": name, "seed": seed}), flush=True)
        print(json.dumps({"model": name} | run_one(models[name], seed)), flush=True)


if __name__ == "__main__":
    main()
