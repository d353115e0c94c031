"""OpenMM's PME of point charges against our reference solver.

    python -m benchmarks.peers.compare_openmm

NonbondedForce without Lennard-Jones, Reference platform, double precision, ewaldErrorTolerance
1e-7. Its energies leave the background of a net charge in, as ours do.
"""

from __future__ import annotations

import sys

from benchmarks.peers.common import CUBIC, ORTHORHOMBIC, TRICLINIC, Answer, System, ours, scattered
from benchmarks.peers.openmm_tools import NM, NONBONDED_CONSTANT, evaluate, openmm
from benchmarks.peers.report import Report

CUTOFF = 4.2
TOLERANCE = 1e-7


def particle_mesh_ewald(system: System) -> Answer:
    """Energy and forces of its PME."""
    force = openmm.NonbondedForce()
    force.setNonbondedMethod(openmm.NonbondedForce.PME)
    force.setCutoffDistance(CUTOFF * NM)
    force.setEwaldErrorTolerance(TOLERANCE)
    force.setUseDispersionCorrection(False)
    for charge in system.moments[:, 0]:
        force.addParticle(charge, 1.0, 0.0)
    return evaluate(force, system, NONBONDED_CONSTANT)


def main() -> int:
    """Run all cases."""
    report = Report("peers_openmm", "openmm")
    cells = {"cubic": CUBIC, "orthorhombic": ORTHORHOMBIC, "triclinic": TRICLINIC}
    for shape, cell in cells.items():
        for charge in (0.0, 1.5):
            system = scattered(shape, cell, (1, 1, 1), 24, 0, total_charge=charge)
            theirs = particle_mesh_ewald(system)
            case = f"PME, {shape}, Q = {charge:g}"
            report.compare(case, ours(system), theirs, 5e-6)
    return report.finish()


if __name__ == "__main__":
    sys.exit(main())
