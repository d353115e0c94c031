"""Normal modes: frequencies without translations and rotations, and overlaps of eigenvectors."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from ase import Atoms
from numpy.typing import NDArray
from scipy import constants
from scipy.optimize import linear_sum_assignment

Array = NDArray[np.float64]

#: 1/cm of sqrt(1 eV/A^2/u).
WAVENUMBER = float(
    np.sqrt(constants.e / (constants.angstrom**2 * constants.atomic_mass))
    / (2 * np.pi * 100 * constants.c)
)
#: Rotations whose mass-weighted vectors are shorter than this, relative to the longest, do not
#: exist: a linear molecule has two of them.
RIGID = 1e-4
#: Modes of the reference closer than this form one subspace, 1/cm.
DEGENERATE = 1.0


@dataclass(frozen=True)
class Modes:
    """Normal modes in ascending order of their frequencies.

    Attributes
    ----------
    frequencies : ndarray
        (n_modes,) 1/cm; imaginary frequencies are negative.
    vectors : ndarray
        (3 n_atoms, n_modes) orthonormal mass-weighted eigenvectors.
    """

    frequencies: Array
    vectors: Array


@dataclass(frozen=True)
class ModeComparison:
    """Modes of a model beside those of the reference.

    Attributes
    ----------
    reference, model : ndarray
        (n_modes,) frequencies of each, in ascending order, 1/cm.
    overlap : ndarray
        (n_modes,) squared overlap of each mode of the reference with the mode of the model that is
        assigned to it, from 0 to 1. For degenerate modes it is that with their subspace.
    """

    reference: Array
    model: Array
    overlap: Array

    @property
    def mean_absolute_error(self) -> float:
        """Mean difference of the ordered frequencies, 1/cm; NaN without vibrations."""
        return float(np.abs(self.model - self.reference).mean()) if len(self.model) else np.nan

    @property
    def mean_overlap(self) -> float:
        """Mean squared overlap; NaN without vibrations."""
        return float(self.overlap.mean()) if len(self.overlap) else np.nan

    @property
    def zero_error(self) -> float:
        """Mean absolute error of the zero model, 1/cm; NaN without vibrations."""
        return float(np.abs(self.reference).mean()) if len(self.reference) else np.nan


def rigid_motions(atoms: Atoms) -> Array:
    """(3 n_atoms, k) orthonormal mass-weighted translations and, of molecules, rotations.

    A periodic structure has no rotations.
    """
    roots = np.sqrt(atoms.get_masses())
    motions = [(roots[:, None] * axis).ravel() for axis in np.eye(3)]
    if not atoms.pbc.any():
        arms = atoms.positions - atoms.get_center_of_mass()
        motions += [(roots[:, None] * np.cross(axis, arms)).ravel() for axis in np.eye(3)]
    left, sizes, _ = np.linalg.svd(np.stack(motions, axis=1), full_matrices=False)
    kept: Array = left[:, sizes > RIGID * sizes[0]]
    return kept


def normal_modes(atoms: Atoms, hessian: Array) -> Modes:
    """Vibrations of a structure, without its rigid motions.

    Parameters
    ----------
    atoms : ase.Atoms
        Its masses are used.
    hessian : ndarray
        (3 n_atoms, 3 n_atoms) in eV/A^2; only its symmetric part is used.
    """
    roots = np.sqrt(np.repeat(atoms.get_masses(), 3))
    weighted = (hessian + hessian.T) / 2 / roots[:, None] / roots
    rigid = rigid_motions(atoms)
    # The columns after the rigid motions span all vibrations.
    basis = np.linalg.qr(rigid, mode="complete")[0][:, rigid.shape[1] :]
    values, vectors = np.linalg.eigh(basis.T @ weighted @ basis)
    return Modes(np.sign(values) * np.sqrt(np.abs(values)) * WAVENUMBER, basis @ vectors)


def compare_modes(atoms: Atoms, model: Array, reference: Array) -> ModeComparison:
    """Compare frequencies in ascending order, and eigenvectors that belong together.

    Each mode of the reference is assigned to one mode of the model, so that the sum of the squared
    overlaps is the largest.
    """
    ours, theirs = normal_modes(atoms, model), normal_modes(atoms, reference)
    squares = np.square(theirs.vectors.T @ ours.vectors)  # (reference, model)
    _, assigned = linear_sum_assignment(-squares)
    steps = np.diff(theirs.frequencies, prepend=theirs.frequencies[:1])
    group = np.cumsum(steps > DEGENERATE)
    same = group[:, None] == group
    overlap = (squares[:, assigned] * same).sum(1)
    return ModeComparison(theirs.frequencies, ours.frequencies, overlap)
