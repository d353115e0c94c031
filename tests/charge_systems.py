"""Charge densities on given structures, as functions that can be differentiated."""

from __future__ import annotations

import numpy as np
import torch
from ase import Atoms

import muse_lr
from muse_lr.density import ChargeDensity
from muse_lr.electrostatics.ewald.open_sum import open_energy
from muse_lr.electrostatics.ewald.reference import ReferenceSolver
from muse_lr.structures.geometry import strained_geometry

TTT, FFF = (True, True, True), (False, False, False)
SLABS = [(False, True, True), (True, False, True), (True, True, False)]


class System:
    """Structures with random multipoles; its energy is a function of positions, moments, strain."""

    def __init__(self, structures, l_max, widths=(0.0,), accuracy=1e-10, cutoff=6.0, seed=0):
        self.structures = structures
        self.solver = ReferenceSolver(widths, accuracy, cutoff)
        reach = max(self.solver.ewald.cutoff, 1.0)
        self.batch = muse_lr.AtomsBatch.from_ase(structures, cutoff=reach)
        count = len(self.batch.positions)
        rng = np.random.default_rng(seed)
        self.moments = torch.from_numpy(rng.normal(size=(count, (l_max + 1) ** 2)))
        self.width = torch.tensor([widths[i % len(widths)] for i in range(count)]).double()

    @property
    def positions(self):
        return self.batch.positions

    @property
    def no_strain(self):
        return torch.zeros((len(self.structures), 3, 3), dtype=torch.float64)

    def density(self, moments=None):
        moments = self.moments if moments is None else moments
        return ChargeDensity(moments, self.width, self.batch.batch, len(self.structures))

    def energies(self, positions=None, moments=None, strain=None):
        positions = self.positions if positions is None else positions
        geometry = strained_geometry(self.batch, positions, strain)
        density = self.density(moments)
        lattice = self.solver.energy(density, geometry, ~geometry.open_graphs)
        return open_energy(density, geometry) + lattice

    def neutral(self):
        """The same with the charges of each structure shifted to a sum of zero."""
        index = self.batch.batch
        for graph in range(len(self.structures)):
            self.moments[index == graph, 0] -= self.moments[index == graph, 0].mean()
        return self


CELLS = {
    "cubic": 5.0 * np.eye(3),
    "triclinic": np.array([[5.0, 0.2, -0.4], [1.1, 4.8, 0.3], [-0.9, 1.3, 5.2]]),
    "left_handed": np.array([[1.1, 4.8, 0.3], [5.0, 0.2, -0.4], [-0.9, 1.3, 5.2]]),
}


def random_structure(n_atoms=3, pbc=TTT, cell="triclinic", seed=0, distance=1.3):
    """Atoms at random places of the cell, not too close; in open directions too."""
    rng = np.random.default_rng(seed)
    while True:
        atoms = Atoms("H" * n_atoms, cell=CELLS[cell], pbc=True)
        atoms.set_scaled_positions(rng.random((n_atoms, 3)))
        lengths = atoms.get_all_distances(mic=True)[np.triu_indices(n_atoms, 1)]
        if lengths.min(initial=9.0) > distance:
            atoms.pbc = pbc
            return atoms
