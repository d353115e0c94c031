"""The base class of everything that can be plugged into a model."""

from __future__ import annotations

from abc import ABC
from typing import ClassVar

from torch import nn

from muse_lr.config.schema import Strict
from muse_lr.structures.batch import AtomsBatch
from muse_lr.structures.geometry import ALL_BOUNDARIES, Boundary


class Part(nn.Module, ABC):
    """A backbone, a multiscale block, a charge model or a head.

    A part is built from its section of the configuration and declares here what it reads and where
    it is valid. The model reads these declarations and never asks for the class of a part.

    Attributes
    ----------
    Config : type
        Schema of its section in the configuration.
    cutoff : float
        Edges that it needs, A; 0 for none.
    boundaries : frozenset of str
        The boundaries that it supports; structures with others are refused.
    size_consistent : bool
        Whether copies at a large distance have the sum of their energies, tails aside.
    reads_tensors : bool
        Whether it reads features of l > 0.
    reads_field : bool
        Whether it reads the external electric field.
    sums_coulomb : bool
        Whether its energy is the Coulomb energy of the charge density.
    """

    Config: ClassVar[type[Strict]]
    cutoff: float = 0.0
    boundaries: ClassVar[frozenset[Boundary]] = ALL_BOUNDARIES
    size_consistent: bool = True
    reads_tensors: bool = False
    reads_field: ClassVar[bool] = False
    sums_coulomb: ClassVar[bool] = False

    def check(self, batch: AtomsBatch) -> None:
        """Refuse structures that the part cannot describe.

        Raises
        ------
        InputError
            With the structure and what to do about it.
        """

    def describe(self) -> list[str]:
        """Lines of ``muse-lr info``; the first follows the name of the part."""
        return [f"edges up to {self.cutoff:g} A" if self.cutoff else "no edges of its own"]
