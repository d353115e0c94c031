"""Ewald summation and the direct sum of open systems.

``reference`` is the reference solver for Gaussian multipoles in crystals and slabs, and defines the
conventions of all solvers. ``point_charges`` is the base class of solvers for charges that only
replace the reciprocal sum. ``pairs`` and ``wave_sums`` contain the real-space and reciprocal sums
with analytical first and second derivatives. ``reciprocal_space`` contains the structure factors,
which are summed in portions of k vectors. ``open_sum`` is the sum over all pairs of molecules.
"""
