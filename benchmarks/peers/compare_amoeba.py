"""OpenMM's AMOEBA multipoles against our reference solver: points, l <= 2, crystal and molecule.

    python -m benchmarks.peers.compare_amoeba

AmoebaMultipoleForce without polarizability, covalent scaling and local frames (NoAxisType), so that
the multipoles are permanent points in the laboratory frame. Its quadrupole is
Theta / 3 = sum q (r r - r^2 / 3) / 2, which the rows of clusters of charges confirm. Its fields at
the atoms, torques with them, are differences of its energy by the moments.
"""

from __future__ import annotations

import sys
from dataclasses import replace

import numpy as np

from benchmarks.peers.common import CUBIC, ORTHORHOMBIC, TRICLINIC, Answer, System, ours, scattered
from benchmarks.peers.openmm_tools import NM, evaluate, openmm
from benchmarks.peers.oracles import cartesian, open_cluster_sum
from benchmarks.peers.report import Report

#: 1 / (4 pi eps0) of the AMOEBA plugin, kJ nm / (mol e^2).
AMOEBA_CONSTANT = 138.93545764438198
#: A real-space cutoff in A, the splitting in 1/nm that it allows, and the mesh that resolves it.
#: Third derivatives of splines act on quadrupoles: a tight comparison needs a wide cell.
CUTOFF = 9.0
ALPHA = 4.5
MESH = 192
TOLERANCES = (1e-6, 2e-5, 2e-4)


def multipole_force(system: System) -> Answer:
    """Energy and forces of permanent point multipoles."""
    force = openmm.AmoebaMultipoleForce()
    if system.atoms.pbc.all():
        force.setNonbondedMethod(openmm.AmoebaMultipoleForce.PME)
        force.setCutoffDistance(CUTOFF * NM)
        force.setPMEParameters(ALPHA, MESH, MESH, MESH)
    else:
        force.setNonbondedMethod(openmm.AmoebaMultipoleForce.NoCutoff)
    force.setPolarizationType(openmm.AmoebaMultipoleForce.Direct)
    for charge, dipole, quadrupole in zip(*cartesian(system), strict=True):
        force.addMultipole(
            charge,
            (dipole * NM).tolist(),
            (quadrupole * NM**2 / 3).ravel().tolist(),
            openmm.AmoebaMultipoleForce.NoAxisType,
            -1,
            -1,
            -1,
            0.39,
            1.0,
            0.0,
        )
    return evaluate(force, system, AMOEBA_CONSTANT)


def with_field(system: System) -> Answer:
    """Their answer with dE/dM by central differences, which are exact for a quadratic form."""
    field = np.zeros_like(system.moments)
    for index in np.ndindex(*field.shape):
        moments = np.repeat(system.moments[None], 2, axis=0)
        moments[(slice(None), *index)] += [0.5, -0.5]
        plus, minus = (multipole_force(replace(system, moments=each)).energy for each in moments)
        field[index] = plus - minus
    return replace(multipole_force(system), field=field)


def main() -> int:
    """Run all cases."""
    report = Report("peers_amoeba", "openmm")
    for l_max in (0, 1, 2):
        system = scattered("molecule", CUBIC, (0, 0, 0), 8, l_max, total_charge=1.0, seed=l_max)
        mine, theirs = ours(system), with_field(system)
        report.compare(f"molecule, l = {l_max}", mine, theirs, 1e-8)
        exact = Answer(open_cluster_sum(system))
        case = f"molecule, l = {l_max}"
        report.compare(f"{case}, theirs by clusters of charges", exact, theirs, 1e-6)
        report.compare(f"{case}, ours by clusters of charges", mine, exact, 1e-6)
        cells = {"cubic": CUBIC, "orthorhombic": ORTHORHOMBIC, "triclinic": TRICLINIC}
        for shape, cell in cells.items():
            for charge in (0.0, 1.0):
                system = scattered(shape, 2 * cell, (1, 1, 1), 30, l_max, total_charge=charge)
                mine, theirs = ours(system), multipole_force(system)
                case = f"PME, {shape}, l = {l_max}, Q = {charge:g}"
                report.compare(case, mine, theirs, TOLERANCES[l_max])
    return report.finish()


if __name__ == "__main__":
    sys.exit(main())
