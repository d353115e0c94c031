"""Interfaces to other libraries for the reciprocal sum of charges.

``torchpme`` uses torch-pme, and ``nvalchemi`` uses nvalchemi-toolkit-ops. The solvers derive from
:class:`~muse_lr.electrostatics.ewald.point_charges.PointChargeSolver`. Each library is imported at
its first use, because it can be an optional dependency.
"""
