"""What the two OpenMM comparisons share: units, systems and the energy of a force."""

from __future__ import annotations

from typing import Any

import numpy as np

from benchmarks.peers.common import Answer, System
from benchmarks.peers.report import require
from muse_lr.units import COULOMB_CONSTANT

openmm = require("openmm", "openmm")
from openmm import unit  # noqa: E402

#: OpenMM's own 1 / (4 pi eps0), kJ nm / (mol e^2); its forces are rescaled to ours.
NONBONDED_CONSTANT = 138.93545764438198
NM = 0.1


def evaluate(force: Any, system: System, constant: float) -> Answer:
    """Energy and forces of one force on the Reference platform (double precision).

    Parameters
    ----------
    force : openmm.Force
    system : System
        Its cell must be lower triangular and reduced where it is periodic.
    constant : float
        The Coulomb constant that the force uses, kJ nm / (mol e^2).
    """
    holder = openmm.System()
    for _ in system.atoms:
        holder.addParticle(1.0)
    if system.atoms.pbc.all():
        holder.setDefaultPeriodicBoxVectors(*(system.atoms.cell.array * NM))
    holder.addForce(force)
    context = openmm.Context(
        holder, openmm.VerletIntegrator(0.001), openmm.Platform.getPlatformByName("Reference")
    )
    context.setPositions(system.atoms.positions * NM)
    state = context.getState(getEnergy=True, getForces=True)
    energy = state.getPotentialEnergy().value_in_unit(unit.kilojoule_per_mole)
    forces = state.getForces(asNumpy=True).value_in_unit(unit.kilojoule_per_mole / unit.nanometer)
    # k e^2 / A in units of constant e^2 / nm.
    scale = COULOMB_CONSTANT / (constant / NM)
    return Answer(energy * scale, np.asarray(forces) * scale * NM)
