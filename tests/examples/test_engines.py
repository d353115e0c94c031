"""The scripts of examples/engines run a few steps, and they need no library path."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from ase.io import write

import muse_lr
from engine_checks import needs_engine
from helpers import painn_section, random_model, rattled_salt

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
