"""Phonons of crystals through phonopy: LO-TO splitting and bands from a model's own charges.

``constants`` computes the force constants of a supercell from a model. ``electric`` computes the
Born charges and the dielectric tensor of the non-analytic term. ``crystal`` passes both to phonopy
and provides frequencies at Gamma and band structures.
"""

from muse_lr.phonons.crystal import Bands, GammaModes, Phonons, band_structure
from muse_lr.phonons.electric import ElectricResponse

__all__ = ["Bands", "ElectricResponse", "GammaModes", "Phonons", "band_structure"]
