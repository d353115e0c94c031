"""The protocol of the heads: each adds one named energy."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor, nn

from muse_lr.config.schema import Strict
from muse_lr.density import ChargeDensity
from muse_lr.electrostatics.base import Derivative
from muse_lr.multiscale.muse.assignment import Assignment, CoarseNodes
from muse_lr.structures.batch import AtomsBatch
from muse_lr.structures.geometry import ALL_BOUNDARIES, Boundary, Geometry
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
    features : NodeFeatures or None
    composition : Tensor
        (n_atoms, n_elements), one-hot.
    derivatives : frozenset of str
        What the energies will be differentiated for.
    levels : tuple
        Coarse nodes and assignment of each level of the hierarchy.
    """

    geometry: Geometry
    density: ChargeDensity | None
    features: NodeFeatures | None
    composition: Tensor
    derivatives: frozenset[Derivative]
    levels: tuple[tuple[CoarseNodes, Assignment], ...] = ()


class Head(nn.Module, ABC):
    """One energy term.

    Attributes
    ----------
    Config : type
        Schema of its section in the configuration.
    needs_density, needs_features : bool
        What must be there; checked when the model is built.
    reads_tensors : bool
        Whether it reads features of l > 0.
    boundaries : frozenset of str
        The boundaries in which it is right; others are refused.
    long_range : bool
    reads_field : bool
        Whether it reads the external electric field.
    size_consistent : bool
    cutoff : float
        Edges it needs, A; 0 for none.
    """

    Config: ClassVar[type[HeadConfig]]
    needs_density: ClassVar[bool] = False
    needs_features: ClassVar[bool] = False
    reads_tensors: bool = False
    boundaries: ClassVar[frozenset[Boundary]] = ALL_BOUNDARIES
    long_range: ClassVar[bool] = False
    reads_field: ClassVar[bool] = False
    size_consistent: ClassVar[bool] = True
    cutoff: float

    @abstractmethod
    def forward(self, inputs: HeadInputs) -> Tensor:
        """(n_graphs,) energies in eV, float64."""

    def check(self, batch: AtomsBatch) -> None:
        """Refuse structures that the head cannot describe, with an InputError."""
