"""Phonons of one crystal with one model, through phonopy."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from ase import Atoms
from numpy.typing import ArrayLike, NDArray

from muse_lr.errors import InputError
from muse_lr.model.energy_model import EnergyModel
from muse_lr.model.hessian import exact_copy
from muse_lr.model.serialization import as_model
from muse_lr.phonons.constants import (
    LARGEST_ASYMMETRY,
    batch_of,
    check_rest,
    check_translations,
    exact_constants,
    forces_of,
)
from muse_lr.phonons.electric import check_electric, electric_response
from muse_lr.structures.arguments import check_atoms
from muse_lr.structures.state import COARSE_INDEX, NO_GROUP, read_state, repeated_info
from muse_lr.units import COULOMB_CONSTANT

if TYPE_CHECKING:
    from phonopy import Phonopy

Array = NDArray[np.float64]


@dataclass(frozen=True)
class GammaModes:
    """Frequencies at Gamma in THz, in ascending order. Imaginary frequencies are negative.

    Attributes
    ----------
    transverse : ndarray
        (3 n_primitive,) frequencies without a macroscopic field.
    longitudinal : ndarray
        (3 n_primitive,) frequencies with the macroscopic field of long waves along the direction.
    """

    transverse: Array
    longitudinal: Array

    @property
    def splitting(self) -> float:
        """Highest longitudinal frequency minus the highest transverse frequency, THz."""
        return float(self.longitudinal[-1] - self.transverse[-1])


@dataclass(frozen=True)
class Bands:
    """Frequencies along a path. Each array covers one straight segment.

    Attributes
    ----------
    distances : list of ndarray
        (points,) position along the path, 1/A without the factor 2 pi.
    frequencies : list of ndarray
        (points, 3 n_primitive) in THz. Imaginary frequencies are negative.
    ticks : list of (float, str)
        Position and label of the ends of the segments.
    """

    distances: list[Array]
    frequencies: list[Array]
    ticks: list[tuple[float, str]]


class Phonons:
    """Phonons of one crystal with one model.

    The force constants are computed in a supercell with periodic boundaries. phonopy subtracts the
    dipole-dipole sum of the model's own Born charges and interpolates the rest. It adds the sum
    back at every q, with the macroscopic field of long waves (X. Gonze, C. Lee, Phys. Rev. B 55,
    10355 (1997)).

    Parameters
    ----------
    model : EnergyModel or path
        A model or a model file. The class uses a copy in float64.
    crystal : Atoms
        A relaxed unit cell, periodic in three directions.
    supercell : sequence of int
        Repeats of the cell. All interactions except the dipole-dipole sum must decay within it.
    method : {"hessian", "displacements"}
        Exact second derivatives, or phonopy's finite displacements.
    displacement : float
        Length of the finite displacements, A.
    dielectric : float, optional
        An isotropic electronic dielectric constant from experiment or theory. The Born charges of
        the model are scaled by its square root, which leaves the frequencies unchanged. Default:
        the dielectric tensor of the model.

    Attributes
    ----------
    phonopy : phonopy.Phonopy
        Object with force constants in eV/A^2 and the non-analytic term, for further analysis.
    response : ElectricResponse or None
        None without a coulomb head; the non-analytic term is then zero.

    Raises
    ------
    InputError
        If phonopy is missing, if the structure is not a crystal or not relaxed, if the model breaks
        the translational symmetry of the crystal, or if its non-analytic term is not known.
    """

    def __init__(
        self,
        model: EnergyModel | str | Path,
        crystal: Atoms,
        supercell: Sequence[int] = (2, 2, 2),
        method: Literal["hessian", "displacements"] = "hessian",
        displacement: float = 0.01,
        dielectric: float | None = None,
    ) -> None:
        model = as_model(model)
        if not check_atoms(crystal, "crystal: ").pbc.all():
            raise InputError("phonons need a crystal: the structure must be periodic throughout")
        check_electric(model)
        self.phonopy = phonopy_of(crystal, supercell)
        copies = len(self.phonopy.supercell) // len(crystal)
        self._info = repeated_info(crystal, copies)
        self._groups = repeated_groups(crystal, self.phonopy)
        own = exact_copy(model)
        cell = self._atoms(self.phonopy.supercell)
        rows = np.asarray(self.phonopy.primitive.p2s_map)
        check_rest(own, cell)
        if method == "hessian":
            self.phonopy.force_constants = exact_constants(own, cell, rows)
        else:
            self._displace(own, displacement)
        primitive = self.phonopy.primitive
        images = [primitive.p2p_map[atom] for atom in primitive.s2p_map]
        check_translations(self.phonopy.force_constants, images, LARGEST_ASYMMETRY[method])
        response = electric_response(own, batch_of(own, cell), rows)
        if response is not None and dielectric is not None:
            response = response.scaled(dielectric)
        self.response = response
        if response is not None:
            self.phonopy.nac_params = {
                "born": response.born,
                "dielectric": response.dielectric,
                "factor": COULOMB_CONSTANT,
                "method": "gonze",
            }

    def gamma(self, direction: ArrayLike = (1.0, 0.0, 0.0)) -> GammaModes:
        """Frequencies at Gamma without a field, and in the limit q -> 0 along ``direction``.

        Parameters
        ----------
        direction : array_like
            (3,) Cartesian vector of any length.
        """
        reduced = self.phonopy.primitive.cell @ np.asarray(direction, dtype=float)
        found = []
        for along in (None, reduced):
            self.phonopy.run_qpoints([[0, 0, 0]], nac_q_direction=along)
            found.append(np.sort(np.array(self.phonopy.qpoints.frequencies)[0]))
        return GammaModes(*found)

    def frequencies(self, points: ArrayLike) -> Array:
        """(n_points, 3 n_primitive) THz at q-points in units of the primitive reciprocal cell."""
        self.phonopy.run_qpoints(np.atleast_2d(np.asarray(points, dtype=float)))
        return np.array(self.phonopy.qpoints.frequencies)

    def bands(self, points: Mapping[str, ArrayLike], path: str, count: int = 51) -> Bands:
        """Band structure of this crystal; see :func:`band_structure`."""
        return band_structure(self.phonopy, points, path, count)

    def _atoms(self, cell: Any) -> Atoms:
        """Convert phonopy's supercell to ASE, with the state that the crystal states."""
        atoms = Atoms(
            cell.symbols, positions=cell.positions, cell=cell.cell, pbc=True, info=self._info
        )
        if self._groups is not None:
            atoms.arrays[COARSE_INDEX] = self._groups.copy()
        return atoms

    def _displace(self, model: EnergyModel, displacement: float) -> None:
        """Compute force constants from the forces in displaced supercells."""
        self.phonopy.generate_displacements(distance=displacement)
        moved = [self._atoms(cell) for cell in self.phonopy.supercells_with_displacements]
        self.phonopy.forces = np.stack([forces_of(model, atoms) for atoms in moved])
        self.phonopy.produce_force_constants(calculate_full_force_constants=False)


def band_structure(
    phonon: Phonopy, points: Mapping[str, ArrayLike], path: str, count: int = 51
) -> Bands:
    """Compute frequencies along straight segments between special points.

    Parameters
    ----------
    phonon : phonopy.Phonopy
        Object with force constants from any source.
    points : mapping of str to array_like
        (3,) each, in units of the primitive reciprocal cell.
    path : str
        Names of the points in order. "|" separates unconnected parts: "G X | K G L".
    count : int
        Number of points on each segment.
    """
    from phonopy.phonon.band_structure import get_band_qpoints_and_path_connections

    legs = [leg.split() for leg in path.split("|")]
    corners = [[np.asarray(points[name], dtype=float) for name in leg] for leg in legs]
    pieces, connected = get_band_qpoints_and_path_connections(corners, npoints=count)
    phonon.run_band_structure(pieces, path_connections=connected)
    found = phonon.band_structure
    distances = [np.array(piece) for piece in found.distances]
    names = [pair for leg in legs for pair in itertools.pairwise(leg)]
    ticks = [
        (float(where), name)
        for piece, pair in zip(distances, names, strict=True)
        for where, name in zip((piece[0], piece[-1]), pair, strict=True)
    ]
    return Bands(distances, [np.array(piece) for piece in found.frequencies], ticks)


def repeated_groups(crystal: Atoms, phonon: Phonopy) -> NDArray[np.int64] | None:
    """Groups of the atoms of the supercell, each cell with groups of its own; None without groups.

    A group stays together across the boundary of the cell: its atoms are the images nearest to its
    first atom.
    """
    stated = read_state(crystal).groups
    if stated is None:
        return None
    groups, scaled = np.array(stated, np.int64), crystal.get_scaled_positions()
    first = {int(g): scaled[np.flatnonzero(groups == g)[0]] for g in np.unique(groups)}
    wraps = np.round([first[int(g)] - s for g, s in zip(groups, scaled, strict=True)])
    supercell = phonon.supercell
    counts = np.diag(phonon.supercell_matrix)
    own = np.array([supercell.u2u_map[atom] for atom in supercell.s2u_map])
    cells = np.round(supercell.scaled_positions * counts - scaled[own])
    home = np.mod(cells - wraps[own], counts).astype(np.int64)
    number = np.ravel_multi_index(tuple(home.T), tuple(counts))
    repeated = groups[own] + (groups.max() + 1) * number
    return np.where(groups[own] == NO_GROUP, NO_GROUP, repeated)


def phonopy_of(crystal: Atoms, supercell: Sequence[int]) -> Phonopy:
    """Create the phonopy object of the crystal and its supercell.

    Raises
    ------
    InputError
        If phonopy is not installed.
    """
    try:
        from phonopy import Phonopy
        from phonopy.structure.atoms import PhonopyAtoms
        from phonopy.structure.cells import guess_primitive_matrix
    except ImportError as error:
        raise InputError(
            "phonons need the package phonopy: pip install 'muse_lr[phonons]'"
        ) from error
    cell = PhonopyAtoms(
        symbols=crystal.get_chemical_symbols(),
        cell=crystal.cell.array,
        scaled_positions=crystal.get_scaled_positions(),
        masses=crystal.get_masses(),
    )
    return Phonopy(cell, np.diag(supercell), primitive_matrix=guess_primitive_matrix(cell))
