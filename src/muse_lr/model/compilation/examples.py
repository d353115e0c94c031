"""Structures from which a program is traced, and with which it is verified."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from ase import Atoms

from muse_lr.errors import InputError
from muse_lr.structures.batch import AtomsBatch

if TYPE_CHECKING:
    from muse_lr.model.compilation.compiled_model import CompiledProgram
    from muse_lr.model.energy_model import EnergyModel

#: Boundaries of the structures of a batch, and their numbers of atoms in the example and in the
#: batches of the verification.
BOUNDARIES = ((1, 1, 1), (1, 1, 0), (0, 0, 0), (0, 0, 0))
EXAMPLE_SIZES = (151, 67, 41, 29)
VERIFIED_SIZES = ((64,), (27, 8), (27, 12, 2, 1))
#: Number density of the example, 1/A^3.
EXAMPLE_DENSITY = 0.08
#: Distance of neighbors in the verification, and its standard deviation, A.
SPACING, DISPLACEMENT = 2.2, 0.1
#: Largest difference of energies and forces, relative to the largest force or energy.
TOLERANCE = {torch.float32: 1e-3, torch.float64: 1e-8}


def example_batch(model: EnergyModel) -> AtomsBatch:
    """A batch for which every table of a model has rows: dense gases in all boundaries.

    The program does not depend on it.
    """
    rng = np.random.default_rng(0)
    structures = []
    for count, pbc in zip(EXAMPLE_SIZES, BOUNDARIES, strict=True):
        side = (count / EXAMPLE_DENSITY) ** (1 / 3)
        positions = rng.uniform(0, side, (count, 3))
        structures.append(_structure(model, positions, side, pbc))
    return AtomsBatch.from_ase(structures, cutoff=model.cutoff).to(model.device)


def verify(model: EnergyModel, program: CompiledProgram) -> None:
    """Compare a program with the equations that are not compiled, for several sizes.

    Raises
    ------
    InputError
        If energies or forces differ by more than rounding.
    """
    assert model.program is None
    for sizes in VERIFIED_SIZES:
        batch = _lattices(model, sizes)
        try:
            expected = model(batch, ("forces", "stress"), create_graph=False)
        except InputError:  # a part does not support this structure
            continue
        found = program(model, batch, ("forces", "stress"))
        energies = [torch.stack(list(o.energy_parts.values())) for o in (found, expected)]
        assert found.forces is not None
        assert expected.forces is not None
        for one, other in (energies, [found.forces, expected.forces]):
            scale = max(float(other.detach().abs().max()), 1e-3)
            difference = float((one - other).detach().abs().max())
            if not difference <= TOLERANCE[model.dtype] * scale:
                raise InputError(
                    f"the compiled program gives other results than the model ({difference:.2g} "
                    f"of {scale:.2g}): torch {torch.__version__} compiles this model wrongly, so "
                    "that the program is not used; run without compilation"
                )


def _lattices(model: EnergyModel, sizes: tuple[int, ...]) -> AtomsBatch:
    """Displaced simple cubic lattices, from boundaries TTT on."""
    rng = np.random.default_rng(1)
    structures = []
    for count, pbc in zip(sizes, BOUNDARIES, strict=False):
        edge = int(np.ceil(count ** (1 / 3) - 1e-9))
        grid = np.stack(np.meshgrid(*[np.arange(edge)] * 3, indexing="ij"), -1).reshape(-1, 3)
        positions = SPACING * grid[:count] + rng.normal(scale=DISPLACEMENT, size=(count, 3))
        structures.append(_structure(model, positions, SPACING * edge, pbc))
    return AtomsBatch.from_ase(structures, cutoff=model.cutoff).to(model.device)


def _structure(
    model: EnergyModel, positions: np.ndarray, side: float, pbc: tuple[int, ...]
) -> Atoms:
    count = len(positions)
    symbols = [model.elements[i % len(model.elements)] for i in range(count)]
    atoms = Atoms(symbols, positions, cell=[side] * 3, pbc=pbc)
    atoms.arrays["coarse_index"] = np.arange(count) // 10
    return atoms
