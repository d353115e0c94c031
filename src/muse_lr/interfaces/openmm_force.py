"""A model as a force of OpenMM, evaluated in Python."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from ase import Atoms, units
from numpy.typing import NDArray

from muse_lr.errors import InputError
from muse_lr.interfaces.fixed_atoms import FixedAtoms, require_engine

if TYPE_CHECKING:
    from muse_lr.model.energy_model import EnergyModel

#: kJ/mol in eV, nm in A.
KILOJOULE, NANOMETER = units.kJ / units.mol, units.nm


class OpenMMFunction:
    """The function of a ``PythonForce``: state -> energy (kJ/mol), forces (kJ/mol/nm).

    Parameters
    ----------
    potential : FixedAtoms
        The model and the atoms.
    """

    def __init__(self, potential: FixedAtoms) -> None:
        self.potential = potential

    def __call__(self, state: Any) -> tuple[float, NDArray[np.float64]]:
        """Compute energy and forces of a state of OpenMM."""
        from openmm.unit import nanometer

        positions = state.getPositions(asNumpy=True).value_in_unit(nanometer)
        cell = np.zeros((3, 3))
        if self.potential.atoms.pbc.any():
            cell = state.getPeriodicBoxVectors(asNumpy=True).value_in_unit(nanometer)
        found = self.potential(np.array(positions)[None] * NANOMETER, np.array(cell) * NANOMETER)
        return (
            float(found.energy[0] / KILOJOULE),
            found.forces[0] * (NANOMETER / KILOJOULE),
        )


def openmm_force(
    model: EnergyModel | str | Path,
    structure: Atoms | str | Path,
    force_group: int = 0,
    **options: Any,
) -> Any:
    """Make a force of OpenMM from a model.

    OpenMM has no virial of forces. Its barostats change the box and compare energies, which works
    with this force.

    Parameters
    ----------
    model : EnergyModel, str or Path
        A model or a model file.
    structure : ase.Atoms, str or Path
        The particles in the order of the system, or a structure file. Boundaries, total charge and
        spin are read from it.
    force_group : int
        Group of the force, 0 to 31, for integrators with several time steps.
    **options
        Options of :class:`~muse_lr.interfaces.fixed_atoms.FixedAtoms`.

    Returns
    -------
    openmm.PythonForce

    Raises
    ------
    InputError
        If OpenMM is absent or older than 8.5, or if the structure is a slab: OpenMM may move its
        atoms by box vectors along the open direction.
    """
    require_engine("openmm", "OpenMM")
    import openmm

    if not hasattr(openmm, "PythonForce"):
        raise InputError(
            f"OpenMM {openmm.__version__} has no PythonForce: pip install 'muse_lr[openmm]'"
        )
    potential = FixedAtoms(model, structure, **options)
    periodic = potential.atoms.pbc
    if periodic.any() and not periodic.all():
        raise InputError(
            "OpenMM has no slabs: make the structure periodic in three directions, with vacuum, or "
            "run it with muse-lr md"
        )
    force = openmm.PythonForce(OpenMMFunction(potential))
    force.setUsesPeriodicBoundaryConditions(bool(periodic.all()))
    force.setForceGroup(force_group)
    force.setName("muse_lr")
    return force
