"""Langevin dynamics with OpenMM.

python examples/engines/openmm_langevin.py MODEL FILE [--steps 100] [--temperature 300]
"""

from __future__ import annotations

import argparse

from ase.io import read

from muse_lr.interfaces.openmm_force import KILOJOULE, NANOMETER, openmm_force


def main() -> None:
    """Build a system of free particles with the model as their only force, and run."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model")
    parser.add_argument("file")
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--temperature", type=float, default=300.0, help="K")
    args = parser.parse_args()
    atoms = read(args.file, 0)
    if atoms.pbc.all():
        atoms.set_cell(atoms.cell.standard_form()[0], scale_atoms=True)  # as OpenMM needs it
    force = openmm_force(args.model, atoms)
    import openmm

    system = openmm.System()
    for mass in atoms.get_masses():
        system.addParticle(mass)
    if atoms.pbc.all():
        system.setDefaultPeriodicBoxVectors(*(atoms.cell.array / NANOMETER))
    system.addForce(force)
    integrator = openmm.LangevinMiddleIntegrator(args.temperature, 10.0, 0.0005)  # K, 1/ps, ps
    integrator.setRandomNumberSeed(1)
    platform = openmm.Platform.getPlatform("Reference")  # double precision
    context = openmm.Context(system, integrator, platform)
    context.setPositions(atoms.positions / NANOMETER)
    context.setVelocitiesToTemperature(args.temperature, 1)
    print(f"{'step':>6} {'potential eV':>16} {'kinetic eV':>12}")
    for step in range(0, args.steps + 1, 10):
        if step:
            integrator.step(10)
        state = context.getState(energy=True)
        potential, kinetic = (
            energy.value_in_unit(openmm.unit.kilojoule_per_mole) * KILOJOULE
            for energy in (state.getPotentialEnergy(), state.getKineticEnergy())
        )
        print(f"{step:6d} {potential:16.6f} {kinetic:12.6f}", flush=True)


if __name__ == "__main__":
    main()
