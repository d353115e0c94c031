"""Vectors modulo the lattice of each graph."""

from __future__ import annotations

from itertools import product
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from muse_lr.structures.reciprocal import reduced_basis

if TYPE_CHECKING:
    from ase import Atoms

#: Combinations of the vectors of a reduced basis that lead to a shorter vector, if there is one.
NEIGHBORS = list(product((0, 1, -1), repeat=3))
#: Maximum number of steps to the shortest vector. Each step shortens it or is the last.
STEPS = 8


def modulo_lattice(vectors: Tensor, cell: Tensor, pbc: Tensor) -> Tensor:
    """Shortest of the vectors that differ from the given ones by lattice vectors.

    The result does not depend on the choice of the cell vectors. Its derivative with respect to
    ``vectors`` is the identity.

    Parameters
    ----------
    vectors : Tensor
        (n_graphs, 3).
    cell : Tensor
        (n_graphs, 3, 3) cell vectors as rows.
    pbc : Tensor
        (n_graphs, 3) of bool: periodic directions. Components normal to them do not change.

    Returns
    -------
    Tensor
        (n_graphs, 3), float64. Vectors that are not finite stay as they are.
    """
    vectors = vectors.double()
    with torch.no_grad():
        basis = reduced_basis(_normal_to_periodic(cell.double(), pbc))
        rest = torch.where(torch.isfinite(vectors), vectors, 0.0)
        coefficients = torch.linalg.solve(basis.mT, rest)
        rest = rest - _combine(torch.where(pbc, coefficients.round(), 0.0), basis)
        steps = basis.new_tensor(NEIGHBORS)
        lattice = torch.einsum("cb,gb,gba->gca", steps, pbc.to(basis.dtype), basis)
        for _ in range(STEPS):
            candidates = rest[:, None] - lattice
            lengths = candidates.square().sum(2)
            # A vector between two equally short ones must not alternate.
            lengths[:, 0] *= 1 - 1e-12
            best = lengths.argmin(1)
            rest = candidates[torch.arange(len(rest), device=rest.device), best]
            if not bool(best.any()):
                break
        shift = torch.where(torch.isfinite(vectors), rest - vectors, 0.0)
    return vectors + shift


def modulo_cell(vectors: NDArray[np.float64], atoms: Atoms) -> NDArray[np.float64]:
    """:func:`modulo_lattice` of vectors (3,) or (n, 3) in the cell of one structure."""
    rows = torch.from_numpy(np.array(vectors, dtype=np.float64).reshape(-1, 3))
    cell = torch.from_numpy(np.array(atoms.cell.array)).expand(len(rows), 3, 3)
    pbc = torch.from_numpy(np.array(atoms.pbc)).expand(len(rows), 3)
    found: NDArray[np.float64] = modulo_lattice(rows, cell, pbc).numpy()
    return found.reshape(np.shape(vectors))


def _combine(coefficients: Tensor, basis: Tensor) -> Tensor:
    return torch.einsum("gb,gba->ga", coefficients, basis)


def _normal_to_periodic(cell: Tensor, pbc: Tensor) -> Tensor:
    """(n_graphs, 3, 3) cells whose open vectors are unit vectors normal to all others."""
    # The last right singular vectors of the periodic rows span the directions normal to them.
    directions = torch.linalg.svd(torch.where(pbc[:, :, None], cell, 0.0))[2]
    last = 3 - (~pbc).cumsum(1)  # 2 for the first open row, 1 for the second
    normals = directions.gather(1, last.clamp(max=2)[:, :, None].expand(-1, -1, 3))
    return torch.where(pbc[:, :, None], cell, normals)
