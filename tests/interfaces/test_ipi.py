"""The driver of i-PI: in process, through sockets, beads in one batch, and when a side dies."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import uuid
from pathlib import Path

import numpy as np
import pytest
from ase.build import molecule
from ase.calculators.socketio import SocketIOCalculator
from ase.io import write

import muse_lr
from engine_checks import assert_agrees, needs_engine
from helpers import painn_section, random_model, refused
from muse_lr import InputError
from muse_lr.interfaces import ipi_driver
from muse_lr.interfaces.fixed_atoms import FixedAtoms, require_engine
from muse_lr.interfaces.ipi_driver import UNITS, IPIDriver
from muse_lr.interfaces.ipi_socket import PREFIX, Address, serve

IPI = UNITS["ipi"]
#: A server that accepts a client and asks nothing; it prints a line when the client is there.
SILENT_SERVER = """
import socket, sys, time
server = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
server.bind(sys.argv[1])
server.listen(1)
connection = server.accept()[0]
print("accepted", flush=True)
time.sleep(120)
"""
#: i-PI with four beads: energies, forces and virials of all beads, as JSON, after two steps.
BEADS = """
import json, sys
import numpy as np
from ase.io import read
from ipi.scripting import InteractiveSimulation, simulation_xml
from ipi.utils.depend import dstrip
from ipi.utils.softexit import softexit

forcefield, frames, out = open(sys.argv[1]).read(), read(sys.argv[2], ":"), sys.argv[3]
motion = "<motion mode='dynamics'><dynamics mode='nve'><timestep units='femtosecond'> 0.5"
motion += "</timestep></dynamics></motion>"
text = simulation_xml(frames, forcefield, motion, temperature=0.01, output="<output></output>")
softexit.hard_exit = True  # as the script i-pi does
simulation = InteractiveSimulation(text)
simulation.run(2)
forces, beads, cell = (getattr(simulation.syslist[0], n) for n in ("forces", "beads", "cell"))
found = {"energies": forces.pots, "forces": forces.f, "virials": forces.virs, "cell": cell.h}
found["positions"] = beads.q
found = {name: np.asarray(dstrip(values)).tolist() for name, values in found.items()}
open(out, "w").write(json.dumps(found))
softexit.trigger(status="success", message="done")
"""


@pytest.fixture
def unix() -> str:
    return f"muse-test-{uuid.uuid4().hex[:12]}"


@pytest.fixture
def files(tmp_path, engine_model, box):
    """A model file and a structure file."""
    muse_lr.save_model(engine_model, tmp_path / "model.pt")
    write(tmp_path / "box.xyz", box)
    return tmp_path


def start(folder: Path, *arguments: str, **options) -> subprocess.Popen:
    command = [sys.executable, *arguments]
    return subprocess.Popen(command, cwd=folder, stderr=subprocess.PIPE, text=True, **options)


def start_client(folder: Path, unix: str) -> subprocess.Popen:
    return start(folder, "-m", "muse_lr", "ipi", "model.pt", "box.xyz", "--unix", unix)


def in_bohr(atoms):
    return atoms.cell.array.T / IPI.bohr, atoms.positions / IPI.bohr


def in_electronvolt(result):
    """Energy, forces and virial of a bead, in eV and A."""
    forces = np.asarray(result[1]).reshape(-1, 3) * IPI.hartree / IPI.bohr
    return result[0] * IPI.hartree, forces, np.asarray(result[2]).reshape(3, 3) * IPI.hartree


# --- The driver ----------------------------------------------------------------------------------


def test_the_driver_agrees_with_ase(engine_model, box):
    driver = IPIDriver(engine_model, box, verbosity=2)
    assert_agrees(engine_model, box, *in_electronvolt(driver(*in_bohr(box))))


def test_beads_are_one_batch_and_equal_single_ones(engine_model, box, monkeypatch):
    driver = IPIDriver(engine_model, box)
    beads = [box.copy() for _ in range(3)]
    for seed, bead in enumerate(beads):
        bead.rattle(0.05, seed=seed)
    sizes = []
    forward = driver.potential.model.forward
    monkeypatch.setattr(
        driver.potential.model,
        "forward",
        lambda batch, *a, **k: (sizes.append(batch.num_graphs), forward(batch, *a, **k))[1],
    )
    cells, positions = zip(*map(in_bohr, beads), strict=True)
    found = driver(list(cells), list(positions))
    assert sizes == [3]
    for bead, result in zip(beads, found, strict=True):
        assert_agrees(engine_model, bead, *in_electronvolt(result))
    assert_agrees(engine_model, beads[0], *in_electronvolt(driver(cells[0], positions[0])))


def test_born_charges_and_dipole_in_the_extras():
    """BEC rows are directions of atoms: the force of a field F is BEC F, as in i-PI."""
    charges = {"kind": "conserved", "width": 1.0}
    model = random_model(painn_section(["H", "O"], charges=charges))
    water = molecule("H2O")
    water.rattle(0.05, seed=1)
    found = IPIDriver(model, water, born_charges=True)(np.eye(3) * 30, water.positions / IPI.bohr)
    extras = json.loads(found.extras)
    water.calc = muse_lr.Calculator(model)
    np.testing.assert_allclose(
        np.array(extras["dipole"]) * IPI.bohr, water.get_dipole_moment(), atol=1e-10
    )
    expected = water.calc.get_property("born_effective_charges", water)
    rows = np.array(extras["BEC"]).reshape(3, 3, 3)  # atom, direction of the atom, dipole
    np.testing.assert_allclose(rows, expected.transpose(0, 2, 1), atol=1e-10)
    assert np.abs(rows.sum(0)).max() < 1e-10  # what driven dynamics checks
    step = 1e-4
    dipoles = []
    for sign in (1, -1):
        moved = water.copy()
        moved.positions[1, 2] += sign * step
        moved.calc = muse_lr.Calculator(model)
        dipoles.append(moved.get_dipole_moment())
    np.testing.assert_allclose((dipoles[0] - dipoles[1]) / (2 * step), rows[1, 2], atol=1e-6)
    assert np.abs(found.virial).max() == 0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"born_charge": True}, "did you mean 'born_charges'"),
        ({"skins": 1}, "did you mean 'skin'"),
        ({"units": "cp2k"}, "'ipi' or 'ase'"),
        ({"template": "absent.xyz"}, "no such structure file"),
        ({"born_charges": True}, "without charges"),
    ],
)
def test_bad_parameters_are_refused(options, message, box):
    section = painn_section(["Na", "Cl"], charges=None, heads={})
    given = {"model": random_model(section), "template": box, **options}
    with pytest.raises(InputError, match=message):
        IPIDriver(**given)


def test_another_number_of_atoms_and_bad_positions_are_refused(engine_model, box):
    potential = FixedAtoms(engine_model, box)
    with pytest.raises(InputError, match="has 8 atoms: give the same atoms"):
        potential(box.positions[None, :7], box.cell.array[None])
    with pytest.raises(InputError):
        potential(np.full((1, 8, 3), np.nan), box.cell.array[None])


def test_an_absent_engine_names_its_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "openmm", None)
    with pytest.raises(InputError, match=r"pip install 'muse_lr\[openmm\]'"):
        require_engine("openmm", "OpenMM")


# --- Sockets -------------------------------------------------------------------------------------


def test_ase_as_the_server(engine_model, box, unix):
    driver = IPIDriver(engine_model, box, units="ase")
    ended = []
    client = threading.Thread(target=lambda: ended.append(serve(driver, Address(unix))))
    with SocketIOCalculator(unixsocket=unix, timeout=60) as calculator:
        client.start()
        for _ in range(2):
            box.rattle(0.02, seed=5)
            box.calc = calculator
            virial = -box.get_stress(voigt=False) * box.get_volume()
            assert_agrees(engine_model, box, box.get_potential_energy(), box.get_forces(), virial)
    client.join(30)
    assert ended == [False]  # ASE closes the connection without a word


def test_no_server(capsys, files, unix):
    arguments = (files / "model.pt", files / "box.xyz", "--unix", unix, "--wait", 0)
    assert "no server listens at" in refused(capsys, "ipi", *arguments)


def test_a_killed_server_leaves_no_client_and_no_socket_file(files, unix):
    path = Path(PREFIX + unix)
    server = start(files, "-c", SILENT_SERVER, str(path), stdout=subprocess.PIPE)
    client = start_client(files, unix)
    try:
        assert server.stdout.readline() == "accepted\n"
        assert path.exists()
        server.kill()
        assert client.wait(30) == 1
        assert "is gone without an end of the run" in client.stderr.read()
        assert not path.exists()
    finally:
        for process in (server, client):
            process.kill()
            process.communicate()
        path.unlink(missing_ok=True)


def test_a_client_leaves_the_file_of_a_server_that_lives(tmp_path):
    import socket

    address = Address("x", prefix=str(tmp_path / "s_"))
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as server:
        server.bind(str(address.path))
        server.listen(1)
        address.remove_if_dead()
        assert address.path.exists()
    address.remove_if_dead()
    assert not address.path.exists()


# --- With i-PI -----------------------------------------------------------------------------------


def run_ipi(folder: Path, forcefield: str, frames) -> dict:
    (folder / "forcefield.xml").write_text(forcefield)
    write(folder / "beads.xyz", frames)
    process = start(
        folder, "-c", BEADS, "forcefield.xml", "beads.xyz", "out.json", stdout=subprocess.PIPE
    )
    try:
        output = process.communicate(timeout=120)
    finally:
        process.kill()
    assert (folder / "out.json").exists(), output
    return json.loads((folder / "out.json").read_text())


def assert_beads_agree(model, template, found) -> None:
    cell = np.array(found["cell"]).T * IPI.bohr
    for row, positions in enumerate(found["positions"]):
        atoms = template.copy()
        atoms.set_cell(cell)
        atoms.positions = np.reshape(positions, (-1, 3)) * IPI.bohr
        result = (found["energies"][row], found["forces"][row], found["virials"][row])
        energy, forces, virial = in_electronvolt(result)
        upper = np.triu(virial)  # i-PI keeps the upper triangle only
        assert_agrees(model, atoms, energy, forces, upper + np.triu(virial, 1).T)


def four_beads(box):
    beads = [box.copy() for _ in range(4)]
    for seed, bead in enumerate(beads):
        bead.rattle(0.02, seed=seed)
    return beads


@needs_engine("ipi")
def test_ipi_in_process(files, engine_model, box):
    forcefield = f"""<ffdirect name='muse'><batch_size>4</batch_size><pes>custom</pes>
    <pes_path>{ipi_driver.__file__}</pes_path>
    <parameters>{{model: model.pt, template: box.xyz}}</parameters></ffdirect>"""
    assert_beads_agree(engine_model, box, run_ipi(files, forcefield, four_beads(box)))


@needs_engine("ipi")
def test_ipi_through_a_socket(files, engine_model, box, unix):
    forcefield = f"""<ffsocket name='muse' mode='unix'><batch_size>4</batch_size>
    <address>{unix}</address><latency>1e-3</latency></ffsocket>"""
    client = start_client(files, unix)
    try:
        found = run_ipi(files, forcefield, four_beads(box))
        assert client.wait(30) == 0
    finally:
        client.kill()
        client.communicate()
    assert_beads_agree(engine_model, box, found)
    assert not Path(PREFIX + unix).exists()
