"""Structures as tensors, with their neighbor lists and geometry.

``batch.AtomsBatch`` stores any number of structures and their neighbor lists. :class:`Geometry`
contains the strained positions, cells and edges from which a model computes energies and their
derivatives. Other modules define the graphs for message passing and the reciprocal lattice.
"""

from muse_lr.structures.geometry import Geometry as Geometry
