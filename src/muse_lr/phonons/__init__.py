"""Phonons of crystals through phonopy: LO-TO splitting and bands from a model's own charges."""

from muse_lr.phonons.crystal import Bands, GammaModes, Phonons, band_structure
from muse_lr.phonons.electric import ElectricResponse

__all__ = ["Bands", "ElectricResponse", "GammaModes", "Phonons", "band_structure"]
