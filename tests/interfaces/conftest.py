"""A small model with charges, and boxes in the orientation that engines use."""

from __future__ import annotations

import numpy as np
import pytest
from ase import Atoms

import muse_lr
from helpers import painn_section, random_model, rattled_salt


@pytest.fixture(scope="session")
def engine_model() -> muse_lr.EnergyModel:
    heads = {"coulomb": {"kind": "coulomb"}}
    section = painn_section(["Na", "Cl"], charges={"kind": "latent", "width": 1.0}, heads=heads)
    return random_model(section)


@pytest.fixture(params=["orthorhombic", "triclinic"])
def box(request: pytest.FixtureRequest) -> Atoms:
    """Eight displaced atoms; the cell vectors are the rows of a lower triangular matrix."""
    atoms = rattled_salt(0.1)
    if request.param == "orthorhombic":
        atoms.set_cell(atoms.cell.array * np.array([1.0, 1.05, 0.97]), scale_atoms=True)
    else:
        shear = np.array([[1.0, 0.0, 0.0], [0.11, 0.98, 0.0], [-0.07, 0.13, 1.03]])
        atoms.set_cell(atoms.cell.array @ shear, scale_atoms=True)
    return atoms
