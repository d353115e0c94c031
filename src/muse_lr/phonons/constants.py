"""Force constants of a model in a supercell."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from ase import Atoms
from numpy.typing import NDArray

from muse_lr.errors import InputError
from muse_lr.model.energy_model import EnergyModel
from muse_lr.model.hessian import hessian
from muse_lr.structures.batch import AtomsBatch

Array = NDArray[np.float64]
#: Largest force on an atom that is allowed in a crystal, eV/A.
LARGEST_FORCE = 1e-2
#: Largest allowed asymmetry of the force constants, relative to the largest one, for exact
#: derivatives and for finite differences.
LARGEST_ASYMMETRY = {"hessian": 1e-5, "displacements": 1e-2}


def batch_of(model: EnergyModel, atoms: Atoms) -> AtomsBatch:
    """A batch of one structure with the neighbor list that the model needs."""
    return AtomsBatch.from_ase([atoms], cutoff=model.cutoff).to(model.device)


def forces_of(model: EnergyModel, atoms: Atoms) -> Array:
    """(n_atoms, 3) forces, eV/A."""
    return _numpy(model(batch_of(model, atoms), ("forces",), create_graph=False).forces)


def check_rest(model: EnergyModel, atoms: Atoms) -> None:
    """Raise an error for structures that are not relaxed.

    Raises
    ------
    InputError
        If a force is larger than :data:`LARGEST_FORCE`.
    """
    largest = float(np.abs(forces_of(model, atoms)).max())
    if largest > LARGEST_FORCE:
        raise InputError(
            f"the crystal has forces of up to {largest:.3g} eV/Å: relax its atoms with this model "
            "first"
        )


def exact_constants(model: EnergyModel, supercell: Atoms, atoms: NDArray[np.int64]) -> Array:
    """Compute exact force constants.

    Parameters
    ----------
    model : EnergyModel
        In evaluation mode.
    supercell : Atoms
    atoms : ndarray
        (rows,) atoms whose rows of the matrix are computed.

    Returns
    -------
    ndarray
        (rows, n_atoms, 3, 3) d2E / dr_i dr_j, eV/A^2.
    """
    matrix = hessian(model, supercell, atoms).reshape(len(atoms), 3, len(supercell), 3)
    return np.ascontiguousarray(matrix.transpose(0, 2, 1, 3))


def check_translations(constants: Array, cell_atom: Sequence[int], share: float) -> None:
    """Raise an error for force constants that differ between the cells.

    If all cells are equivalent, the matrix at Gamma from the rows of one cell is symmetric.

    Parameters
    ----------
    constants : ndarray
        (n_primitive, n_atoms, 3, 3) eV/A^2.
    cell_atom : sequence of int
        (n_atoms,) index of the corresponding atom of the primitive cell.
    share : float
        Largest allowed asymmetry of that matrix, relative to the largest force constant.

    Raises
    ------
    InputError
        If the asymmetry is larger.
    """
    count = len(constants)
    images = np.eye(count)[np.asarray(cell_atom)]  # (n_atoms, n_primitive)
    matrix = np.einsum("ijab,jk->iakb", constants, images).reshape(3 * count, 3 * count)
    if np.abs(matrix - matrix.T).max() > share * np.abs(constants).max():
        raise InputError(
            "the force constants differ from cell to cell: a part of the model, such as coarse "
            "nodes, breaks the translational symmetry of the crystal"
        )


def _numpy(values: Any) -> Array:
    array: Array = values.detach().cpu().double().numpy()
    return array
