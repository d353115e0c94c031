"""Hessians of a model: products with many directions at once, within a bound of memory.

The structure is copied into one batch. One backward pass through the forces of all copies then
gives one row of the Hessian for each copy. The graph of the forces is made once and used for all
rows. A batch needs nothing of a part that training does not need, so that this works for every
part, boundary and solver.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from copy import deepcopy

import numpy as np
import torch
from ase import Atoms
from numpy.typing import NDArray
from torch import Tensor

from muse_lr.model.energy_model import EnergyModel
from muse_lr.structures.arguments import check_atoms
from muse_lr.structures.batch import AtomsBatch, AtomsData, atoms_to_data
from muse_lr.utils.tensor_memory import TensorMemory

Array = NDArray[np.float64]
#: Default bound of the memory, GB.
MEMORY = 4.0
#: Smallest number of backward passes. Making the graph takes about as long as one of them.
PASSES = 8


def exact_copy(model: EnergyModel) -> EnergyModel:
    """Copy of a model in float64 for derivatives by positions only."""
    return deepcopy(model).double().eval().requires_grad_(False)


def hessian(
    model: EnergyModel,
    atoms: Atoms,
    rows: Sequence[int] | NDArray[np.int64] | None = None,
    memory: float = MEMORY,
) -> Array:
    """Compute second derivatives of the energy, at fixed cell.

    Parameters
    ----------
    model : EnergyModel
        In evaluation mode; :func:`exact_copy` makes one in float64. The derivatives have the
        precision of the model.
    atoms : ase.Atoms
        In periodic structures all images of an atom move together (the Gamma point).
    rows : sequence of int, optional
        Atoms whose rows of the matrix are computed; default: all.
    memory : float
        Bound of the memory of the tensors, GB. It determines how many rows are computed at once,
        from a measurement of the first row. If one row needs more, rows are computed one by one,
        and there is a warning.

    Returns
    -------
    ndarray
        (3 n_rows, 3 n_atoms) d2E / dr_i dr_j in eV/A^2. Row 3 i + a belongs to the coordinate a of
        the i-th of ``rows``.

    Raises
    ------
    InputError
        If the model does not support the structure, or if a solver is not exact for Hessians.
    """
    data = atoms_to_data(check_atoms(atoms), model.cutoff)
    chosen = np.arange(len(atoms)) if rows is None else np.asarray(rows, dtype=np.int64)
    coordinates = (3 * chosen[:, None] + np.arange(3)).ravel()
    with TensorMemory() as used:
        copies = _Copies(model, data, 1)
        found = [copies.rows(coordinates[:1])]
    _warn_of_excess(used.peak, memory, len(atoms))
    left = coordinates[1:]
    most = max(int(1e9 * memory / max(used.peak, 1)), 1)
    passes = max(-(-len(left) // most), min(len(left), PASSES))
    blocks = np.array_split(left, passes) if len(left) else []
    if blocks and len(blocks[0]) > 1:
        del copies  # its graph, before the next one is made
        copies = _Copies(model, data, len(blocks[0]))
    found += [copies.rows(block) for block in blocks]
    return np.concatenate(found)


class _Copies:
    """Forces of several copies of a structure, with the graph of their derivatives."""

    def __init__(self, model: EnergyModel, data: AtomsData, count: int) -> None:
        batch = AtomsBatch.from_structures([data] * count).to(model.device)
        batch.positions = batch.positions.detach().requires_grad_(True)
        self.count, self.positions = count, batch.positions
        forces = model(batch, ("forces",), create_graph=True).forces
        assert forces is not None
        self.forces: Tensor = forces

    def rows(self, coordinates: NDArray[np.int64]) -> Array:
        """(k, 3 n_atoms) rows of the Hessian, k up to the number of copies."""
        width = self.forces.numel() // self.count
        if not self.forces.requires_grad:  # the forces do not depend on the positions
            return np.zeros((len(coordinates), width))
        directions = torch.zeros_like(self.forces).reshape(self.count, width)
        which = torch.as_tensor(coordinates, device=directions.device)
        directions[torch.arange(len(which), device=which.device), which] = -1.0
        (products,) = torch.autograd.grad(
            self.forces,
            self.positions,
            directions.reshape(self.forces.shape),
            retain_graph=True,
            allow_unused=True,
            materialize_grads=True,
        )
        table = products.reshape(self.count, width)[: len(coordinates)]
        return table.detach().cpu().double().numpy()


def _warn_of_excess(peak: int, memory: float, atoms: int) -> None:
    if peak > 1e9 * memory:
        warnings.warn(
            f"one row of the Hessian of {atoms} atoms needs {peak / 1e9:.2g} GB, more than the "
            f"bound of {memory:g} GB",
            UserWarning,
            stacklevel=3,
        )
