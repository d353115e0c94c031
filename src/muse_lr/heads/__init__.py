"""Energy heads: each adds one named term to the energy of a model.

``coulomb`` is the electrostatic energy of the charge density, ``external_field`` its energy in a
uniform field, and ``field_features`` a learned energy of the electrostatic potential.
``dispersion`` contains pairwise and many-body dispersion, ``zbl`` the screened nuclear repulsion,
``bond_barrier`` a barrier beyond the lengths of bonds in the training data.
``base`` defines the base class and its inputs.
"""

from muse_lr.heads.base import Head as Head
