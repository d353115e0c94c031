"""The protocol of the heads: each adds one named energy."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from muse_lr.config.part import Part
from muse_lr.config.schema import Strict
from muse_lr.density import ChargeDensity
from muse_lr.electrostatics.base import Derivative
from muse_lr.multiscale.muse.assignment import Assignment, CoarseNodes
from muse_lr.structures.geometry import Geometry
from muse_lr.structures.graph import FeatureSize, NodeFeatures


class HeadConfig(Strict):
    """Keys that all heads share."""

    kind: str


@dataclass(frozen=True)
class HeadContext:
    """What a head is told when it is built.

    Attributes
    ----------
    elements : tuple of str
    cutoff : float or None
        The backbone's cutoff, A; None without a backbone.
    widths : tuple of float
        Gaussian widths of the charges, A; empty without charges.
    l_max : int
        Highest order of their multipoles.
    levels : int
        Levels of coarse nodes; 0 without a hierarchy.
    features : FeatureSize
        Of what it may read; empty without a backbone.
    """

    elements: tuple[str, ...]
    cutoff: float | None
    widths: tuple[float, ...]
    l_max: int
    levels: int
    features: FeatureSize


@dataclass(frozen=True)
class HeadInputs:
    """What a head may read.

    Attributes
    ----------
    geometry : Geometry
    density : ChargeDensity or None
    features : NodeFeatures
        Without channels where there is no backbone.
    composition : Tensor
        (n_atoms, n_elements), one-hot.
    derivatives : frozenset of str
        What the energies will be differentiated for.
    levels : tuple
        Coarse nodes and assignment of each level of the hierarchy.
    """

    geometry: Geometry
    density: ChargeDensity | None
    features: NodeFeatures
    composition: Tensor
    derivatives: frozenset[Derivative]
    levels: tuple[tuple[CoarseNodes, Assignment], ...] = ()


class Head(Part):
    """One energy term.

    Attributes
    ----------
    needs_density, needs_features : bool
        What must be there; checked when the model is built.
    long_range : bool
        Whether its energy has no finite range.
    excludes_near_pairs : bool
        Whether it leaves out the near pairs, which another part of the energy describes.
    reads_potential : bool
        Whether its features contain the potential, so that the non-analytic term of phonons is not
        that of the Coulomb energy alone.
    """

    needs_density: ClassVar[bool] = False
    needs_features: ClassVar[bool] = False
    long_range: ClassVar[bool] = False
    excludes_near_pairs: bool = False
    reads_potential: ClassVar[bool] = False

    @abstractmethod
    def forward(self, inputs: HeadInputs) -> Tensor:
        """(n_graphs,) energies in eV, float64."""

    def describe(self) -> list[str]:
        """See :meth:`Part.describe`."""
        reach = "long-ranged" if self.long_range else f"range {self.cutoff:g} A"
        return [f"{reach}, boundaries {', '.join(sorted(self.boundaries))}"]
