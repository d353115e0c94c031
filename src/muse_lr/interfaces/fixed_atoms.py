"""A model on copies of one structure whose positions and cells another program supplies."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from ase import Atoms
from numpy.typing import ArrayLike, NDArray

from muse_lr.errors import InputError, described
from muse_lr.model.serialization import as_model
from muse_lr.structures.batch import AtomsBatch, atoms_to_data
from muse_lr.structures.geometry import open_projection
from muse_lr.structures.neighbors import complete_cell
from muse_lr.structures.verlet_list import VerletList
from muse_lr.utils.devices import find_device

if TYPE_CHECKING:
    from muse_lr.model.energy_model import EnergyModel
    from muse_lr.model.output import ModelOutput

DTYPES = {"float32": torch.float32, "float64": torch.float64}


def evaluation_model(
    model: EnergyModel | str | Path, device: str, dtype: str, trust: bool, compile: bool = False
) -> EnergyModel:
    """Copy or read a model for evaluation; its parameters require no gradients.

    With ``compile``, the copy is compiled (:func:`muse_lr.compile_model`).

    Raises
    ------
    InputError
        If the source is no model, if the device or the precision is not available, or if the model
        cannot be compiled.
    """
    if dtype not in DTYPES:
        raise InputError(f"dtype {dtype!r}: give the text 'float32' or 'float64'")
    own = as_model(model, trust)
    own = deepcopy(own) if own is model else own
    own = own.to(device=find_device(device), dtype=DTYPES[dtype]).eval().requires_grad_(False)
    if compile:
        from muse_lr.model.compilation.compiled_model import compile_model

        compile_model(own)
    return own


def require_engine(package: str, name: str) -> None:
    """Raise an error if the Python package of a simulation engine is absent.

    Parameters
    ----------
    package : str
        Name of the package, which is also that of the extra of muse_lr.
    name : str
        Name of the engine, for the message.

    Raises
    ------
    InputError
        If the package is not installed.
    """
    try:
        found = find_spec(package) is not None
    except ValueError:  # sys.modules holds None or a module without a specification
        found = False
    if not found:
        raise InputError(f"{name} needs the package {package}: pip install 'muse_lr[{package}]'")


@dataclass(frozen=True)
class Evaluation:
    r"""Results for copies of one structure, as float64 arrays.

    Attributes
    ----------
    energy : ndarray
        (n_copies,) in eV.
    forces : ndarray
        (n_copies, n_atoms, 3) in eV/A.
    virial : ndarray
        (n_copies, 3, 3) in eV, :math:`-\partial E / \partial \epsilon`: minus the stress times the
        volume, positive for a structure that expands. Zero for structures without a volume.
    dipole : ndarray or None
        (n_copies, 3) in e A about the origin, without the components along periodic directions.
        None for crystals and for models without charges.
    born_charges : ndarray or None
        (n_copies, n_atoms, 3, 3) dP_a/dr_b in e, if requested.
    """

    energy: NDArray[np.float64]
    forces: NDArray[np.float64]
    virial: NDArray[np.float64]
    dipole: NDArray[np.float64] | None = None
    born_charges: NDArray[np.float64] | None = None


class FixedAtoms:
    """A model on any number of copies of one structure, with a neighbor list that is reused.

    All copies of a call are evaluated as one batch. Elements, boundaries, total charge, spin,
    electric field and groups are those of the structure. So are the cell vectors of open
    directions, because the boxes of other programs have a length along them that means nothing.

    Parameters
    ----------
    model : EnergyModel, str or Path
        A model, which is copied, or a model file.
    structure : ase.Atoms, str or Path
        The atoms in the order of the engine, or a structure file whose first frame is used.
        Constraints are ignored.
    device : str
        ``cpu``, ``cuda``, ``cuda:1``, ...
    dtype : {"float64", "float32"}
        Floating-point precision of the copy.
    skin : float
        Skin of the neighbor list, A.
    trust : bool
        Whether a model file may import parts named ``package.module:Class``, which runs their code.
    compile : bool
        Whether to compile the copy, which takes minutes once (:func:`muse_lr.compile_model`).

    Attributes
    ----------
    atoms : ase.Atoms
        A copy of the structure.
    model : EnergyModel
        The copy that is evaluated.

    Raises
    ------
    InputError
        If the structure or the model cannot be read.
    """

    def __init__(
        self,
        model: EnergyModel | str | Path,
        structure: Atoms | str | Path,
        device: str = "cpu",
        dtype: str = "float64",
        skin: float = 0.5,
        trust: bool = False,
        compile: bool = False,
    ) -> None:
        self.model = evaluation_model(model, device, dtype, trust, compile)
        self.atoms = _read(structure)
        self._data = atoms_to_data(self.atoms, None)
        self._neighbors = VerletList(self.model.cutoff, skin)
        self._batch = AtomsBatch.from_structures([self._data]).to(self.model.device)

    def __len__(self) -> int:
        return len(self.atoms)

    def __repr__(self) -> str:
        return f"FixedAtoms({self.atoms.get_chemical_formula()}, {self.model.dtype})"

    def __call__(
        self, positions: ArrayLike, cells: ArrayLike, born_charges: bool = False
    ) -> Evaluation:
        """Compute energies, forces and virials of copies.

        Parameters
        ----------
        positions : array_like
            (n_copies, n_atoms, 3) in A.
        cells : array_like
            (n_copies, 3, 3) cell vectors as rows, A.
        born_charges : bool
            Whether to compute Born effective charges.

        Returns
        -------
        Evaluation

        Raises
        ------
        InputError
            If the number of atoms differs from that of the structure, if the model refuses the
            geometry, or if an energy or a force is not finite.
        """
        points = np.asarray(positions, dtype=np.float64)
        if points.ndim != 3 or points.shape[1:] != (len(self), 3):
            shape = " x ".join(map(str, points.shape))
            raise InputError(
                f"the engine gives positions of shape {shape}, but the structure "
                f"{self.atoms.get_chemical_formula()} has {len(self)} atoms: give the same atoms, "
                "in the same order, to both"
            )
        batch = self._place(points, np.asarray(cells, dtype=np.float64))
        volume = bool(self._data.has_volume)
        compute = ["forces", *(["stress"] * volume), *(["bec"] * born_charges)]
        with_dipole = self.model.charges is not None and not self.atoms.pbc.all()
        compute += ["dipole"] * with_dipole
        output = self.model(batch, compute, create_graph=False)
        found = self._evaluation(batch, output)
        if not (np.isfinite(found.energy).all() and np.isfinite(found.forces).all()):
            raise InputError("the energy or a force is not finite")
        return found

    def _place(self, positions: NDArray[np.float64], cells: NDArray[np.float64]) -> AtomsBatch:
        """The batch of the copies with its neighbor list."""
        if self._batch.num_graphs != len(positions):
            copies = [self._data] * len(positions)
            self._batch = AtomsBatch.from_structures(copies).to(self.model.device)
        batch, pbc = self._batch, self.atoms.pbc
        rows = np.where(pbc[:, None], cells.reshape(-1, 3, 3), self.atoms.cell.array)
        complete = np.stack([complete_cell(cell, pbc) for cell in rows])
        batch.positions = torch.tensor(positions.reshape(-1, 3)).to(self.model.device)
        batch.cell = torch.from_numpy(complete).to(self.model.device)
        self._neighbors.unwrap(batch)  # engines wrap atoms that leave the cell
        self._neighbors.attach(batch)
        return batch

    def _evaluation(self, batch: AtomsBatch, output: ModelOutput) -> Evaluation:
        def numpy(values: torch.Tensor | None) -> NDArray[np.float64]:
            assert values is not None
            array: NDArray[np.float64] = values.detach().cpu().double().numpy()
            return array

        copies = batch.num_graphs
        virial, dipole, born = np.zeros((copies, 3, 3)), None, None
        if output.stress is not None:
            volumes = np.abs(np.linalg.det(numpy(batch.cell)))
            virial = -numpy(output.stress) * volumes[:, None, None]
        if output.dipole is not None and not self.atoms.pbc.all():
            projection = numpy(open_projection(batch.cell, batch.pbc))
            dipole = np.einsum("gab,gb->ga", projection, numpy(output.dipole))
        if output.bec is not None:
            born = numpy(output.bec).reshape(copies, -1, 3, 3)
        forces = numpy(output.forces).reshape(copies, -1, 3)
        return Evaluation(numpy(output.energy), forces, virial, dipole, born)


def _read(structure: Atoms | str | Path) -> Atoms:
    if isinstance(structure, Atoms):
        atoms = structure.copy()
    elif isinstance(structure, (str, Path)):
        from ase.io import read

        if not Path(structure).is_file():
            raise InputError(f"{structure}: no such structure file")
        try:
            atoms = read(structure, 0)
        except Exception as error:  # the readers of ASE raise errors of any type
            raise InputError(f"{structure} cannot be read as a structure: {error}") from error
    else:
        raise InputError(f"ase.Atoms or a structure file is needed, not {described(structure)}")
    atoms.set_constraint()
    return atoms
