"""The check of force constants, on potentials whose force constants are known."""

from __future__ import annotations

import numpy as np
import pytest
from ase.build import bulk
from ase.calculators.calculator import Calculator, all_changes
from ase.calculators.emt import EMT

from muse_lr.testing import CheckFailed, check_force_constant


class Springs(Calculator):
    """Each atom is bound to its place by a spring that gets stiffer within ``length`` A."""

    implemented_properties = ("energy", "forces")

    def __init__(self, places: np.ndarray, length: float) -> None:
        super().__init__()
        self.places, self.length = places, length

    def calculate(self, atoms=None, properties=("energy",), system_changes=all_changes):
        super().calculate(atoms, properties, system_changes)
        u = atoms.positions - self.places
        square = (u / self.length) ** 2
        self.results = {
            "energy": float((u**2 / 2 * (1 + square)).sum()),
            "forces": -u * (1 + 2 * square),
        }


def test_the_change_of_a_force_constant_is_measured() -> None:
    crystal = bulk("Cu", cubic=True)
    found = check_force_constant(Springs(crystal.positions, 1.0), crystal, tolerance=0.01)
    # k(u) = 1 + 2 u^2 / length^2
    assert found.value == pytest.approx(2 * (0.03**2 - 0.001**2), rel=1e-3)


def test_a_stiff_potential_fails() -> None:
    crystal = bulk("Cu", cubic=True)
    with pytest.raises(CheckFailed, match=r"force constant of atom 0 .* u = 0.03 A"):
        check_force_constant(Springs(crystal.positions, 0.05), crystal)


def test_a_metal_passes() -> None:
    assert check_force_constant(EMT(), bulk("Cu", cubic=True) * (2, 2, 2)).passed
