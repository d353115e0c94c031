"""Interfaces to other simulation packages.

:mod:`.ase` has the ASE calculator, which is also available as ``muse_lr.Calculator``. It computes
energies, forces, stress, charges, dipoles, Born effective charges and dielectric tensors.
"""
