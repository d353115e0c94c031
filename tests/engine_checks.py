"""What the tests of the simulation engines share: the comparison with ASE."""

from __future__ import annotations

import importlib.util

import numpy as np
import pytest
from ase import Atoms

import muse_lr

#: eV; results of an engine agree with those of ASE up to rounding.
ENERGY, FORCES, VIRIAL = 1e-10, 1e-8, 1e-8


def needs_engine(package: str) -> pytest.MarkDecorator:
    """Skip where the package of an engine is absent, and say how to get it."""
    absent = importlib.util.find_spec(package) is None
    return pytest.mark.skipif(absent, reason=f"needs {package}: pip install 'muse_lr[{package}]'")


def reference(model: muse_lr.EnergyModel, atoms: Atoms) -> tuple[float, np.ndarray, np.ndarray]:
    """Energy (eV), forces (eV/A) and virial (eV) of the calculator of ASE."""
    atoms = atoms.copy()
    atoms.calc = muse_lr.Calculator(model)
    virial = -atoms.get_stress(voigt=False) * atoms.get_volume()
    return atoms.get_potential_energy(), atoms.get_forces(), virial


def assert_agrees(
    model: muse_lr.EnergyModel, atoms: Atoms, energy: float, forces: np.ndarray, virial: np.ndarray
) -> None:
    """Compare results of an engine in eV and A with those of ASE; the virial relative."""
    expected = reference(model, atoms)
    assert abs(energy - expected[0]) < ENERGY * max(1.0, abs(expected[0]))
    assert np.abs(forces - expected[1]).max() < FORCES
    assert np.abs(virial - expected[2]).max() < VIRIAL * np.abs(expected[2]).max()
