"""Hexagonal flakes of graphene with hydrogen at their edges, and molecules above them."""

from __future__ import annotations

from itertools import product

import numpy as np
from ase import Atoms
from ase.build import molecule

from benchmarks.datasets.geometries import random_rotation

CC, CH = 1.42, 1.09  # A
#: Rings of hexagons around the first one, by name.
RINGS = {"C24H12": 1, "C54H18": 2, "C96H24": 3}
ADSORBATES = ("benzene", "NaCl", "water")
#: Distance of the centers of neighboring hexagons, A.
PERIOD = np.sqrt(3) * CC


def flake(name: str) -> Atoms:
    """A flat flake in the plane z = 0, with a hexagon around the origin and one along x."""
    rings = RINGS[name]
    first, second = PERIOD * np.array([[1, 0], [0.5, np.sqrt(0.75)]])
    turns = np.radians(30 + 60 * np.arange(6))
    corners = CC * np.column_stack([np.cos(turns), np.sin(turns)])
    span = range(-rings, rings + 1)
    centers = [i * first + j * second for i, j in product(span, span) if abs(i + j) <= rings]
    points = np.vstack([center + corners for center in centers])
    _, kept = np.unique(np.round(points, 3) + 0.0, axis=0, return_index=True)
    carbons = points[np.sort(kept)]
    distances = np.linalg.norm(carbons[:, None] - carbons, axis=-1)
    hydrogens = []
    for i, row in enumerate(distances):
        bonded = np.flatnonzero((row > 0.1) & (row < 1.1 * CC))
        if len(bonded) == 2:
            outward = carbons[i] - carbons[bonded].mean(axis=0)
            hydrogens.append(carbons[i] + CH * outward / np.linalg.norm(outward))
    plane = np.vstack([carbons, hydrogens])
    symbols = f"C{len(carbons)}H{len(hydrogens)}"
    return Atoms(symbols, np.column_stack([plane, np.zeros(len(plane))]))


def adsorbate(name: str) -> Atoms:
    """A molecule in the orientation of the scans.

    Benzene and NaCl lie flat, NaCl along x. Water points one hydrogen downward.
    """
    if name == "benzene":
        return molecule("C6H6")
    if name == "NaCl":
        return Atoms("NaCl", [[0, 0, 0], [2.4, 0, 0]])
    water = molecule("H2O")
    water.rotate(water.positions[1] - water.positions[0], (0, 0, -1))
    return water


def above(lower: Atoms, upper: Atoms, height: float, lateral: np.ndarray) -> Atoms:
    """A molecule above a flake.

    Parameters
    ----------
    lower, upper : ase.Atoms
        Flake in the plane z = 0, and molecule.
    height : float
        Distance of the lowest atom of the molecule from the plane, A.
    lateral : numpy.ndarray
        Position of the center of the molecule (mean of its atoms) in the plane, shape (2,), A.
    """
    placed = upper.copy()
    placed.positions[:, :2] += lateral - upper.positions[:, :2].mean(axis=0)
    placed.positions[:, 2] += height - upper.positions[:, 2].min()
    together = Atoms(lower.numbers, lower.positions) + Atoms(placed.numbers, placed.positions)
    together.info["size_first"] = len(lower)
    return together


def tilted(upper: Atoms, name: str, most: float, rng: np.random.Generator) -> Atoms:
    """A molecule turned at random: benzene about the normal, and out of the plane.

    The second turn of benzene is by up to ``most`` degrees. NaCl and water have no flat side.
    """
    turned = upper.copy()
    if name != "benzene":
        turned.positions = turned.positions @ random_rotation(rng).T
        return turned
    turned.rotate(rng.uniform(0, 360), "z")
    direction = rng.uniform(0, 2 * np.pi)
    turned.rotate(rng.uniform(0, most), (np.cos(direction), np.sin(direction), 0))
    return turned
