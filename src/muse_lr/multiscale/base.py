"""The protocol of the parts that carry information across scales."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import ClassVar

from torch import Tensor, nn

from muse_lr.backbones.base import BackboneConfig
from muse_lr.config.schema import Strict
from muse_lr.multiscale.muse.assignment import Assignment, CoarseNodes
from muse_lr.structures.batch import AtomsBatch
from muse_lr.structures.geometry import ALL_BOUNDARIES, Boundary, Geometry
from muse_lr.structures.graph import FeatureSize, Graph, NodeFeatures


class MultiscaleConfig(Strict):
    """Keys that all multiscale parts share."""

    kind: str


@dataclass(frozen=True)
class MultiscaleContext:
    """What a multiscale part is told when it is built.

    Attributes
    ----------
    elements : tuple of str
    backbone : BackboneConfig
        Of the atoms.
    features : FeatureSize
        Of the backbone.
    """

    elements: tuple[str, ...]
    backbone: BackboneConfig
    features: FeatureSize


@dataclass(frozen=True)
class MultiscaleOutput:
    """What a multiscale part gives.

    Attributes
    ----------
    features : NodeFeatures
        Of the atoms, updated.
    energy : Tensor
        (n_graphs,) in eV, float64.
    levels : tuple
        The nodes and the assignment of each level, where there are nodes.
    """

    features: NodeFeatures
    energy: Tensor
    levels: tuple[tuple[CoarseNodes, Assignment], ...] = field(default=())


class Multiscale(nn.Module, ABC):
    """Reads the backbone's features of the atoms, and updates them.

    Attributes
    ----------
    Config : type
        Schema of its section in the configuration.
    boundaries : frozenset of str
        The boundaries in which it is right; others are refused.
    size_consistent : bool
    reads_tensors : bool
        Whether it reads the backbone's features of l > 0.
    cutoff : float
        Edges it needs, A; 0 for none.
    features : FeatureSize
        Of its output.
    level_count : int
        Levels of coarse nodes that its output names.
    """

    Config: ClassVar[type[MultiscaleConfig]]
    boundaries: ClassVar[frozenset[Boundary]] = ALL_BOUNDARIES
    size_consistent: ClassVar[bool]
    reads_tensors: bool = False
    cutoff: float
    features: FeatureSize
    level_count: int = 0

    def reach(self) -> str:
        """How far it reaches, in words."""
        return f"edges to {self.cutoff:g} A" if self.cutoff else "no edges of its own"

    def check(self, batch: AtomsBatch) -> None:
        """Refuse, with an InputError, structures that lack what the part reads."""
        return

    @abstractmethod
    def forward(self, features: NodeFeatures, graph: Graph, geometry: Geometry) -> MultiscaleOutput:
        """Updated features and an energy.

        Parameters
        ----------
        features : NodeFeatures
            Of the backbone.
        graph : Graph
            Of the atoms, as the backbone saw it.
        geometry : Geometry
        """
