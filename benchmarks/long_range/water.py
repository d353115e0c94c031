"""Boxes of water with point charges, the structures that are timed."""

from __future__ import annotations

import numpy as np
from ase import Atoms
from ase.build import molecule
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

#: A^3 of a molecule at 0.997 g/cm^3.
VOLUME = 30.0
CHARGE = {"O": -0.8, "H": 0.4}


def water_box(shape: tuple[int, int, int], seed: int = 0) -> Atoms:
    """Molecules of random orientation on a slightly disturbed cubic grid.

    Parameters
    ----------
    shape : tuple of int
        Molecules along each axis.
    seed : int

    Returns
    -------
    ase.Atoms
        Periodic, O H H of each molecule in turn.
    """
    rng = np.random.default_rng(seed)
    spacing = VOLUME ** (1 / 3)
    grid = np.stack(np.meshgrid(*(np.arange(n) for n in shape), indexing="ij"), axis=-1)
    centers = spacing * grid.reshape(-1, 3) + rng.normal(scale=0.1, size=(grid.size // 3, 3))
    single = molecule("H2O")
    body = single.positions - single.get_center_of_mass()
    rotations = Rotation.random(len(centers), random_state=rng).as_matrix()
    positions = centers[:, None] + np.einsum("nab,ib->nia", rotations, body)
    symbols = single.get_chemical_symbols() * len(centers)
    cell = spacing * np.diag(np.array(shape, dtype=np.float64))
    return Atoms(symbols, positions.reshape(-1, 3), cell=cell, pbc=True)


def charges_of(atoms: Atoms) -> NDArray[np.float64]:
    """(n,) charges in e."""
    return np.array([CHARGE[symbol] for symbol in atoms.get_chemical_symbols()])
