"""A head that uses the electrostatic potential around each atom as input features.

``head`` computes an energy from invariants of the potential. ``projection`` projects the potential
of the charge density on Gaussian multipoles at the atoms. ``power_projection`` and ``power_kernel``
do the same for a smeared 1/r^6 potential.
"""
