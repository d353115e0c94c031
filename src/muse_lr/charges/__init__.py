"""Charge models: they predict the atomic charges and multipoles of a structure.

``base`` has the base class. ``fixed``, ``readout``, ``fukui``, ``qet``, ``split`` and
``from_backbone`` have closed forms. ``equilibration`` (charge equilibration) and
``induction_models`` (induced multipoles, from ``induction`` and ``polarization``) include the
interaction of the charges. ``solve`` has their solvers, and ``learned`` the shared readouts.
"""

from muse_lr.charges.base import ChargeModel as ChargeModel
