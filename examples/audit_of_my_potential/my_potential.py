"""A toy potential of about 30 lines, and the physics exam of it.

In this directory:

    pytest test_my_potential.py
    pytest --audit my_potential:make --audit-quick -m audit
    muse-lr audit --calculator my_potential:make --html audit.html

The energy is that of Lennard-Jones pairs times a weight that reaches zero with three derivatives:

    E = sum over pairs of 4 eps ((s/r)^12 - (s/r)^6) (1 - (r/c)^2)^4

Change a sign, or leave out the weight, and look at what the exam says.
"""

import numpy as np
from ase.calculators.calculator import Calculator, all_changes
from ase.neighborlist import neighbor_list

DEPTH, SIZE, CUTOFF = 0.0104, 3.4, 8.0  # eV, A, A: argon


class MyPotential(Calculator):
    """Pairs within a cutoff."""

    implemented_properties = ("energy", "forces", "stress")
    elements = ("Ar",)
    cutoff = CUTOFF

    def calculate(self, atoms=None, properties=("energy",), changes=all_changes):
        super().calculate(atoms, properties, changes)
        i, r, vectors = neighbor_list("idD", self.atoms, CUTOFF)
        power, rest = (SIZE / r) ** 6, 1 - (r / CUTOFF) ** 2
        pair, weight = 4 * DEPTH * (power**2 - power), rest**4
        slope = -24 * DEPTH * (2 * power**2 - power) / r * weight
        slope -= pair * 8 * rest**3 * r / CUTOFF**2
        pulls = (slope / r)[:, None] * vectors
        forces = np.zeros((len(self.atoms), 3))
        np.add.at(forces, i, pulls)
        # Every pair is listed twice.
        self.results = {"energy": (pair * weight).sum() / 2, "forces": forces}
        if self.atoms.cell.rank == 3:
            virial = pulls.T @ vectors / 2 / self.atoms.get_volume()
            self.results["stress"] = virial.ravel()[[0, 4, 8, 5, 2, 1]]


def make():
    """The factory that the commands name."""
    return MyPotential()
