"""Multiscale blocks: they update the features of the atoms over long distances.

``base`` has the base class and the records of coarse nodes and their assignment. ``muse`` is the
hierarchy of coarse nodes. ``ewald_mp`` is Ewald message passing, with the sums of ``ewald_sums``
and, for large and sparse cells, ``ewald_portions``. ``virtual_nodes`` connects all atoms of a
structure through a few learned nodes.
"""

from muse_lr.multiscale.base import Multiscale as Multiscale
