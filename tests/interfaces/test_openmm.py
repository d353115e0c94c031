"""A model as a force of OpenMM."""

from __future__ import annotations

import numpy as np
import pytest
from ase.build import molecule

from engine_checks import assert_agrees, needs_engine, reference
from helpers import painn_section, random_model
from muse_lr import InputError
from muse_lr.interfaces.openmm_force import KILOJOULE, NANOMETER, openmm_force

pytestmark = needs_engine("openmm")


def make_context(atoms, *forces, integrator=None):
    """A context of OpenMM with double precision."""
    import openmm

    system = openmm.System()
    for mass in atoms.get_masses():
        system.addParticle(mass)
    if atoms.pbc.any():
        system.setDefaultPeriodicBoxVectors(*(atoms.cell.array / NANOMETER))
    for force in forces:
        system.addForce(force)
    integrator = integrator or openmm.VerletIntegrator(0.0005)
    platform = openmm.Platform.getPlatform("Reference")
    context = openmm.Context(system, integrator, platform)
    context.setPositions(atoms.positions / NANOMETER)
    return context


def results(context, groups=-1):
    """Energy (eV) and forces (eV/A) of a context."""
    state = context.getState(energy=True, forces=True, groups=groups)
    energy = state.getPotentialEnergy()._value * KILOJOULE
    return energy, state.getForces(asNumpy=True)._value * KILOJOULE / NANOMETER


def test_openmm_agrees_with_ase(engine_model, box):
    context = make_context(box, openmm_force(engine_model, box))
    energy, forces = results(context)
    # OpenMM has no virial: the change of the energy with the box is compared instead.
    strain, step = np.array([[1.0, 0.0, 0.0], [0.3, -0.4, 0.0], [0.2, 0.5, 0.7]]), 1e-4
    changes = []
    for sign in (1, -1):
        strained = box.copy()
        strained.set_cell(box.cell.array @ (np.eye(3) + sign * step * strain), scale_atoms=True)
        context.setPeriodicBoxVectors(*(strained.cell.array / NANOMETER))
        context.setPositions(strained.positions / NANOMETER)
        changes.append(results(context)[0])
    virial = reference(engine_model, box)[2]
    assert (changes[1] - changes[0]) / (2 * step) == pytest.approx(
        float((virial * strain).sum()), rel=1e-5
    )
    assert_agrees(engine_model, box, energy, forces, virial)


def test_a_molecule():
    model = random_model(painn_section(["H", "O"]))
    water = molecule("H2O")
    energy, forces = results(make_context(water, openmm_force(model, water)))
    found = reference_of_molecule(model, water)
    assert energy == pytest.approx(found[0], abs=1e-10)
    np.testing.assert_allclose(forces, found[1], atol=1e-8)


def reference_of_molecule(model, atoms):
    import muse_lr

    atoms = atoms.copy()
    atoms.calc = muse_lr.Calculator(model)
    return atoms.get_potential_energy(), atoms.get_forces()


def test_force_groups_are_evaluated_as_often_as_they_should(engine_model, box):
    import openmm

    fast = openmm.CustomExternalForce("10*(x^2+y^2+z^2)")
    for atom in range(len(box)):
        fast.addParticle(atom)
    fast.setForceGroup(0)
    slow = openmm_force(engine_model, box, force_group=1)
    assert slow.getForceGroup() == 1
    integrator = openmm.MTSIntegrator(0.001, [(1, 1), (0, 4)])
    context = make_context(box, slow, fast, integrator=integrator)
    energy, forces = results(context, groups={1})
    assert_agrees(engine_model, box, energy, forces, reference(engine_model, box)[2])
    start = results(context)[0]
    integrator.step(3)
    assert np.isfinite(results(context)[0])
    assert results(context)[0] != start


def test_slabs_are_refused(engine_model, box):
    box.pbc = (True, True, False)
    with pytest.raises(InputError, match="OpenMM has no slabs"):
        openmm_force(engine_model, box)


def test_an_error_of_the_model_reaches_the_user(engine_model, box):
    context = make_context(box, openmm_force(engine_model, box))
    box.positions[1] = box.positions[0]
    context.setPositions(box.positions / NANOMETER)
    with pytest.raises(Exception, match="at one place"):
        results(context)
