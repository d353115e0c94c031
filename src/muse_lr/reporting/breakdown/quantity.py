"""References and predictions of one label, component by component."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from ase import Atoms
from numpy.typing import NDArray

from muse_lr.data.labels import LABELS, applies, has_key, key_of, read_label
from muse_lr.errors import InputError
from muse_lr.structures.geometry import slab_normals
from muse_lr.structures.lattice import modulo_cell
from muse_lr.structures.state import read_state

Array = NDArray[np.float64]

#: Start of the keys of predictions.
STORED = "muse_"


@dataclass(frozen=True)
class Quantity:
    """Components of one label over the labeled frames of a test set.

    Attributes
    ----------
    reference, predicted : Array
        (n_components,) in the units of the data.
    frame : NDArray
        (n_components,) index of the frame of each component.
    atom : NDArray
        (n_components,) index of the atom in its frame; -1 for a label of the whole structure.
    element : NDArray
        (n_components,) atomic number of the atom; 0 for a label of the whole structure.
    component : NDArray
        (n_components,) index in the label of one atom or one structure, row by row: 0 to 2 for
        forces, 0 to 8 for tensors.
    """

    reference: Array
    predicted: Array
    frame: NDArray[np.int64]
    atom: NDArray[np.int64]
    element: NDArray[np.int64]
    component: NDArray[np.int64]


def read_quantity(frames: Sequence[Atoms], label: str, keys: Sequence[str]) -> Quantity | None:
    """Read the references and the predictions of one label.

    Dipoles are given about the center of the positions, those of slabs along the normal only.
    Polarizations are those closest to the reference.

    Parameters
    ----------
    frames : sequence of ase.Atoms
    label : str
    keys : sequence of str
        Keys of the reference, in order of priority.

    Returns
    -------
    Quantity or None
        None if no frame has both.

    Raises
    ------
    InputError
        If a prediction and its reference differ in shape; the message names the frame.
    """
    about, columns = LABELS[label], []
    for i, atoms in enumerate(frames):
        key = key_of(atoms, keys)
        if key is None or not has_key(atoms, f"{STORED}{label}") or not applies(label, atoms):
            continue
        try:
            truth = read_label(atoms, label, key)
            guess = read_label(atoms, label, f"{STORED}{label}")
        except InputError as error:
            raise InputError(f"frame {i}: {error}") from error
        assert truth is not None
        assert guess is not None
        if label == "dipole":
            truth, guess = _about_center(atoms, truth, guess)
        elif label == "polarization":
            guess = truth + modulo_cell(guess - truth, atoms)
        known = np.isfinite(truth.ravel())
        rows = len(atoms) if about.per_atom else 1
        size = truth.size // max(rows, 1)
        atom = np.repeat(np.arange(rows) if about.per_atom else [-1], size)
        element = np.repeat(atoms.numbers if about.per_atom else [0], size)
        component = np.tile(np.arange(size), rows)
        frame = np.full(truth.size, i)
        values = (truth.ravel(), guess.ravel(), frame, atom, element, component)
        columns.append([column[known] for column in values])
    if not sum(len(first) for first, *_ in columns):
        return None
    truth, guess, *indices = (np.concatenate(column) for column in zip(*columns, strict=True))
    return Quantity(truth, guess, *(np.asarray(column, np.int64) for column in indices))


def _about_center(atoms: Atoms, truth: Array, guess: Array) -> tuple[Array, Array]:
    """Dipoles about the center of the positions; with a net charge they depend on the origin."""
    center = atoms.positions.mean(0)
    charge = read_state(atoms).total_charge
    predicted_charge = float(np.sum(atoms.arrays.get("muse_charges", charge / len(atoms))))
    truth, guess = truth - charge * center, guess - predicted_charge * center
    if not atoms.pbc.any():
        return truth, guess
    # A slab has a dipole along its normal.
    cell, pbc = torch.from_numpy(np.array(atoms.cell.array)), torch.from_numpy(atoms.pbc.copy())
    normal: Array = slab_normals(cell[None], pbc[None])[0].numpy()
    return np.array([truth @ normal]), np.array([guess @ normal])
