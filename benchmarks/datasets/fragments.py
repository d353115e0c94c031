"""The molecules and ions of the ``ion_pairs`` set: relaxed geometries and thermal distortions.

Geometries are relaxed with GFN2-xTB; distortions are classical harmonic samples at 300 K from a
finite-difference GFN2-xTB Hessian without its six zero modes.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
from ase import Atoms
from ase.build import molecule
from ase.optimize import BFGS

from benchmarks.datasets.geometries import hessian_by_differences, thermal_modes

CHARGES = {
    "ammonium": 1,
    "methylammonium": 1,
    "sodium": 1,
    "formate": -1,
    "acetate": -1,
    "chloride": -1,
    "water": 0,
    "methanol": 0,
    "formamide": 0,
}

TEMPERATURE = 300.0  # K


@dataclass(frozen=True)
class Fragment:
    """A relaxed molecule or ion and its thermal displacement modes.

    Attributes
    ----------
    name : str
        Key of :data:`CHARGES`.
    numbers : numpy.ndarray
        Atomic numbers, shape (n,).
    positions : numpy.ndarray
        Relaxed positions about the center of mass, shape (n, 3), A.
    modes : numpy.ndarray
        Displacement amplitudes at 300 K, shape (n_modes, n, 3), A; a thermal sample is a
        standard-normal combination of them.
    """

    name: str
    numbers: np.ndarray
    positions: np.ndarray
    modes: np.ndarray

    @property
    def charge(self) -> int:
        return CHARGES[self.name]

    def sample(self, rng: np.random.Generator, thermal: bool) -> np.ndarray:
        """Positions about the center of mass, relaxed or thermally distorted, shape (n, 3), A."""
        positions = self.positions
        if thermal and len(self.modes):
            amplitudes = rng.standard_normal(len(self.modes))
            positions = positions + np.einsum("m,mia->ia", amplitudes, self.modes)
        atoms = Atoms(self.numbers, positions)
        return positions - atoms.get_center_of_mass()


def _guess(name: str) -> Atoms:
    if name == "ammonium":
        corners = np.array([[1, 1, 1], [1, -1, -1], [-1, 1, -1], [-1, -1, 1]]) * 0.6
        return Atoms("NH4", [[0, 0, 0], *corners])
    if name == "methylammonium":
        atoms = molecule("H3CNH2")
        nitrogen = atoms.numbers.tolist().index(7)
        bonded = [i for i in range(len(atoms)) if 0 < atoms.get_distance(nitrogen, i) < 1.6]
        away = sum(atoms.positions[nitrogen] - atoms.positions[i] for i in bonded)
        atoms.append("H")
        atoms.positions[-1] = atoms.positions[nitrogen] + 1.03 * away / np.linalg.norm(away)
        return atoms
    if name in ("formate", "acetate"):
        atoms = molecule("HCOOH" if name == "formate" else "CH3COOH")
        oxygens = [i for i, z in enumerate(atoms.numbers) if z == 8]
        for i, z in enumerate(atoms.numbers):
            if z == 1 and min(atoms.get_distance(i, o) for o in oxygens) < 1.2:
                del atoms[i]
                return atoms
    if name == "formamide":
        return Atoms(
            "CONH3",
            [
                [0.0, 0.0, 0.0],
                [1.05, 0.62, 0.0],
                [-1.18, 0.68, 0.0],
                [0.0, -1.10, 0.0],
                [-1.20, 1.69, 0.05],
                [-2.05, 0.18, 0.05],
            ],
        )
    return molecule({"water": "H2O", "methanol": "CH3OH"}[name])


@cache
def fragment(name: str) -> Fragment:
    """Relax a fragment with GFN2-xTB and compute its thermal modes (deterministic)."""
    if name in ("sodium", "chloride"):
        number = 11 if name == "sodium" else 17
        return Fragment(name, np.array([number]), np.zeros((1, 3)), np.zeros((0, 1, 3)))
    from tblite.ase import TBLite

    atoms = _guess(name)
    atoms.calc = TBLite(method="GFN2-xTB", charge=CHARGES[name], verbosity=0)
    BFGS(atoms, logfile=None).run(fmax=1e-4, steps=500)
    positions = atoms.positions - atoms.get_center_of_mass()
    modes = thermal_modes(atoms, hessian_by_differences(atoms), TEMPERATURE)
    return Fragment(name, atoms.numbers.copy(), positions, modes)
