"""Configuration files: schemas, validation, overrides and the registry of parts.

``schema`` has the base class of all sections, ``part`` the base class of all parts of a model, and
``registry`` the names of the parts. ``plugins`` finds parts of other packages, ``yaml`` and
``paths`` read files and resolve paths, and ``overrides`` changes single keys.
"""

from muse_lr.config.part import Part as Part
from muse_lr.config.schema import Strict as Strict
