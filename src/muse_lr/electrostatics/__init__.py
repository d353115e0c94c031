"""Electrostatic energies of Gaussian multipoles in molecules, slabs and crystals.

:class:`Solver` is the base class of the solvers for periodic systems. ``ewald`` contains the
reference solver, ``mesh`` particle-mesh Ewald, ``engines`` the interfaces to other libraries, and
``operators`` potentials and matrices for charge equilibration. ``dispatch`` selects a solver.
``portions`` bounds the memory of all sums.
"""

from muse_lr.electrostatics.base import Solver as Solver
