"""Local backbones: features and an energy of each atom from its neighbors.

``base`` has the base class and the embedding of total charge and spin. ``painn`` is implemented
here; ``mace`` and ``so3krates`` are built from the blocks of mace-torch and so3krates-torch and
read saved models of these packages. ``pickles`` opens the files, and ``constants`` keeps the
constants of the blocks in double precision.
"""

from muse_lr.backbones.base import Backbone as Backbone
