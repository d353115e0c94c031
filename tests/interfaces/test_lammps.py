"""A model as ``fix external`` of LAMMPS."""

from __future__ import annotations

import numpy as np
import pytest

from engine_checks import assert_agrees, needs_engine
from muse_lr import InputError
from muse_lr.interfaces.lammps_fix import ENERGY_UNITS, VIRIAL_ORDER, LammpsFix, open_lammps

pytestmark = needs_engine("lammps")


@pytest.fixture
def start():
    """A function that makes an instance with the atoms of a structure, in a permuted order."""
    instances = []

    def make(atoms, units="metal", boundary="p p p"):
        lammps = open_lammps()
        instances.append(lammps)
        a, b, c = atoms.cell.array
        box = f"0 {a[0]!r} 0 {b[1]!r} 0 {c[2]!r} {b[0]!r} {c[0]!r} {c[1]!r}"
        lammps.commands_string(f"""
            units {units}
            atom_style atomic
            atom_modify map array sort 0 0
            boundary {boundary}
            region box prism {box.replace("np.float64(", "").replace(")", "")}
            create_box 2 box
            mass 1 22.99
            mass 2 35.45
            pair_style zero 3.0
            pair_coeff * *
        """)
        kinds = np.where(atoms.numbers == 11, 1, 2)
        order = np.random.default_rng(0).permutation(len(atoms))
        lammps.create_atoms(
            len(atoms),
            (order + 1).tolist(),
            kinds[order].tolist(),
            atoms.positions[order].ravel().tolist(),
        )
        lammps.command("neighbor 1.0 bin")
        lammps.command("timestep " + ("0.0005" if units == "metal" else "0.5"))
        lammps.command("fix nve all nve")
        return lammps

    yield make
    for instance in instances:
        instance.close()


def by_id(lammps, name):
    """Values of the atoms in the order of their ids; images of atoms follow the atoms."""
    tags = np.array(lammps.numpy.extract_atom("id"))[: lammps.get_natoms()]
    return np.array(lammps.numpy.extract_atom(name))[: len(tags)][np.argsort(tags)]


def results(lammps, units="metal"):
    """Energy (eV), forces (eV/A) and virial (eV) by the thermodynamic output of LAMMPS."""
    unit = ENERGY_UNITS[units]
    lammps.command("run 0")
    forces = by_id(lammps, "f") * unit
    pressure = [lammps.get_thermo(name) for name in ("pxx", "pyy", "pzz", "pxy", "pxz", "pyz")]
    scale = lammps.get_thermo("vol") / lammps.extract_global("nktv2p") * unit
    virial = np.zeros((3, 3))
    virial[VIRIAL_ORDER] = np.array(pressure) * scale
    virial = virial + np.triu(virial, 1).T
    return lammps.get_thermo("pe") * unit, forces, virial


@pytest.mark.parametrize("units", ["metal", "real"])
def test_lammps_agrees_with_ase(start, engine_model, box, units):
    lammps = start(box, units)
    fix = LammpsFix(lammps, engine_model, box)
    fix.run(0)
    assert_agrees(engine_model, box, *results(lammps, units))


def test_dynamics(start, engine_model, box):
    """After steps, the results are those of the structure where it then is."""
    lammps = start(box)
    fix = LammpsFix(lammps, engine_model, box)
    fix.run(0)
    total = lammps.get_thermo("etotal")
    fix.run(20)
    assert lammps.get_thermo("etotal") == pytest.approx(total, abs=2e-4)
    moved = box.copy()
    moved.positions = by_id(lammps, "x")
    assert np.abs(moved.get_scaled_positions() - box.get_scaled_positions()).max() > 1e-5
    lammps.command("velocity all set 0 0 0")  # the pressure is then that of the virial
    assert_agrees(engine_model, moved, *results(lammps))


def test_respa_is_refused(start, engine_model, box):
    lammps = start(box)
    lammps.command("run_style respa 2 2")
    with pytest.raises(InputError, match="run_style respa"):
        LammpsFix(lammps, engine_model, box)


def test_respa_after_the_fix_is_refused(start, engine_model, box):
    lammps = start(box)
    fix = LammpsFix(lammps, engine_model, box)
    lammps.command("run_style respa 2 2")
    with pytest.raises(InputError, match="run_style respa"):
        fix.run(1)


def test_several_ranks_are_refused(start, engine_model, box):
    class Ranks:
        def extract_setting(self, name):
            return {"world_size": 2}[name]

    with pytest.raises(InputError, match="2 MPI ranks"):
        LammpsFix(Ranks(), engine_model, box)


def test_other_units_boundaries_and_atoms_are_refused(start, engine_model, box):
    lammps = start(box, units="lj")
    with pytest.raises(InputError, match="set units metal"):
        LammpsFix(lammps, engine_model, box)
    lammps = start(box)
    slab = box.copy()
    slab.pbc = (True, True, False)
    with pytest.raises(InputError, match="periodic along x, y, z, but the structure along x, y"):
        LammpsFix(lammps, engine_model, slab)
    with pytest.raises(InputError, match="8 atoms, but the structure has 7"):
        LammpsFix(lammps, engine_model, box[:7])


def test_an_error_of_the_model_stops_the_run(start, engine_model, box):
    box.positions[1] = box.positions[0] + 1e-8
    lammps = start(box)
    fix = LammpsFix(lammps, engine_model, box)
    with pytest.raises(InputError, match="at one place"):
        fix.run(100)
    assert lammps.extract_global("ntimestep") < 3
