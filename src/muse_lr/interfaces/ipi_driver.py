"""Results in the form that i-PI expects, in its process and for its socket.

i-PI imports this file for ``<ffdirect>`` with ``<pes>custom</pes>``, and the names in capitals tell
it the class. The name of the file must not be that of an installed package: i-PI registers the
module under it.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from ase import Atoms, units
from numpy.typing import NDArray

from muse_lr.errors import InputError, nearest
from muse_lr.interfaces.fixed_atoms import FixedAtoms

if TYPE_CHECKING:
    from muse_lr.model.energy_model import EnergyModel

__DRIVER_NAME__ = "muse_lr"
__DRIVER_CLASS__ = "IPIDriver"


@dataclass(frozen=True)
class AtomicUnits:
    """Lengths and energies of a program that works in atomic units.

    Attributes
    ----------
    bohr : float
        A.
    hartree : float
        eV.
    """

    bohr: float
    hartree: float


#: i-PI rounds its constants (``ipi.utils.units``). With others, positions in A would differ from
#: those in its files by 1e-8 of their value.
UNITS = {
    "ipi": AtomicUnits(1 / 1.8897261, 1 / 0.036749326),
    "ase": AtomicUnits(units.Bohr, units.Hartree),
}


#: What is passed on to FixedAtoms.
OPTIONS = ("device", "dtype", "skin", "trust", "compile")


class BeadResult(NamedTuple):
    """Result for one bead, in atomic units.

    The virial is minus the derivative of the energy with respect to strain. The extras are JSON,
    or an empty text.
    """

    energy: float
    forces: NDArray[np.float64]
    virial: NDArray[np.float64]
    extras: str


class IPIDriver:
    """A model as a driver of i-PI; all beads of a batch are evaluated together.

    Parameters
    ----------
    model : EnergyModel, str or Path
        A model or a model file.
    template : ase.Atoms, str or Path
        The atoms in the order of i-PI, or a structure file. Boundaries, total charge and spin are
        read from it.
    born_charges : bool
        Whether the extras hold Born effective charges (``BEC``), which driven dynamics reads.
    units : {"ipi", "ase"}
        Whose values of the atomic units the other side uses.
    **options
        Options of :class:`~muse_lr.interfaces.fixed_atoms.FixedAtoms`.

    Raises
    ------
    InputError
        If an option is not known, or Born charges are requested of a model without charges.

    Notes
    -----
    The extras hold ``dipole`` (e Bohr, 3 numbers) for molecules and slabs of models with charges.
    ``BEC`` (e) has 3 rows for each atom, one for each direction in which it moves, and 3 columns,
    the components of the dipole.
    """

    def __init__(
        self,
        model: EnergyModel | str | Path,
        template: Atoms | str | Path,
        born_charges: bool = False,
        units: str = "ipi",
        **options: Any,
    ) -> None:
        for name in ("verbosity", "verbose"):  # i-PI adds them
            options.pop(name, None)
        for name in options:
            if name not in OPTIONS:
                known = ("model", "template", "born_charges", "units", *OPTIONS)
                raise InputError(
                    f"parameter {name!r} of the driver is none of {', '.join(known)}"
                    f"{nearest(name, known)}"
                )
        if units not in UNITS:
            raise InputError(f"units {units!r}: give the text 'ipi' or 'ase'")
        self.units, self.born_charges = UNITS[units], born_charges
        self.potential = FixedAtoms(model, template, **options)
        if born_charges and self.potential.model.charges is None:
            raise InputError("a model without charges has no Born charges: leave out born_charges")

    def __call__(self, cell: Any, pos: Any) -> Any:
        """Evaluate one structure, or a list of structures as one batch; see i-PI.

        Parameters
        ----------
        cell : ndarray or list of ndarray
            (3, 3) cell vectors as columns, Bohr.
        pos : ndarray or list of ndarray
            (n_atoms, 3) positions, Bohr.

        Returns
        -------
        BeadResult or list of BeadResult
        """
        if isinstance(cell, list):
            return self.evaluate(cell, pos)
        return self.evaluate([cell], [pos])[0]

    def evaluate(
        self, cells: Sequence[NDArray[np.float64]], positions: Sequence[NDArray[np.float64]]
    ) -> list[BeadResult]:
        """Evaluate beads as one batch; shapes and units are those of :meth:`__call__`."""
        bohr, hartree = self.units.bohr, self.units.hartree
        rows = np.stack([np.asarray(cell).reshape(3, 3).T for cell in cells]) * bohr
        points = np.stack([np.asarray(each).reshape(-1, 3) for each in positions]) * bohr
        found = self.potential(points, rows, born_charges=self.born_charges)
        results = []
        for bead in range(len(points)):
            extras: dict[str, Any] = {}
            if found.dipole is not None:
                extras["dipole"] = (found.dipole[bead] / bohr).tolist()
            if found.born_charges is not None:
                moved_first = found.born_charges[bead].transpose(0, 2, 1)
                extras["BEC"] = moved_first.reshape(-1, 3).tolist()
            results.append(
                BeadResult(
                    float(found.energy[bead] / hartree),
                    found.forces[bead] * (bohr / hartree),
                    found.virial[bead].T / hartree,
                    json.dumps(extras) if extras else "",
                )
            )
        return results
