"""Hypothesis strategies that draw ``ase.Atoms``.

Each strategy draws a few integers and flags and passes them to a builder of
:mod:`muse_lr.testing.structures` or :mod:`muse_lr.testing.arrangements`. Drawing is therefore fast,
and a failing example shrinks to few atoms, the first element and the undistorted lattice (seed 0).
Hypothesis is installed with the extra ``exam`` and is imported when a strategy is created.
"""

from muse_lr.testing.strategies.basic import (
    ELEMENTS,
    any_structures,
    crystals,
    isolated_atoms,
    mixed_batches,
    molecules,
    slabs,
    with_charges,
)
from muse_lr.testing.strategies.matter import (
    all_arrangements,
    bravais_crystals,
    defects,
    liquids,
    near_ties,
    surfaces,
)

__all__ = [
    "ELEMENTS",
    "all_arrangements",
    "any_structures",
    "bravais_crystals",
    "crystals",
    "defects",
    "isolated_atoms",
    "liquids",
    "mixed_batches",
    "molecules",
    "near_ties",
    "slabs",
    "surfaces",
    "with_charges",
]
