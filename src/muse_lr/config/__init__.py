"""Configuration files: schemas, validation, overrides and the registry of parts.

``schema`` has the base class of all sections. ``part`` has the base class of all parts of a model;
it is not imported here, since it needs torch. ``registry`` has the names of the parts, ``plugins``
finds parts of other packages, ``yaml`` and ``paths`` read files and resolve paths, and
``overrides`` changes single keys.
"""

from muse_lr.config.schema import Strict as Strict
