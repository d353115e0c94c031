"""The base class of all parts of a model."""

from __future__ import annotations

from abc import ABC
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, ClassVar

from torch import nn

from muse_lr.config.schema import Strict
from muse_lr.structures.geometry import ALL_BOUNDARIES, Boundary

if TYPE_CHECKING:
    from muse_lr.structures.batch import AtomsBatch
    from muse_lr.structures.geometry import Geometry
    from muse_lr.structures.graph import Graph


class Part(nn.Module, ABC):
    """Base class of backbones, multiscale blocks, charge models and heads.

    A part is built from its section of the configuration. The attributes below declare its inputs
    and its range of validity. The model uses only these declarations and does not depend on the
    class of a part.

    Attributes
    ----------
    Config : type
        Schema of the section of the part in the configuration.
    cutoff : float
        Cutoff of the edges that the part needs, A; 0 if it needs none.
    boundaries : frozenset of str
        Supported boundary conditions. Structures with other boundaries raise an error.
    size_consistent : bool
        Whether the energies of distant copies add up, apart from long-range tails.
    reads_tensors : bool
        Whether the part uses features of l > 0.
    reads_field : bool
        Whether the part uses the external electric field.
    sums_coulomb : bool
        Whether the energy of the part is the Coulomb energy of the charge density.
    revision : int
        Increased when the same weights would give other energies; a model file with a part of
        another revision is refused.
    """

    Config: ClassVar[type[Strict]]
    cutoff: float = 0.0
    boundaries: ClassVar[frozenset[Boundary]] = ALL_BOUNDARIES
    size_consistent: bool = True
    reads_tensors: bool = False
    reads_field: ClassVar[bool] = False
    sums_coulomb: ClassVar[bool] = False
    revision: ClassVar[int] = 1

    def check(self, batch: AtomsBatch) -> None:
        """Raise an error for structures that the part does not support.

        Raises
        ------
        InputError
            The message names the structure and a remedy.
        """

    def not_compiled(self) -> str | None:
        """Why the part cannot be compiled, for an error message; None if it can.

        What is compiled has no branch and no size that depends on values of tensors. Tables with
        such sizes come from :meth:`prepare`.
        """
        return "its equations have branches or sizes that depend on the structure"

    def prepare(self, geometry: Geometry, graph: Graph) -> None:
        """Make all tables in ``geometry.host`` that an evaluation of the part reads.

        Parameters
        ----------
        geometry : Geometry
            Without gradients.
        graph : Graph
            The graph of the atoms, as the backbone gets it.
        """

    def tracing(self) -> AbstractContextManager[None]:
        """Context in which the part is traced, for parts of other packages that need one."""
        return nullcontext()

    def describe(self) -> list[str]:
        """Lines for ``muse-lr info``. The first is printed after the name of the part."""
        return [f"edges up to {self.cutoff:g} A" if self.cutoff else "no edges of its own"]
