"""The molecules and ions of the ``ion_pairs`` set: relaxed geometries and thermal distortions.

Geometries are relaxed with GFN2-xTB; distortions are classical harmonic samples at 300 K from a
finite-difference GFN2-xTB Hessian without its six zero modes.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
from ase import Atoms, units
from ase.build import molecule
from ase.optimize import BFGS

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

MAX_AMPLITUDE = 0.2  # A, per Cartesian component of a mode


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
    return Fragment(name, atoms.numbers.copy(), positions, _thermal_modes(atoms))


def _thermal_modes(atoms: Atoms, temperature: float = 300.0, step: float = 5e-3) -> np.ndarray:
    n = len(atoms)
    hessian = np.zeros((3 * n, 3 * n))
    start = atoms.positions.copy()
    for k in range(3 * n):
        for sign in (1, -1):
            atoms.positions = start
            atoms.positions[k // 3, k % 3] += sign * step
            hessian[k] -= sign * atoms.get_forces().ravel() / (2 * step)
    atoms.positions = start
    scale = 1 / np.sqrt(np.repeat(atoms.get_masses(), 3))
    values, vectors = np.linalg.eigh((hessian + hessian.T) / 2 * scale[:, None] * scale)
    # Six zero modes of a non-linear molecule; no fragment here is linear.
    kept = slice(6, None)
    amplitude = np.sqrt(units.kB * temperature / values[kept])
    modes = (amplitude[None] * vectors[:, kept] * scale[:, None]).T.reshape(-1, n, 3)
    # A methyl rotor is no harmonic mode: its linear displacement would tear the hydrogens off.
    largest = np.abs(modes).max((1, 2), keepdims=True)
    return modes * np.minimum(1, MAX_AMPLITUDE / largest)
