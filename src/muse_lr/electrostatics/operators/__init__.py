"""Coulomb interactions of charges as linear operators for charge equilibration.

``charge_matrix`` builds dense interaction matrices for direct solvers. ``charge_operator`` computes
the potentials of many sets of charges in one structure for iterative solvers. Both use the
conventions of :mod:`muse_lr.electrostatics.ewald.reference`.
"""
