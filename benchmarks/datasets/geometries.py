"""Geometries of molecules: random orientations, vibrations, and distances that are too short."""

from __future__ import annotations

import numpy as np
from ase import Atoms, units

#: A, largest Cartesian component of the displacement along one mode.
MAX_AMPLITUDE = 0.2
#: A, atoms that are more bonds apart than this do not come closer than these distances.
BONDS_APART = 3
CLOSEST = {"hydrogens": 1.7, "hydrogen": 1.75, "others": 2.6}


def random_rotation(rng: np.random.Generator) -> np.ndarray:
    """A rotation matrix from the uniform distribution, shape (3, 3)."""
    q, r = np.linalg.qr(rng.standard_normal((3, 3)))
    q = q * np.sign(np.diag(r))
    return q * np.linalg.det(q)


def placed(
    bonded: np.ndarray, second: np.ndarray, third: np.ndarray, internal: tuple[float, float, float]
) -> np.ndarray:
    """Position of an atom from its internal coordinates.

    Parameters
    ----------
    bonded, second, third : numpy.ndarray
        Positions of the atoms at the bond, the angle and the dihedral, A.
    internal : tuple of float
        Bond length (A), angle and dihedral (degrees; 0 is cis, IUPAC sign).
    """
    length, angle, dihedral = internal[0], *np.radians(internal[1:])
    along = bonded - second
    along /= np.linalg.norm(along)
    normal = np.cross(second - third, along)
    normal /= np.linalg.norm(normal)
    side = np.cross(normal, along)
    return bonded + length * (
        -np.cos(angle) * along
        + np.sin(angle) * (np.cos(dihedral) * side + np.sin(dihedral) * normal)
    )


def hessian_by_differences(atoms: Atoms, step: float = 5e-3) -> np.ndarray:
    """Central differences of the forces, as they are: the asymmetry is their noise.

    Parameters
    ----------
    atoms : ase.Atoms
        With a calculator.
    step : float
        Displacement of each coordinate to both sides, A.

    Returns
    -------
    numpy.ndarray
        Shape (3 n, 3 n), eV/A^2; the row is the coordinate that was displaced.
    """
    n = len(atoms)
    hessian = np.zeros((3 * n, 3 * n))
    start = atoms.positions.copy()
    for k in range(3 * n):
        for sign in (1, -1):
            atoms.positions = start
            atoms.positions[k // 3, k % 3] += sign * step
            hessian[k] -= sign * atoms.get_forces().ravel() / (2 * step)
    atoms.positions = start
    return hessian


def mode_energies(atoms: Atoms, hessian: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Eigenvalues of the Hessian divided by masses, ascending, and eigenvectors as columns."""
    scale = 1 / np.sqrt(np.repeat(atoms.get_masses(), 3))
    return np.linalg.eigh((hessian + hessian.T) / 2 * scale[:, None] * scale)


def thermal_modes(
    atoms: Atoms, hessian: np.ndarray, temperature: float, zero_modes: int = 6
) -> np.ndarray:
    """Classical harmonic displacements; a thermal sample is a standard-normal combination of them.

    Parameters
    ----------
    atoms : ase.Atoms
        A minimum.
    hessian : numpy.ndarray
        Shape (3 n, 3 n), eV/A^2.
    temperature : float
        K.
    zero_modes : int
        Translations and rotations: 6, or 5 for a linear molecule.

    Returns
    -------
    numpy.ndarray
        Shape (n_modes, n, 3), A.
    """
    values, vectors = mode_energies(atoms, hessian)
    scale = 1 / np.sqrt(np.repeat(atoms.get_masses(), 3))
    kept = slice(zero_modes, None)
    amplitude = np.sqrt(units.kB * temperature / values[kept])
    modes = (amplitude[None] * vectors[:, kept] * scale[:, None]).T.reshape(-1, len(atoms), 3)
    # A methyl rotor is no harmonic mode: its linear displacement would tear the hydrogens off.
    largest = np.abs(modes).max((1, 2), keepdims=True)
    return modes * np.minimum(1, MAX_AMPLITUDE / largest)


def bonds_between(atoms: Atoms, most: int = BONDS_APART) -> np.ndarray:
    """Number of bonds between each two atoms, ``most + 1`` for more, shape (n, n)."""
    from ase.neighborlist import build_neighbor_list

    neighbors = build_neighbor_list(atoms, self_interaction=False)
    bonded = neighbors.get_connectivity_matrix(sparse=False).astype(bool)
    bonded |= bonded.T
    between = np.where(np.eye(len(atoms), dtype=bool), 0, most + 1)
    reached = np.eye(len(atoms), dtype=bool)
    for count in range(1, most + 1):
        reached = reached @ bonded
        between[reached & (between > count)] = count
    return between


def clashes(atoms: Atoms, between: np.ndarray) -> bool:
    """Whether atoms that are far along the bonds are too close in space.

    Parameters
    ----------
    atoms : ase.Atoms
    between : numpy.ndarray
        Number of bonds between the atoms, from a geometry without clashes.
    """
    hydrogen = atoms.numbers == 1
    closest = np.full(between.shape, CLOSEST["others"])
    closest[hydrogen[:, None] | hydrogen] = CLOSEST["hydrogen"]
    closest[hydrogen[:, None] & hydrogen] = CLOSEST["hydrogens"]
    far = between > BONDS_APART
    return bool((atoms.get_all_distances()[far] < closest[far]).any())
